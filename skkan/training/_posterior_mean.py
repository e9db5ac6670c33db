"""The posterior mean of the weights of a network for classes.

Where classes are nearly separable a row shows that its logit is large, but not how
large. The posterior is skewed, and its mean has larger logits than its mode.
"""

from dataclasses import dataclass, replace

import torch

from skkan.inference._laplace_posterior import laplace_posterior, whitened_jacobian
from skkan.losses._base import Loss
from skkan.losses._classification import ClassLoss
from skkan.solvers import DivergenceError
from skkan.training import _settings
from skkan.training._second_order import at_mode, train_second_order
from skkan.training._state import FitState


@dataclass(frozen=True, eq=False)
class ExpectedLoss(Loss):
    """Mean of a loss over quadrature points of the raw output of each row.

    The target holds the quadrature points beside the target of the loss. For each row
    all outputs of the first point come first, then those of the second one, and so on.

    Parameters
    ----------
    loss : ClassLoss
    weight : Tensor of shape (n_points,)
        Of the quadrature points; they sum to one.
    """

    loss: ClassLoss
    weight: torch.Tensor

    def value(self, raw, target):
        values = self.loss.value(*self._of_all_points(raw, target))
        return values.view(len(raw), -1) @ self.weight

    def gradient(self, raw, target):
        slopes = self.loss.gradient(*self._of_all_points(raw, target))
        slopes = slopes.view(len(raw), -1, raw.shape[1])
        return torch.einsum("p,npa->na", self.weight, slopes)

    def curvature_root(self, raw, target):
        hessian = self.loss.mean_hessian(self._at_points(raw, target), self.weight)
        # The loss does not change if all outputs rise together.
        limits, settings = torch.finfo(raw.dtype), _settings.POSTERIOR_MEAN
        largest = hessian.diagonal(dim1=1, dim2=2).amax(1)
        ridge = largest * (settings.relative_ridge * limits.eps)
        ridge += settings.absolute_ridge * limits.tiny
        hessian.diagonal(dim1=1, dim2=2).add_(ridge.unsqueeze(1))
        return torch.linalg.cholesky(hessian, upper=True)

    def inverse_link(self, raw):
        return self.loss.inverse_link(raw)

    def baseline(self, target, sample_weight):
        return self.loss.baseline(target, sample_weight)

    def _at_points(self, raw, target):
        """Raw outputs of all points, (n_samples, n_points, n_outputs)."""
        points = target[:, raw.shape[1] :]
        return points.view(len(raw), len(self.weight), -1) + raw.unsqueeze(1)

    def _of_all_points(self, raw, target):
        """Raw outputs and targets of all points of all rows, in one dimension."""
        points = self._at_points(raw, target)
        own = target[:, : raw.shape[1]].unsqueeze(1).expand_as(points)
        return points.flatten(0, 1), own.flatten(0, 1)


def has_mean(network, data, plan):
    """Whether the posterior mean differs from the mode, and is affordable."""
    settings = _settings.POSTERIOR_MEAN
    if plan.loss.has_noise or data.n_rows > settings.max_rows:
        return False
    products = data.n_rows * len(data.baseline) * network.n_parameters**2
    return products <= settings.max_products


def at_posterior_mean(network, data, plan, prior, posterior):
    """A network with the posterior mean of its weights in place of the mode.

    The posterior is approximated by a Gaussian with the covariance of Laplace's. Its
    mean minimises the expectation of the negative log density: the mean loss over the
    outputs of each row, and the penalty.

    Parameters
    ----------
    network : KANNetwork
        At the mode.
    data : Dataset
    plan : FitPlan
    prior : Prior
    posterior : LaplacePosterior

    Returns
    -------
    network : KANNetwork
        The given one where there is no difference, see `has_mean`, or training
        diverges.
    n_iter : int

    References
    ----------
    J. van Niekerk and H. Rue, Low-rank Variational Bayes Correction to the Laplace
    Method, Journal of Machine Learning Research 25, 2024.
    """
    settings = _settings.POSTERIOR_MEAN
    if not has_mean(network, data, plan):
        return network, 0
    around = _around(network, data, plan, posterior)
    start = FitState(network, prior)
    try:
        mean = at_mode(start, *around, settings.max_iter, mode_tol=settings.mode_tol)
    except DivergenceError:  # the mode is a model, too
        return network, 0
    return mean.network, mean.n_iter


def relearnt_at_mean(state, data, plan):
    """A state whose prior is learnt once more, around the posterior mean.

    Curves are larger there, and need a smaller penalty. The weights are at their mode
    again.

    Parameters
    ----------
    state : FitState
        At the mode.
    data : Dataset
    plan : FitPlan

    Returns
    -------
    state : FitState
        The given one where there is no difference, where rounding hides the posterior,
        or where training diverges.
    n_iter : int
    """
    network, prior = state.network, state.prior
    if not (plan.learns_alpha and has_mean(network, data, plan)):
        return state, 0
    posterior = laplace_posterior(network, data, plan, prior, state.objective)
    if posterior is None:
        return state, 0
    settings = _settings.POSTERIOR_MEAN
    around = _around(network, data, plan, posterior)
    budget = min(settings.max_evidence_iter, plan.max_iter)
    try:
        mean = at_mode(FitState(network, prior), *around, settings.max_iter)
        learnt = train_second_order(mean, *around, budget)
        mode = at_mode(
            learnt, data, plan, settings.max_iter, mode_tol=settings.mode_tol
        )
    except DivergenceError:
        return state, 0
    n_iter = mean.n_iter + learnt.n_iter + mode.n_iter
    relearnt = replace(
        state, network=mode.network, prior=mode.prior, objective=mode.objective
    )
    return relearnt, n_iter


def _around(network, data, plan, posterior):
    """Data and plan of the mean loss over the posterior."""
    root = posterior.root(network, data.X.device)
    n_numbers = root.n_weights * len(data.baseline)  # for each row
    size = max(1, _settings.POSTERIOR_MEAN.max_block // n_numbers)
    parts = [
        plan.loss.quadrature_points(whitened_jacobian(network, root, rows))
        for rows in data.X.split(size)
    ]
    points = torch.cat([part.flatten(1) for part, _ in parts])
    rows = replace(data, target=torch.cat([data.target, points], dim=1))
    return rows, replace(plan, loss=ExpectedLoss(plan.loss, parts[0][1]))
