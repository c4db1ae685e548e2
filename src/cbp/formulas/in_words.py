"""A `ChainRule` as people read it: a title, a table of samples, formulas with numbers.

Of one sample the product is written out, and the sum in it if there is one; of all
samples, the factors of the first ones, and their mean with the penalty.
"""

import numpy as np

from cbp.formulas.formula import six_digits

#: Summands that are shown one by one, and samples that are listed.
MOST_SUMMANDS, MOST_SAMPLES = 6, 8


def title(rule):
    """Which weight, where it is, of which samples."""
    below, layer, k, j = rule.layer - 1, rule.layer, rule.k, rule.j
    samples = f"sample {rule.sample}"
    if rule.sample is None:
        mean = "mean" if rule.sample_weight is None else "weighted mean"
        samples = f"{mean} of {len(rule.delta)} samples"
    return (
        f"w^{layer}_jk = coefs_[{below}][{k}, {j}] = {six_digits(rule.weight)}, "
        f"node k={k} of layer {below} to node j={j} of layer {layer}; {samples}"
    )


def table(rule):
    """Header and rows: the factors of the first samples, and the means of all."""
    l = rule.layer  # noqa: E741, the layer
    names, columns = [f"dC_0/dz^{l}_j"], [rule.delta]
    if not rule.is_coupled:
        names = [f"dC_0/da^{l}_j", f"da^{l}_j/dz^{l}_j"]
        columns = [rule.terms.dC0_da, rule.terms.da_dz]
    names += [f"dz^{l}_j/dw^{l}_jk", f"dC_0/dw^{l}_jk"]
    columns += [rule.terms.dz_dw, rule.terms.dC0_dw]
    n = len(rule.delta)
    rows = [
        [str(i), *(six_digits(column[i]) for column in columns)]
        for i in range(min(n, MOST_SAMPLES))
    ]
    if n > MOST_SAMPLES:
        rows.append(["…", *["…"] * len(columns)])
    means = np.average(np.stack(columns, axis=1), axis=0, weights=rule.sample_weight)
    rows.append(["mean", *map(six_digits, means)])
    return ["sample", *names], rows


def equations(rule, style):
    """The formulas, in a `Style`: a list of its `equations`."""
    symbols = _symbols(rule.layer, style)
    if rule.sample is None:
        return [_mean(rule, style, symbols)]
    if rule.summands is None or not np.isfinite(rule.summands).all():
        return [_product(rule, style, symbols)]
    return [_product(rule, style, symbols), _sum(rule, style, symbols)]


def _symbols(layer, style):
    symbol = style.symbol
    return {
        "C_0": symbol("C", None, "0"),
        "a": symbol("a", layer, "j"),
        "z": symbol("z", layer, "j"),
        "w": symbol("w", layer, "jk"),
        "a_m": symbol("a", layer, "m"),
        "w_mj": symbol("w", layer + 1, "mj"),
        "delta_m": symbol("delta", layer + 1, "m"),
    }


def _product(rule, style, symbols):
    """dC_0/dw of the one sample; its upper factors are one where they are coupled.

    Likewise where dC_0/da is not finite though its product with da/dz is.
    """
    C_0, a, z, w = (symbols[name] for name in ("C_0", "a", "z", "w"))
    dC0_da, da_dz, dz_dw, dC0_dw = (term[0] for term in rule.terms)
    if rule.is_coupled or not np.isfinite(dC0_da):
        factors, values = [style.partial(C_0, z)], [rule.delta[0]]
    else:
        factors, values = [style.partial(C_0, a), style.partial(a, z)], [dC0_da, da_dz]
    return style.equations(
        style.partial(C_0, w),
        [
            style.times.join([*factors, style.partial(z, w)]),
            style.product([*values, dz_dw]),
            style.number(dC0_dw),
        ],
    )


def _sum(rule, style, symbols):
    """The sum over the nodes m: of the next layer, or of the softmax outputs."""
    if rule.is_coupled:
        left = style.partial(symbols["C_0"], symbols["z"])
        factors = (
            style.partial(symbols["C_0"], symbols["a_m"]),
            style.partial(symbols["a_m"], symbols["z"]),
        )
        pairs = np.stack([rule.terms.dC0_da[0], rule.terms.da_dz[0]], axis=1)
    else:
        left = style.partial(symbols["C_0"], symbols["a"])
        factors = symbols["w_mj"], symbols["delta_m"]
        pairs = np.stack([rule.weights_above, rule.delta_above[0]], axis=1)
    summands = rule.summands[0]
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


def _mean(rule, style, symbols):
    """dC/dw: the mean over the samples, and the penalty."""
    w = symbols["w"]
    left = style.partial(style.symbol("C"), w)
    mean = style.mean_over("i", style.partial(symbols["C_0"], w))
    if not rule.penalty:
        return style.equations(left, [mean, style.number(rule.grad)])
    shrinkage = style.fraction(style.symbol("alpha"), style.symbol("S"))
    values = [style.number(rule.mean.dC0_dw), style.operand(rule.penalty)]
    return style.equations(
        left,
        [
            style.plus.join([mean, style.times.join([shrinkage, w])]),
            style.plus.join(values),
            style.number(rule.grad),
        ],
    )
