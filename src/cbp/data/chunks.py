"""Rows in chunks, so that what is made of millions on the way takes little memory."""

#: A number of rows whose labels, numbers and indices take some hundred kilobytes.
CHUNK = 1 << 16


def slices(n, chunk=CHUNK):
    """Slices of up to `chunk` rows, from the first to the last of n."""
    return [slice(start, min(start + chunk, n)) for start in range(0, n, chunk)]
