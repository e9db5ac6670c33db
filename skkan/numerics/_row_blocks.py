"""Blocks of rows over which sums are made one by one.

Rounding is then the same wherever the blocks are: in memory or on a cluster.
"""

# Sorting costs little up to here; the effect of rounding that it removes is smaller
# than any difference that matters beyond.
MOST_ROWS = 100_000
# More rows are summed over in pieces, whose sums are added up in a fixed order, so that
# rounding is the same wherever the pieces are: many solver steps amplify it.
PIECE = 2**15


def pieces(n_rows):
    """Slices of the rows, of which sums are made one by one."""
    return [slice(n, min(n + PIECE, n_rows)) for n in range(0, n_rows, PIECE)]
