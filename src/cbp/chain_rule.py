"""The derivative of the loss in one weight, factor by factor, with its numbers.

    dC_0/dw^l_jk = dC_0/da^l_j · da^l_j/dz^l_j · dz^l_j/dw^l_jk

for the weight from node k of layer l-1 to node j of layer l. The first factor is known
where j is an output; for a hidden node it is itself a sum, with one summand for each
node m of the next layer, which a^l_j feeds:

    dC_0/da^l_j = sum_m w^{l+1}_mj delta^{l+1}_m

Softmax couples the outputs: z^L_j moves each a^L_m, and the first two factors become

    delta^L_j = sum_m dC_0/da^L_m · da^L_m/dz^L_j
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cbp.formula import Latex, MathML, Text, six_digits
from cbp.tables import html_table, text_table

#: Summands that are shown one by one, and samples that are listed.
MOST_SUMMANDS, MOST_SAMPLES = 6, 8


class Terms(NamedTuple):
    """The factors of dC_0/dw^l_jk, and their product.

    Of softmax outputs the first two have an entry for every output m.
    """

    dC0_da: np.ndarray
    da_dz: np.ndarray
    dz_dw: np.ndarray
    dC0_dw: np.ndarray


@dataclass(frozen=True, repr=False, eq=False)
class ChainRule:
    """The derivative of the loss in one weight, as `Backprop.chain_rule` gives it.

    Printed, or shown in a notebook, it is the formula with its numbers.

    Attributes
    ----------
    layer, k, j : int
        The weight is that from node k of layer - 1 to node j of layer.
    sample : int or None
        Which row of X; None: all of them.
    weight : float
        w^l_jk.
    terms : Terms
        Of each sample, in float64. ``terms.dC0_da`` and ``terms.da_dz`` have shape
        (n,), for softmax outputs (n, n_L): all dC_0/da^L_m and the row da^L_m/dz^L_j of
        the Jacobian. ``terms.dz_dw``, which is a^{l-1}_k, and the product
        ``terms.dC0_dw`` have shape (n,). With a `sample`, n is 1.
    delta : ndarray of shape (n,)
        delta^l_j, the product of the first two factors, or their sum of products.
    weights_above : ndarray of shape (n_{l+1},) or None
        w^{l+1}_mj of each node m of the next layer; None for an output.
    delta_above : ndarray of shape (n, n_{l+1}) or None
        delta^{l+1}_m of each of them.
    sample_weight : ndarray of shape (n,) or None
        Weights of the samples in the mean; None if all are 1.
    penalty : float
        alpha w / S, what the penalty adds to the mean; 0 with a `sample`.
    is_coupled : bool
        Whether j is a softmax output.
    """

    layer: int
    k: int
    j: int
    sample: int | None
    weight: float
    terms: Terms
    delta: np.ndarray
    weights_above: np.ndarray | None
    delta_above: np.ndarray | None
    sample_weight: np.ndarray | None
    penalty: float
    is_coupled: bool

    @property
    def mean(self):
        """`Terms` averaged over the samples, with their weights.

        The mean of the products is not the product of the means.
        """
        return Terms(
            *(
                np.average(term, axis=0, weights=self.sample_weight)
                for term in self.terms
            )
        )

    @property
    def grad(self):
        """dC/dw^l_jk, the entry [k, j] of the gradient: mean product plus penalty."""
        return float(self.mean.dC0_dw) + self.penalty

    @property
    def summands(self):
        """What dC_0/da^l_j, or delta^L_j with softmax, is the sum of.

        ndarray of shape (n, n_{l+1}), or (n, n_L); None where there is no sum.
        """
        if self.is_coupled:
            return self.terms.dC0_da * self.terms.da_dz
        if self.weights_above is None:
            return None
        return self.weights_above * self.delta_above

    # -- as people read it ---------------------------------------------------------

    def __repr__(self):
        parts = [self._title, *(self._equations(Text()) if self._is_one else [])]
        if not self._is_one:
            parts += [text_table(*self._table), *self._mean_equations(Text())]
        return "\n".join(parts)

    def _repr_latex_(self):
        return "$\\displaystyle " + r" \\[1ex] ".join(self._formulas(Latex())) + "$"

    def _repr_html_(self):
        table = "" if self._is_one else html_table(*self._table)
        return (
            f"<div><p>{self._title}</p>{table}{''.join(self._formulas(MathML()))}</div>"
        )

    @property
    def _is_one(self):
        return self.sample is not None

    def _formulas(self, style):
        return self._equations(style) if self._is_one else self._mean_equations(style)

    @property
    def _title(self):
        below, layer, k, j = self.layer - 1, self.layer, self.k, self.j
        samples = f"sample {self.sample}"
        if not self._is_one:
            samples = f"mean of {len(self.delta)} samples"
        return (
            f"w^{layer}_jk = coefs_[{below}][{k}, {j}] = {six_digits(self.weight)}, "
            f"node k={k} of layer {below} to node j={j} of layer {layer}; {samples}"
        )

    def _equations(self, style):
        """The product, and the sum in it if there is one, of the one sample."""
        symbols = self._symbols(style)
        C_0, a, z, w = (symbols[name] for name in ("C_0", "a", "z", "w"))
        dC0_dw = style.partial(C_0, w)
        dz_dw, dC0_dw_value = self.terms.dz_dw[0], self.terms.dC0_dw[0]
        if self.is_coupled:
            factors = [style.partial(C_0, z), style.partial(z, w)]
            values = [self.delta[0], dz_dw]
        else:
            slopes = style.partial(C_0, a), style.partial(a, z), style.partial(z, w)
            factors, values = list(slopes), [term[0] for term in self.terms[:3]]
        product = style.equations(
            dC0_dw,
            [
                style.times.join(factors),
                style.product(values),
                style.number(dC0_dw_value),
            ],
        )
        return [product] if self.summands is None else [product, self._sum(style)]

    def _sum(self, style):
        """The sum over the nodes m: of the next layer, or of the softmax outputs."""
        symbols = self._symbols(style)
        if self.is_coupled:
            left = style.partial(symbols["C_0"], symbols["z"])
            factors = (
                style.partial(symbols["C_0"], symbols["a_m"]),
                style.partial(symbols["a_m"], symbols["z"]),
            )
            pairs = np.stack([self.terms.dC0_da[0], self.terms.da_dz[0]], axis=1)
        else:
            left = style.partial(symbols["C_0"], symbols["a"])
            factors = symbols["w_mj"], symbols["delta_m"]
            pairs = np.stack([self.weights_above, self.delta_above[0]], axis=1)
        summands = self.summands[0]
        shown = np.sort(np.argsort(-np.abs(summands), kind="stable")[:MOST_SUMMANDS])
        written = style.sum_of_products([pairs[m] for m in shown])
        left_out = np.delete(summands, shown)
        if left_out.size:
            rest = style.rest(left_out.size, left_out.sum())
            written = style.plus.join([written, rest])
        return style.equations(
            left,
            [
                style.sum_over("m", style.times.join(factors)),
                written,
                style.number(summands.sum()),
            ],
        )

    def _mean_equations(self, style):
        """The mean over the samples, and the penalty."""
        symbols = self._symbols(style)
        C_0, w = symbols["C_0"], symbols["w"]
        left = style.partial(style.symbol("C"), w)
        mean = style.mean_over("i", style.partial(C_0, w))
        if not self.penalty:
            return [style.equations(left, [mean, style.number(self.grad)])]
        shrinkage = style.fraction(style.symbol("alpha"), style.symbol("S"))
        values = [style.number(self.mean.dC0_dw), style.operand(self.penalty)]
        return [
            style.equations(
                left,
                [
                    style.plus.join([mean, style.times.join([shrinkage, w])]),
                    style.plus.join(values),
                    style.number(self.grad),
                ],
            )
        ]

    def _symbols(self, style):
        l, symbol = self.layer, style.symbol  # noqa: E741, the layer
        return {
            "C_0": symbol("C", None, "0"),
            "a": symbol("a", l, "j"),
            "z": symbol("z", l, "j"),
            "w": symbol("w", l, "jk"),
            "a_m": symbol("a", l, "m"),
            "w_mj": symbol("w", l + 1, "mj"),
            "delta_m": symbol("delta", l + 1, "m"),
        }

    @property
    def _table(self):
        """Header and rows: the factors of the first samples, and the means of all."""
        l = self.layer  # noqa: E741, the layer
        if self.is_coupled:
            names = [f"dC_0/dz^{l}_j"]
            columns = [self.delta]
        else:
            names = [f"dC_0/da^{l}_j", f"da^{l}_j/dz^{l}_j"]
            columns = [self.terms.dC0_da, self.terms.da_dz]
        names += [f"dz^{l}_j/dw^{l}_jk", f"dC_0/dw^{l}_jk"]
        columns += [self.terms.dz_dw, self.terms.dC0_dw]
        n = len(self.delta)
        rows = [
            [str(i), *(six_digits(column[i]) for column in columns)]
            for i in range(min(n, MOST_SAMPLES))
        ]
        if n > MOST_SAMPLES:
            rows.append(["…", *["…"] * len(columns)])
        means = (np.average(column, weights=self.sample_weight) for column in columns)
        rows.append(["mean", *map(six_digits, means)])
        return ["sample", *names], rows
