"""What a solver minimises: network, loss, penalties and data as a function of a vector.

A solver sees this function and nothing else.
"""

from copy import copy

import torch

from skkan.data._dask_dataset import DaskDataset
from skkan.objective._dask_empirical_loss import DaskEmpiricalLoss
from skkan.objective._empirical_loss import EmpiricalLoss
from skkan.objective._gauss_newton import QuadraticModel


class Objective:
    """sum(w l) / sum(w) + penalties, as a function of the flattened weights.

    Parameters
    ----------
    network : KANNetwork
        Gives the bases, masks and the starting point.
    loss : Loss
    penalties : sequence of Penalty
    X : Tensor of shape (n_samples, n_features)
    target : Tensor of shape (n_samples, n_outputs)
    sample_weight : Tensor of shape (n_samples,)
        Positive weights.
    baseline : Tensor of shape (n_outputs,)
        Raw output to which the network adds.
    """

    def __init__(self, network, loss, penalties, X, target, sample_weight, baseline):
        rows = (X, target, sample_weight, baseline)
        self._set_up(network, penalties, EmpiricalLoss.of_samples(network, loss, *rows))

    @classmethod
    def of_loss(cls, network, penalties, loss_of_rows):
        """The objective of rows that are perhaps elsewhere.

        Parameters
        ----------
        network : KANNetwork
        penalties : sequence of Penalty
        loss_of_rows : EmpiricalLoss
            Or what has the same methods, as far as the penalties need them.
        """
        objective = cls.__new__(cls)
        objective._set_up(network, penalties, loss_of_rows)
        return objective

    def _set_up(self, network, penalties, rows):
        self._rows = rows
        self._anchored = True
        self._set_network(network)
        self._set_penalties(penalties)

    def _set_penalties(self, penalties):
        self._penalties = penalties
        self._forms = [
            penalty.form(self._network.all_layers)
            for penalty in penalties
            if not penalty.depends_on_rows
        ]

    def _set_network(self, network):
        self._network = network
        self._free = network.weight_mask
        self._expansion = {}  # the last quadratic model of the loss, and its point

    @property
    def n_rows(self):
        return self._rows.n_rows

    @property
    def grid_size(self):
        return self._network.grid_size

    @property
    def n_parameters(self):
        return self._network.n_parameters

    @property
    def start(self):
        """The network's present weights as one vector."""
        return self._network.theta

    @property
    def start_network(self):
        """The network with its present weights."""
        return self._network

    def covers(self, network):
        """Whether a network differs from the objective's in nothing but weights."""
        pairs = zip(network.all_layers, self._network.all_layers, strict=True)
        return all(one.basis is other.basis for one, other in pairs)

    def network_at(self, theta):
        """The network with the weights of a vector."""
        return self._network.with_weights(
            [weight.clone() for weight in self._network.unpacked(theta.detach())]
        )

    def on_rows(self, X, target, sample_weight):
        """The same function of other rows."""
        other = self._rows.on_rows(self._network, X, target, sample_weight)
        return Objective.of_loss(self._network, self._penalties, other)

    def with_penalties(self, penalties):
        """The same function with other penalties."""
        changed = copy(self)
        changed._set_penalties(penalties)
        return changed

    def without_anchors(self):
        """The same function, whose steps may move hidden nodes freely."""
        changed = copy(self)
        changed._anchored = False
        return changed

    def with_network(self, network):
        """The same rows and penalties, but a network whose hidden layers differ."""
        changed = copy(self)
        changed._set_network(network)
        changed._set_penalties(self._penalties)
        return changed

    @torch.no_grad()
    def value(self, theta):
        """Objective over all rows, float."""
        if any(penalty.depends_on_rows for penalty in self._penalties):
            return float(sum(self._evaluate(theta, None)))
        return self._rows.value(self._network, theta) + self.penalty(theta)

    @torch.no_grad()
    def penalty(self, theta):
        """The penalties' part of `value`, float."""
        if any(penalty.depends_on_rows for penalty in self._penalties):
            return float(self._evaluate(theta, None)[1])
        return float(sum(form.value(theta) for form in self._forms))

    def raw(self, theta):
        """Raw output, baseline included, Tensor of shape (n_samples, n_outputs)."""
        return self._rows.raw(self._network, theta)

    def loss_of(self, raw):
        """Mean loss of a raw output of all rows, without penalties, float."""
        return self._rows.of_raw(raw)

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
        if not any(penalty.depends_on_rows for penalty in self._penalties):
            return self._value_and_analytic_grad(theta, rows)
        with torch.enable_grad():  # whatever the caller's mode is
            theta = theta.detach().requires_grad_()
            value = sum(self._evaluate(theta, rows))
            (gradient,) = torch.autograd.grad(value, theta)
        return float(value.detach()), gradient

    @torch.no_grad()
    def _value_and_analytic_grad(self, theta, rows):
        """The same without a graph, where all penalties are quadratic forms."""
        value, gradient = self._rows.value_and_grad(self._network, theta, rows)
        gradient *= self._free
        for form in self._forms:
            of_form, slope = form.value_and_grad(theta)
            value += float(of_form)
            gradient += slope
        return value, gradient

    def gauss_newton(self, theta):
        """Quadratic model of the objective around a point.

        The curvature is the generalised Gauss-Newton matrix: the loss is expanded to
        second order in the raw output, the raw output to first order in the weights.

        Returns
        -------
        QuadraticModel
        """
        model = self.gauss_newton_of_loss(theta)
        if not self._anchored:
            model = model.without_anchors()
        gradient, curvature = model.gradient, model.curvature.clone()
        value = model.value
        for form in self._forms:
            value += float(form.value(theta))
            gradient = gradient + form.gradient(theta)
            form.add_to(curvature)
        return QuadraticModel(value, gradient, curvature, model.anchors)

    @torch.no_grad()
    def gauss_newton_of_loss(self, theta):
        """The same without penalties; the last one computed is kept."""
        known = self._expansion.get("theta")
        if known is None or not torch.equal(known, theta):
            self._expansion["model"] = self._rows.quadratic_model(self._network, theta)
            self._expansion["theta"] = theta.clone()
        return self._expansion["model"]

    def _evaluate(self, theta, rows):
        return self._rows.with_penalties(self._network, theta, self._penalties, rows)


def make_objective(network, data, plan):
    """What a solver minimises to fit a network to the data.

    Parameters
    ----------
    network : KANNetwork
    data : Dataset or DaskDataset
    plan : FitPlan

    Returns
    -------
    Objective
    """
    if isinstance(data, DaskDataset):
        rows = DaskEmpiricalLoss.of_samples(network, plan.loss, data)
    else:
        rows = EmpiricalLoss.of_samples(
            network,
            plan.loss,
            data.X,
            data.target,
            data.sample_weight,
            data.baseline,
        )
    return Objective.of_loss(network, plan.penalties, rows)
