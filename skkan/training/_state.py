"""The state of a training: a network, its prior, and how they came about."""

import math
from dataclasses import dataclass
from enum import Enum, auto

import torch

from skkan.inference._laplace_posterior import LaplacePosterior
from skkan.inference._last_layer_posterior import LastLayerPosterior
from skkan.inference._prior import Prior
from skkan.losses._base import Loss
from skkan.network._network import KANNetwork
from skkan.objective._objective import Objective


class EndReason(Enum):
    """Why a training ended, where the rest of a fit depends on it."""

    DIVERGED = auto()
    MEMBERS_DIVERGED = auto()  # some networks of a search
    NO_EVIDENCE = auto()  # within rounding
    PRUNING_UNFINISHED = auto()  # some edges that should go may be left
    STUCK = auto()  # see `SolverResult.is_stuck`
    STALLED = auto()  # without progress, though the gradient promises some


@dataclass(frozen=True, eq=False)
class FitState:
    """A network during or after training.

    Attributes
    ----------
    network : KANNetwork
    prior : Prior or None
        Of the weights; None where training is of first order.
    objective : Objective or None
        The objective that second-order training used last, for all rows. It keeps the
        normal matrix of its last point.
    score : float
        Log evidence, or minus the objective where the penalties are fixed.
    n_iter : int
        Iterations of the call that returned this state, on all stages and from all
        starting points.
    converged : bool
        Whether training ended because no progress was left. False at the end of the
        budget and after a divergence.
    message : str
        Why training ended, in words.
    reason : EndReason or None
    max_precision : Tensor of shape (n_edges, 3) or None
        Upper limits of the prior precisions, until the last grids.
    interrupted : bool
        Whether the user ended training by Ctrl-C.
    stage_ends : tuple of int
        Length of the loss curve at the end of each stage. Empty for a network of an
        earlier fit.
    loss : Loss or None
        The loss of the plan, adapted to the noise.
    validation_noise : Tensor of shape (n_outputs,) or None
        Variance of the noise that the validation rows of a search show.
    posterior : LaplacePosterior, LastLayerPosterior or None
        Of the weights, at the end of a fit.
    has_final_posterior : bool
        Whether the end is reached; `posterior` may then be None for good.
    """

    network: KANNetwork
    prior: Prior | None = None
    objective: Objective | None = None
    score: float = -math.inf
    n_iter: int = 0
    converged: bool = False
    message: str = ""
    reason: EndReason | None = None
    max_precision: torch.Tensor | None = None
    interrupted: bool = False
    stage_ends: tuple = ()
    loss: Loss | None = None
    validation_noise: torch.Tensor | None = None
    posterior: LaplacePosterior | LastLayerPosterior | None = None
    has_final_posterior: bool = False
