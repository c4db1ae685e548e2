"""The derivative of the loss in one weight, factor by factor.

    dC_0/dw^l_jk = dC_0/da^l_j · da^l_j/dz^l_j · dz^l_j/dw^l_jk

for the weight from node k of layer l-1 to node j of layer l. The first factor is known
where j is an output; for a hidden node it is itself a sum, with one summand for each
node m of the next layer, which a^l_j feeds:

    dC_0/da^l_j = sum_m w^{l+1}_mj delta^{l+1}_m

Softmax couples the outputs: z^L_j moves each a^L_m, and the first two factors become

    delta^L_j = sum_m dC_0/da^L_m · da^L_m/dz^L_j

`in_words.py` writes all this with the numbers filled in.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cbp.formulas.formula import Latex, MathML, Text
from cbp.formulas.in_words import equations, table, title
from cbp.formulas.tables import html_table, text_table


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
        ``terms.dC0_dw`` have shape (n,). With a `sample`, n is 1. The product is finite
        also where z^L is so large (beyond some 700) that dC_0/da^L is not.
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
        with np.errstate(invalid="ignore"):  # inf - inf, where dC_0/da is not finite
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
            with np.errstate(invalid="ignore"):  # inf times 0
                return self.terms.dC0_da * self.terms.da_dz
        if self.weights_above is None:
            return None
        return self.weights_above * self.delta_above

    def __repr__(self):
        listed = [] if self.sample is not None else [text_table(*table(self))]
        return "\n".join([title(self), *listed, self._formula(Text())])

    def _repr_latex_(self):
        return self._formula(Latex())

    def _repr_html_(self):
        listed = "" if self.sample is not None else html_table(*table(self))
        return f"<div><p>{title(self)}</p>{listed}{self._formula(MathML())}</div>"

    def _formula(self, style):
        return style.display(equations(self, style))
