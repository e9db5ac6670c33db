"""Which pairs of features a network lets act together."""

from itertools import combinations

import numpy as np

from skkan.fitted._output_changes import drawn_by_weight

N_DRAWS = 2  # of other values for each row
MAX_SCREENED_FEATURES = 40  # the most important ones; 780 pairs


def pair_strengths(background, columns):
    """Share of the variance that comes from each pair of columns acting together.

    Half of the columns' values are those of another row: the mixed difference
    f(x) - f(x with j) - f(x with k) + f(x with both), squared, is on average four times
    the variance of all terms that hold both, if columns are independent. Terms with
    further features are in it.

    Parameters
    ----------
    background : Background
    columns : sequence of int

    Returns
    -------
    dict of (int, int) to float
        The strongest first; pairs that meet in no hidden node are left out.

    References
    ----------
    R. Liu and A. Owen, Estimating Mean Dimensionality of Analysis of Variance
    Decompositions, 2006.
    """
    unit = background.model.output_scaling.scale
    sums, share = background.sums, background.share
    variance = background.variance
    if variance == 0:
        return {}
    rows = np.tile(np.arange(len(share)), N_DRAWS)
    generator = np.random.default_rng(0)
    lenders = [drawn_by_weight(share, generator) for _ in range(N_DRAWS)]
    weight = share[rows] / N_DRAWS
    parts = background.summands_of_rows
    moves = parts[:, np.concatenate(lenders)] - parts[:, rows]
    meets = background.columns_of_nodes()

    def output(move):
        return background.output_of(sums[rows] + move) / unit

    before = output(0.0)
    single = {column: output(moves[column]) - before for column in columns}
    strength = {
        column: weight @ np.square(change).sum(1) for column, change in single.items()
    }
    columns = sorted(columns, key=lambda column: -strength[column])
    found = {}
    for pair in combinations(sorted(columns[:MAX_SCREENED_FEATURES]), 2):
        one, other = pair
        if not (meets[one] & meets[other]).any():  # in no node
            continue
        mixed = output(moves[one] + moves[other]) - before - single[one] - single[other]
        found[pair] = weight @ np.square(mixed).sum(1) / (4 * variance)
    return dict(sorted(found.items(), key=lambda item: -item[1]))
