"""Finer grids, where the evidence proposes them and rows that are held out agree.

Five intervals hold the curves of ordinary tables. A steep or an exact law needs more.
The evidence alone is wrong where fine curves meet all rows of a function with steps.
"""

import math

from skkan.network._edits import with_means_at_missing
from skkan.selection import _settings
from skkan.selection._solver_choice import affords_lm_quickly
from skkan.selection._validation_rows import validation_split
from skkan.training._second_order import at_mode, train_second_order
from skkan.training._settings import CONTINUATION
from skkan.training._state import FitState


def on_finer_grids(state, data, plan, generator):
    """A trained state on grids of twice the intervals, and whether it is better.

    Parameters
    ----------
    state : FitState
        At the maximum of its evidence.
    data : Dataset or DaskDataset
    plan : FitPlan
    generator : torch.Generator
        Draws the rows that are held out.

    Returns
    -------
    finer : FitState or None
        None where such grids are too fine for a quick training.
    is_better : bool
        Whether the evidence has clearly gained, and on rows that are held out the error
        of every output falls, clearly or to what the noise allows.
    """
    settings, network = _settings.FINER_GRIDS, state.network
    grid_size = 2 * network.grid_size
    if grid_size > settings.max_grid_size:
        return None, False
    refined = with_means_at_missing(network.refined(grid_size), data)
    rows = data.sample(CONTINUATION.max_rows_for_evidence)
    if not affords_lm_quickly(refined.n_parameters, rows.n_rows * network.widths[-1]):
        return None, False
    if rows is not data:  # compare on the same rows
        state = at_mode(FitState(network, state.prior), rows, plan, plan.max_iter)
    min_score = state.score + settings.min_gain
    start = FitState(refined, state.prior)
    finer = train_second_order(start, rows, plan, plan.max_iter, min_score=min_score)
    if finer.score <= min_score:
        return finer, False
    fitted, validation = validation_split(rows, plan.loss, generator)
    raws = []
    for each in (network, refined):
        trained = FitState(each, state.prior)
        trained = train_second_order(trained, fitted, plan, plan.max_iter)
        raws.append(validation.raw([trained.network]))
    coarse, fine = (validation.error(raw) for raw in raws)
    believable = settings.max_ratio_to_noise**2 * trained.prior.noise
    if validation.paired_t(raws[1], raws[0]) > settings.clear_t:
        believable = math.inf
    return finer, bool((fine < coarse.clamp(max=believable)).all())
