"""Numbers and changes in the words of titles and labels."""

#: A size that gets larger or smaller by less than this ratio hardly changes.
LEAST_CHANGE = 1.05


def short(value):
    """A number in few characters.

    Examples
    --------
    >>> short(0.0123456), short(14321.5), short(3.2e9), short(0)
    ('0.0123', '14,300', '3.2e+09', '0')
    """
    if 1e-3 <= abs(value) < 1e6 or value == 0:
        text = f"{float(f'{value:.3g}'):,g}"
    else:
        text = f"{value:.1e}"
    return text.replace("-", "−")  # noqa: RUF001, as matplotlib writes numbers on axes


def percent(share):
    """A share in per cent, never rounded to all or nothing.

    Examples
    --------
    >>> percent(0.38), percent(1e-5), percent(0.9999), percent(1)
    ('38 %', '<1 %', '>99 %', '100 %')
    """
    if 0 < share < 0.01:
        return "<1 %"
    if 0.99 < share < 1:
        return ">99 %"
    return f"{100 * share:.0f} %"


def fold(ratio):
    """A ratio of two sizes in words.

    Examples
    --------
    >>> fold(12.3), fold(1.06)
    ('12-fold', '1.1-fold')
    """
    return f"{short(float(f'{ratio:.2g}'))}-fold"


def change(first, last):
    """How a size, above 0, gets from the first value to the last, in words.

    Examples
    --------
    >>> change(12, 1), change(0.5, 2), change(3, 3.1)
    ('shrinks 12-fold', 'grows 4-fold', 'hardly changes')
    """
    ratio = max(first, last) / min(first, last)
    if ratio < LEAST_CHANGE:
        return "hardly changes"
    verb = "shrinks" if first > last else "grows"
    return f"{verb} {fold(ratio)}"
