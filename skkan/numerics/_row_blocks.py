"""Blocks of rows, and sums over them in a fixed order.

The rounding of a sum is then the same wherever the blocks are: in memory or on a
cluster.
"""

from functools import reduce
from operator import add

# Up to here rows are merged, sorted and summed as one block. Sorting costs little; for
# more rows the rounding that it removes is smaller than any difference that matters.
SINGLE_BLOCK_ROWS = 100_000
# Sums over more rows are sums over blocks of this size. Their order is fixed, since
# many solver steps amplify rounding.
SUM_BLOCK_ROWS = 2**15
FAN_IN = 8  # results that are added up one after the other


def row_blocks(n_rows):
    """List of the slices of the rows that are summed over one by one."""
    return [
        slice(start, min(start + SUM_BLOCK_ROWS, n_rows))
        for start in range(0, n_rows, SUM_BLOCK_ROWS)
    ]


def tree_sum(values):
    """Sum of some values, in the order of a tree with `FAN_IN` branches."""
    values = list(values)
    while len(values) > FAN_IN:
        values = [tree_sum(group) for group in in_groups(values)]
    return reduce(add, values)


def in_groups(values):
    """The values in lists of `FAN_IN`; the last list may be shorter."""
    return [values[n : n + FAN_IN] for n in range(0, len(values), FAN_IN)]
