"""The function that a solver minimises: mean loss plus penalties of a weight vector.

A solver sees this function and nothing else.
"""

from copy import copy

import torch

from skkan.objective._dask_empirical_loss import DaskEmpiricalLoss
from skkan.objective._empirical_loss import EmpiricalLoss
from skkan.objective._gauss_newton import QuadraticModel
from skkan.objective._whitening import n_sample_rows, whitening

# What is left of an objective of unit size where rounding hides the rest.
ROUNDING_LEFT = 1e-14


def make_objective(network, data, plan):
    """Objective of a network for the loss and penalties of a plan.

    Parameters
    ----------
    network : KANNetwork
    data : Dataset or DaskDataset
    plan : FitPlan

    Returns
    -------
    Objective
    """
    return Objective(network, plan.loss, plan.penalties, data)


class Objective:
    """sum(w l) / sum(w) + penalties, as a function of the flattened weights.

    Parameters
    ----------
    network : KANNetwork
        Gives the bases, masks and the starting point.
    loss : Loss
    penalties : sequence of Penalty
    data : Dataset or DaskDataset
        Sample weights are positive.

    Attributes
    ----------
    network : KANNetwork
    n_rows : int
    """

    def __init__(self, network, loss, penalties, data):
        mean_loss = DaskEmpiricalLoss if data.in_chunks else EmpiricalLoss
        self._mean_loss = mean_loss.of_rows(network, loss, data)
        self.n_rows = data.n_rows
        self._has_gauge_constraints = True
        self._set_network(network)
        self._set_penalties(penalties)

    def _set_penalties(self, penalties):
        self._penalties = penalties
        self._depends_on_rows = any(penalty.depends_on_rows for penalty in penalties)
        self._forms = [
            penalty.form(self.network.all_layers)
            for penalty in penalties
            if not penalty.depends_on_rows
        ]

    def _set_network(self, network):
        self.network = network
        self._weight_mask = network.weight_mask
        self._last_model = {}  # the last quadratic model of the loss, and its point

    @property
    def start(self):
        """The network's present weights as one vector."""
        return self.network.theta

    def covers(self, network):
        """Whether a network differs from the objective's in nothing but weights."""
        pairs = zip(network.all_layers, self.network.all_layers, strict=True)
        return all(one.basis is other.basis for one, other in pairs)

    def network_at(self, theta):
        """The network with the weights of a vector."""
        return self.network.with_weights(
            [weight.clone() for weight in self.network.unpacked(theta.detach())]
        )

    def on_data(self, data):
        """Objective of the same network, loss and penalties for other data."""
        return Objective(self.network, self._mean_loss.loss, self._penalties, data)

    def with_penalties(self, penalties):
        """Objective with other penalties."""
        changed = copy(self)
        changed._set_penalties(penalties)
        return changed

    def without_gauge_constraints(self):
        """Objective whose quadratic models let hidden nodes move freely."""
        changed = copy(self)
        changed._has_gauge_constraints = False
        return changed

    def with_network(self, network):
        """Objective of another network for the same data and penalties.

        Basis values of the first layer are kept where its basis is the same.
        """
        changed = copy(self)
        changed._mean_loss = self._mean_loss.with_network(network)
        changed._set_network(network)
        changed._set_penalties(self._penalties)
        return changed

    @torch.no_grad()
    def value(self, theta, rows=None):
        """Objective over all rows or a batch, float; see `value_and_grad`."""
        if self._depends_on_rows:
            parts = self._mean_loss.with_penalties(theta, self._penalties, rows)
            return float(sum(parts))
        return self._mean_loss.value(theta, rows) + self.penalty(theta)

    @torch.no_grad()
    def penalty(self, theta):
        """Penalties over all rows, float."""
        if self._depends_on_rows:
            return float(self._mean_loss.with_penalties(theta, self._penalties)[1])
        return sum(form.value_and_grad(theta)[0] for form in self._forms)

    def raw(self, theta):
        """Raw output, baseline included, Tensor of shape (n_samples, n_outputs)."""
        return self._mean_loss.raw(theta)

    def loss_of(self, raw):
        """Mean loss of a raw output of all rows, without penalties, float."""
        return self._mean_loss.of_raw(raw)

    def value_and_grad(self, theta, rows=None):
        """Objective and gradient.

        Parameters
        ----------
        theta : Tensor of shape (n_parameters,)
        rows : Tensor of int, default=None
            Rows of a batch; None takes all. The loss of a batch is scaled such that
            its mean over batches of equal size is the loss of all rows.

        Returns
        -------
        value : float
        gradient : Tensor of shape (n_parameters,)
        """
        if not self._depends_on_rows:
            return self._value_and_analytic_grad(theta, rows)
        with torch.enable_grad():  # whatever the caller's mode is
            theta = theta.detach().requires_grad_()
            value = sum(self._mean_loss.with_penalties(theta, self._penalties, rows))
            (gradient,) = torch.autograd.grad(value, theta)
        return float(value.detach()), gradient

    @torch.no_grad()
    def _value_and_analytic_grad(self, theta, rows):
        """Objective and gradient without autograd, for quadratic penalties alone."""
        value, gradient = self._mean_loss.value_and_grad(theta, rows)
        gradient *= self._weight_mask
        for form in self._forms:
            penalty, slope = form.value_and_grad(theta)
            value += penalty
            gradient += slope
        return value, gradient

    def whitening(self, theta):
        """Map from whitened weights, in which the objective is nearly round at a point.

        Penalties that depend on rows are left out.

        Returns
        -------
        Whitening
        """
        rows = self._mean_loss.sample(n_sample_rows(self.network))
        return whitening(self.network, self._mean_loss.loss, theta, rows, self._forms)

    def promised_decrease(self, theta):
        """Relative decrease that steps in the weights of each edge by itself promise.

        Half the squared gradient in whitened weights, over the value: it depends on no
        scale. Zero where penalties depend on rows: these have kinks, at which the
        gradient says nothing.
        """
        if self._depends_on_rows:
            return 0.0
        value, gradient = self.value_and_grad(theta)
        whitened = self.whitening(theta).gradient(gradient)
        decrease = 0.5 * float(whitened.square().sum())
        return decrease / max(abs(value), ROUNDING_LEFT)

    def gauss_newton(self, theta):
        """Quadratic model of the objective around a point.

        The curvature is the generalised Gauss-Newton matrix: the loss is expanded to
        second order in the raw output, the raw output to first order in the weights.

        Returns
        -------
        QuadraticModel
        """
        model = self.gauss_newton_of_loss(theta)
        if not self._has_gauge_constraints:
            model = model.without_gauge_constraints()
        gradient, curvature = model.gradient, model.curvature.clone()
        value = model.value
        for form in self._forms:
            penalty, slope = form.value_and_grad(theta)
            value, gradient = value + penalty, gradient + slope
            form.add_to(curvature)
        return QuadraticModel(value, gradient, curvature, model.gauge_constraints)

    @torch.no_grad()
    def gauss_newton_of_loss(self, theta):
        """Quadratic model of the loss alone; the last one is kept."""
        known = self._last_model.get("theta")
        if known is None or not torch.equal(known, theta):
            self._last_model["model"] = self._mean_loss.quadratic_model(theta)
            self._last_model["theta"] = theta.clone()
        return self._last_model["model"]
