"""Which pairs of features a network lets act together."""

from itertools import combinations

import numpy as np

# Rows from which a pair is judged. The interactions of ten networks on four tables were
# in the same order by 64 rows as by 300, those below a thousandth left out.
N_SCREENED_ROWS = 64
MAX_SCREENED_FEATURES = 40  # the most important ones; 780 pairs
NO_INTERACTION = 1e-18  # of the variance of the output: what rounding leaves


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
        The strongest first; pairs that do not interact are left out.

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
    step = max(1, len(share) // N_SCREENED_ROWS)
    rows = np.arange(0, len(share), step)
    lenders = background.lenders()[rows]
    weight = share[rows] / share[rows].sum()
    moves = (
        background.summands_of_rows[:, lenders] - background.summands_of_rows[:, rows]
    )

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
        both = (moves[one] != 0) & (moves[other] != 0)
        if not both.any():  # in no node do they meet
            continue
        mixed = output(moves[one] + moves[other]) - before - single[one] - single[other]
        found[pair] = weight @ np.square(mixed).sum(1) / (4 * variance)
    ranked = sorted(found.items(), key=lambda item: -item[1])
    return {pair: value for pair, value in ranked if value > NO_INTERACTION}
