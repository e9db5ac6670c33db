"""Which solver "auto" stands for, which penalty, and what goes together."""

import math
from numbers import Real

import numpy as np
import torch

from skkan.numerics import _row_blocks
from skkan.penalties._quadratic import ROUGHNESS, QuadraticPenalty
from skkan.selection._search_space import WITHOUT_SEARCH
from skkan.solvers import LBFGS, Adam, LevenbergMarquardt
from skkan.training._settings import CONTINUATION

SOLVERS = {"lm": LevenbergMarquardt, "lbfgs": LBFGS, "adam": Adam}
# "auto" takes "lm" up to so many parameters, if rows * outputs * parameters^2 are at
# most so many. The time of a fit grows with the cube of the parameters and with these
# products. At the first limit an iteration takes some ten seconds, of so many rows that
# nothing else is faster. At the second one a whole fit takes ten.
LM_LIMITS = ((800, 5e11), (1200, 5e9))
MAX_LBFGS_ROWS = 20_000
FIRST_ORDER_ALPHA = 0.003  # in place of "auto", where there is no evidence
# In a stream it is spread over more rows than that. With 100 in place of 1,000, (5,)
# has a lower R2 on streams of 332 diabetes rows (.0 for .25) and of 500 of Friedman's
# (.976 for .984), and a higher one on 6,500 of bikeshare (.92 for .90).
MAX_ROWS_OF_FULL_ALPHA = 1000


def choose_solver(
    setting,
    network,
    n_rows,
    *,
    fixed_alpha=False,
    has_penalty=False,
    streaming=False,
    searching=False,
    in_chunks=False,
):
    """The solver that a `solver` parameter stands for.

    Parameters
    ----------
    setting : {"auto", "lm", "lbfgs", "adam"} or Solver
    network : KANNetwork
        Starting point.
    n_rows : int
    fixed_alpha : bool, default=False
        Whether alpha is one strength for all edges. "lbfgs" is then as good and faster.
    has_penalty : bool, default=False
        Whether there is a penalty other than `alpha`.
    streaming : bool, default=False
        Whether rows come batch by batch.
    searching : bool, default=False
        Whether the structure is still to be chosen, among affordable ones.
    in_chunks : bool, default=False
        Whether rows stay on a cluster, where there are no mini-batches of them.
    """
    if setting == "auto" and searching:
        return LevenbergMarquardt()
    if setting == "auto" and streaming:
        return LBFGS(n_unwhitened_iter=0)  # its steps on a batch are few
    if setting == "auto":
        n_parameters, n_targets = network.n_parameters, n_rows * network.widths[-1]
        if not (has_penalty or fixed_alpha) and _affords_lm(n_parameters, n_targets):
            return LevenbergMarquardt()
        return LBFGS() if in_chunks or n_rows <= MAX_LBFGS_ROWS else Adam()
    return solver_of(setting)


def _affords_lm(n_parameters, n_targets):
    return any(
        n_parameters <= max_parameters and n_targets * n_parameters**2 <= max_products
        for max_parameters, max_products in LM_LIMITS
    )


def affords_lm_quickly(n_parameters, n_targets):
    """Whether a whole fit by "lm" takes some seconds."""
    max_parameters, max_products = LM_LIMITS[-1]
    return n_parameters <= max_parameters and (
        n_targets * n_parameters**2 <= max_products
    )


def coarser_for_lm(network, n_rows):
    """Size of the coarser grids on which "lm" trains a network quickly.

    The strengths of the penalty mean the same on all grids, so that what is learnt on
    coarse ones holds on those that are too fine for "lm".

    Returns
    -------
    int or None
        None if there is none.
    """
    (max_parameters, _), (_, max_products) = LM_LIMITS
    on_grids = sum(
        layer.mask.shape[0] * int(layer.basis.is_number.sum())
        for layer in network.all_layers
    )
    grid_size, n_targets = network.grid_size, n_rows * network.widths[-1]
    while grid_size > CONTINUATION.min_grid_size:
        grid_size = math.ceil(grid_size / 2)
        n_parameters = network.n_parameters
        n_parameters -= on_grids * (network.grid_size - grid_size)
        products = n_targets * n_parameters**2
        if n_parameters <= max_parameters and products <= max_products:
            return grid_size
    return None


def solver_of(setting):
    """The solver that a parameter names or is, None for "auto"."""
    if isinstance(setting, str):
        return SOLVERS[setting]() if setting in SOLVERS else None
    return setting


def name_of(solver):
    """The name of a solver, or of its class where it has none."""
    names = {kind: name for name, kind in SOLVERS.items()}
    return names.get(type(solver), type(solver).__name__)


def check_compatible(
    setting,
    penalty=None,
    *,
    alpha="auto",
    prune_threshold=None,
    device="cpu",
    in_chunks=False,
    streaming=False,
):
    """Raise a ValueError if parts of a fit do not go together.

    Parameters
    ----------
    setting : {"auto", "lm", "lbfgs", "adam"} or Solver
    penalty : Penalty, default=None
        Beside that of `alpha`.
    alpha : "auto", float or array-like, default="auto"
    prune_threshold : float, "auto" or None, default=None
    device : str or torch.device, default="cpu"
    in_chunks : bool, default=False
        Whether rows stay on a cluster.
    streaming : bool, default=False
        Whether rows come batch by batch.
    """
    solver = solver_of(setting)
    if solver is not None and streaming and solver.second_order:
        raise ValueError(
            "partial_fit needs a solver that does not learn penalties from all rows, "
            f"got solver={setting!r}: set solver='auto', 'lbfgs' or 'adam'."
        )
    if solver is not None and penalty is not None and solver.second_order:
        raise ValueError(
            f"penalty must be None with solver={setting!r}, which needs second "
            "derivatives of all that it minimises: leave it out, as alpha='auto' "
            "shrinks unneeded edges by itself, or set solver='lbfgs' or 'adam'."
        )
    if isinstance(prune_threshold, bool | np.bool_):
        raise ValueError(
            "prune_threshold must be a number of at least 0, 'auto' or None, got "
            f"{prune_threshold}: 1.0 would remove nearly all edges, 'auto' goes by the "
            "evidence, None removes none."
        )
    may_learn_alpha = isinstance(alpha, str) and penalty is None
    if solver is not None or not may_learn_alpha:
        if solver is None:  # "auto" learns no alpha here, either
            is_array = penalty is None and not isinstance(alpha, Real)
            solver = LevenbergMarquardt() if is_array else LBFGS()
        learns_alpha = may_learn_alpha and solver.second_order
        check_pruning(prune_threshold, solver, learns_alpha=learns_alpha)
    if not in_chunks:
        return
    n_rows = _row_blocks.SINGLE_BLOCK_ROWS
    where = f"for dask data of more than {n_rows} rows, which stay in chunks"
    remedy = "or pass X.compute(), if it fits into memory."
    if solver is not None and solver.uses_batches:
        raise ValueError(
            f"solver must be 'auto', 'lm' or 'lbfgs' {where}, got {setting!r}: "
            "mini-batches would be drawn from all chunks at once. Set "
            f"solver='lbfgs', {remedy}"
        )
    if penalty is not None and penalty.depends_on_rows:
        raise ValueError(
            f"penalty must not depend on the rows {where}, got {penalty!r}: it is no "
            f"sum over them. Leave it out, {remedy}"
        )
    if torch.device(device).type != "cpu":
        raise ValueError(
            f"device must be 'cpu' {where}, got {device!r}: sums are made on the CPUs "
            f"of the workers. Set device='cpu', {remedy}"
        )


def check_pruning(threshold, solver, *, learns_alpha):
    """Raise a ValueError unless a training leaves what pruning needs.

    Parameters
    ----------
    threshold : float, "auto" or None
    solver : Solver
    learns_alpha : bool
        Whether the evidence learns the penalty.
    """
    if threshold == "auto" and not learns_alpha:
        raise ValueError(
            "prune_threshold='auto' goes by the evidence, which needs solver='lm' and "
            f"alpha='auto', got {type(solver).__name__}"
            f"{' and a fixed alpha' if solver.second_order else ''}: set these, "
            "or a float such as prune_threshold=0.01."
        )


def checked_alpha(alpha, network):
    """alpha as a float or an array of shape (n_edges, 3); None for "auto".

    Raises
    ------
    ValueError
        If it is an array of another shape, or not of non-negative numbers.
    """
    if isinstance(alpha, str):
        return None
    if isinstance(alpha, Real):
        return float(alpha)
    n_edges = sum(layer.mask.numel() for layer in network.all_layers)
    try:
        alpha = np.asarray(alpha, dtype=float)
        shape = alpha.shape
    except (TypeError, ValueError):  # ragged, or not of numbers
        shape = "something that is no array of numbers"
    if shape != (n_edges, 3):
        raise ValueError(
            "alpha as an array must hold three strengths (size, curvature, "
            "change of curvature) for each edge of the network: expected shape "
            f"({n_edges}, 3), "
            f"got {shape}. Pass a float for all edges, or alpha_ of a fitted "
            "estimator of the same structure."
        )
    if not (np.isfinite(alpha).all() and (alpha >= 0).all()):
        raise ValueError(
            "alpha as an array must be finite and not negative: pass alpha_ of a "
            "fitted estimator, or alpha='auto'."
        )
    return alpha


def alpha_of_stream(n_edges, n_rows, grid_size):
    """Strengths of the penalty of a stream, where alpha is left open.

    It counts once against all rows, however often they come. On grids that are finer
    than by default, curves are charged as if they bent over as many intervals of the
    default one: who asks for finer grids expects finer curves.

    Parameters
    ----------
    n_edges : int
    n_rows : int
        Number of different rows.
    grid_size : float
        Number of intervals that was requested.

    Returns
    -------
    ndarray of shape (n_edges, 3)
    """
    strength = FIRST_ORDER_ALPHA * min(1.0, MAX_ROWS_OF_FULL_ALPHA / n_rows)
    coarseness = min(1.0, WITHOUT_SEARCH.grid_size / grid_size)
    return np.tile(
        strength * np.array([1.0, ROUGHNESS * coarseness**4, 0.0]), (n_edges, 1)
    )


def choose_penalties(alpha, penalty):
    """The penalties of a training whose alpha is not learnt."""
    alpha = FIRST_ORDER_ALPHA if alpha is None else alpha
    penalties = (QuadraticPenalty(alpha),) if np.any(alpha) else ()
    return penalties if penalty is None else (*penalties, penalty)
