"""Small tables for people, as text and as HTML, from the same rows of strings."""

from html import escape


def text_table(header, rows):
    """Columns as wide as their widest cell; the first to the left, others to the right.

    Parameters
    ----------
    header : sequence of str
    rows : sequence of sequences of str

    Returns
    -------
    table : str
    """
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def html_table(header, rows, caption=""):
    """The same as a table element, without styles of its own but the alignment.

    Parameters
    ----------
    header : sequence of str
    rows : sequence of sequences of str
    caption : str, default=""

    Returns
    -------
    table : str
    """
    head = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f"<table>{head}<thead>{_row('th', header)}</thead>"
        f"<tbody>{''.join(_row('td', row) for row in rows)}</tbody></table>"
    )


def _row(tag, cells):
    sides = ["left", *["right"] * (len(cells) - 1)]
    return (
        "<tr>"
        + "".join(
            f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>'
            for cell, side in zip(cells, sides, strict=True)
        )
        + "</tr>"
    )


def html_list(items):
    """Pairs of a sentence and what follows from it, as a list; empty without items.

    Parameters
    ----------
    items : iterable of pairs of str

    Returns
    -------
    html : str
    """
    entries = "".join(
        f"<li>{escape(first)}<br>{escape(second)}</li>" for first, second in items
    )
    return f"<ul>{entries}</ul>" if entries else ""
