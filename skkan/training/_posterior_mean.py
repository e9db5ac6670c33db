"""The mean of the posterior of the weights of a network, where it is not the mode.

Where classes are nearly separable a row tells that its logit is large, not how large:
the posterior is skewed, and its mean has larger logits than its mode.
"""

from dataclasses import dataclass, replace

import torch

from skkan.inference._laplace_posterior import deviations, laplace_posterior
from skkan.losses._base import Loss
from skkan.losses._classification import ClassLoss
from skkan.solvers import DivergenceError
from skkan.training._second_order import FitState, at_mode, finished

MOST_ROWS = 10_000  # beyond which mean and mode are next to the same
MOST_PRODUCTS = 1e10  # rows * outputs * parameters^2, for a second or two in all
MOST_NUMBERS = 2**22  # in the deviations of a block of rows
MOST_STEPS, MOST_LEARNING_STEPS = 30, 60  # of the solver
NEAR = 1e-3  # of the log posterior below its mode, as clouds depend on where that is
# On the curvature of a row: relative, in roundings, and absolute, in smallest numbers.
RIDGE, TINY = 2.0**12, 2.0**26


@dataclass(frozen=True, eq=False)
class ExpectedLoss(Loss):
    """Mean of a loss over a cloud of raw outputs, another one for each row.

    The target holds the cloud beside the target of the loss: row by row, all outputs of
    the first point, then those of the second one and so on.

    Parameters
    ----------
    loss : ClassLoss
    share : Tensor of shape (n_points,)
        They sum to one.
    """

    loss: ClassLoss
    share: torch.Tensor

    def value(self, raw, target):
        values = self.loss.value(*self._in_turn(raw, target))
        return values.view(len(raw), -1) @ self.share

    def gradient(self, raw, target):
        slopes = self.loss.gradient(*self._in_turn(raw, target))
        slopes = slopes.view(len(raw), -1, raw.shape[1])
        return torch.einsum("p,npa->na", self.share, slopes)

    def curvature_root(self, raw, target):
        hessian = self.loss.mean_hessian(self._at_points(raw, target), self.share)
        # All outputs can rise together without a difference.
        limits = torch.finfo(raw.dtype)
        ridge = hessian.diagonal(dim1=1, dim2=2).amax(1) * (RIDGE * limits.eps)
        ridge += TINY * limits.tiny
        hessian.diagonal(dim1=1, dim2=2).add_(ridge.unsqueeze(1))
        return torch.linalg.cholesky(hessian, upper=True)

    def inverse_link(self, raw):
        return self.loss.inverse_link(raw)

    def baseline(self, target, sample_weight):
        return self.loss.baseline(target, sample_weight)

    def _at_points(self, raw, target):
        """Raw outputs of all points, (n_samples, n_points, n_outputs)."""
        cloud = target[:, raw.shape[1] :]
        return cloud.view(len(raw), len(self.share), -1) + raw.unsqueeze(1)

    def _in_turn(self, raw, target):
        """Raw outputs and targets of all points, one after the other."""
        points = self._at_points(raw, target)
        own = target[:, : raw.shape[1]].unsqueeze(1).expand_as(points)
        return points.flatten(0, 1), own.flatten(0, 1)


def has_mean(network, data, plan):
    """Whether there is a mean that differs from the mode, and affordable."""
    if plan.loss.has_noise or data.n_rows > MOST_ROWS:
        return False
    products = data.n_rows * len(data.baseline) * network.n_parameters**2
    return products <= MOST_PRODUCTS


def at_posterior_mean(network, data, plan, prior, factor):
    """A network with the mean weights of its posterior in place of the most likely.

    The posterior is the Gaussian that is next to the true one among those with the
    covariance of Laplace's: the expectation of its negative log density, the mean loss
    over the outputs of each row and the penalty, is smallest.

    Parameters
    ----------
    network : KANNetwork
        At the mode.
    data : TrainingData
    plan : TrainingPlan
    prior : Prior
    factor : ndarray of shape (n_parameters, n_parameters)
        Lower Cholesky factor of Laplace's precision of the weights.

    Returns
    -------
    network : KANNetwork
        The given one where there is no difference, see `has_mean`, or a divergence
        forbids it.
    n_iter : int

    References
    ----------
    J. van Niekerk and H. Rue, Low-rank Variational Bayes Correction to the Laplace
    Method, Journal of Machine Learning Research 25, 2024.
    """
    if not has_mean(network, data, plan):
        return network, 0
    around = _around(network, data, plan, factor)
    try:
        outcome = at_mode(FitState(network, prior), *around, MOST_STEPS, near=NEAR)
    except DivergenceError:  # the mode is a model, too
        return network, 0
    return outcome.network, outcome.n_iter


def learnt_at_mean(candidate, data, plan):
    """A candidate whose penalties are learnt once more, around the mean.

    Curves that are larger there call for less of a penalty. The weights are those of
    the mode again.

    Parameters
    ----------
    candidate : FitState
        At the mode.
    data : TrainingData
    plan : TrainingPlan

    Returns
    -------
    FitState
        The given one where rounding or a divergence forbids it, or there is no
        difference.
    """
    if not (has_mean(candidate.network, data, plan) and plan.learns_alpha):
        return candidate
    network, prior = candidate.network, candidate.prior
    posterior = laplace_posterior(network, data, plan, prior, candidate.objective)
    if posterior is None:
        return candidate
    around = _around(network, data, plan, posterior.factor)
    try:
        mean = at_mode(FitState(network, prior), *around, MOST_STEPS)
        learnt = finished(mean, *around, min(MOST_LEARNING_STEPS, plan.max_iter))
        outcome = at_mode(learnt, data, plan, MOST_STEPS, near=NEAR)
    except DivergenceError:
        return candidate
    n_iter = mean.n_iter + learnt.n_iter + outcome.n_iter
    return replace(outcome, n_iter=n_iter)


def _around(network, data, plan, factor):
    """Data and plan of the mean loss over the posterior."""
    factor = torch.from_numpy(factor).to(data.X)
    size = max(1, MOST_NUMBERS // (len(factor) * len(data.baseline)))
    clouds = [
        plan.loss.cloud(deviations(network, factor, rows))
        for rows in data.X.split(size)
    ]
    points = torch.cat([cloud.flatten(1) for cloud, _ in clouds])
    rows = replace(data, target=torch.cat([data.target, points], dim=1))
    return rows, replace(plan, loss=ExpectedLoss(plan.loss, clouds[0][1]))
