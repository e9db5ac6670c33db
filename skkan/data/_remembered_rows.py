"""The rows that a stream remembers: a sample of all rows that it has seen."""

import numpy as np
import torch

# Their number: as many as a small network can learn much from, and 16 kB a column. Not
# ablated.
N_REMEMBERED = 2000


def joined(rows, others):
    """Rows (X, target, sample weight) and others below them."""
    return tuple(np.concatenate(parts) for parts in zip(rows, others, strict=True))


def remembered(rows, generator):
    """A random sample of rows, weighted such that it stands for all of them.

    A row of weight w has the priority w / u, with u uniform in (0, 1). Those of the
    highest priorities are kept, and none counts less than the highest priority that is
    left out. The weight of any part of the rows then has no bias, also if samples are
    drawn from samples.

    Parameters
    ----------
    rows : tuple (X, target, sample weight)
    generator : torch.Generator

    Returns
    -------
    tuple (X, target, sample weight)
        All rows if they are few.

    References
    ----------
    N. Duffield, C. Lund and M. Thorup, Priority Sampling for Estimation of Arbitrary
    Subset Sums, 2007.
    """
    X, target, weight = rows
    if len(X) <= N_REMEMBERED:
        return rows
    uniform = 1 - torch.rand(len(X), generator=generator, dtype=torch.float64).numpy()
    priority = weight / uniform
    order = np.argpartition(-priority, N_REMEMBERED)
    kept = np.sort(order[:N_REMEMBERED])
    least = priority[order[N_REMEMBERED]]
    return X[kept], target[kept], np.maximum(weight[kept], least)
