"""Finer grids, as long as the evidence gains by them.

Five intervals hold the curves of ordinary tables. A steep or an exact law needs more,
and the evidence says so without validation rows.
"""

from skkan.network._edits import with_means_at_missing
from skkan.selection import _settings
from skkan.selection._solver_choice import affords_lm_quickly
from skkan.training._second_order import at_mode, train_second_order
from skkan.training._settings import CONTINUATION
from skkan.training._state import FitState


def on_finer_grids(state, data, plan):
    """A trained state on grids of twice the intervals, and whether it is better.

    Parameters
    ----------
    state : FitState
        At the maximum of its evidence.
    data : Dataset or DaskDataset
    plan : FitPlan

    Returns
    -------
    finer : FitState or None
        None where such grids are too fine for a quick training.
    is_better : bool
        Whether the evidence has clearly gained.
    """
    settings, network = _settings.FINER_GRIDS, state.network
    grid_size = 2 * network.grid_size
    if grid_size > settings.max_grid_size:
        return None, False
    finer = with_means_at_missing(network.refined(grid_size), data)
    rows = data.subsample(CONTINUATION.max_rows_for_evidence)
    if not affords_lm_quickly(finer.n_parameters, rows.n_rows * network.widths[-1]):
        return None, False
    if rows is not data:  # compare on the same rows
        state = at_mode(FitState(network, state.prior), rows, plan, plan.max_iter)
    min_score = state.score + settings.min_gain
    finer = FitState(finer, state.prior)
    finer = train_second_order(finer, rows, plan, plan.max_iter, min_score=min_score)
    return finer, finer.score > min_score
