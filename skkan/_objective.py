"""What a solver minimises: network, loss, penalties and data as a function of a vector.

A solver sees this function and nothing else.
"""

from copy import copy

import torch

from skkan._backward import ForwardPass
from skkan._normal_equations import (
    QuadraticModel,
    Rows,
    normal_equations,
)
from skkan._threads import side_by_side

# Basis values of the first layer are kept up to this many numbers (200 MB), since the
# inputs never change within a fit.
LARGEST_CACHE = 25_000_000
MANY_ROWS = 50_000  # from which it pays to evaluate blocks of them side by side
PASS_ARRAYS = 16  # numbers that a pass holds for each node and row


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
        share = sample_weight / sample_weight.sum()
        features = None
        if len(X) * network.weights[0][0].numel() <= LARGEST_CACHE:
            with torch.no_grad():
                features = network.layers[0].basis(network.inputs(X))
        self._loss = loss
        self._anchored = True
        self._rows = Rows(X, target, share, baseline, features)
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
        self._pass_width = PASS_ARRAYS * max(network.widths[1:])
        self._expansion = {}  # the last quadratic model of the loss, and its point

    @property
    def n_rows(self):
        return len(self._rows.X)

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
        return Objective(
            self._network,
            self._loss,
            self._penalties,
            X,
            target,
            sample_weight,
            self._rows.baseline,
        )

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
        return self.loss_of(self.raw(theta)) + self.penalty(theta)

    @torch.no_grad()
    def penalty(self, theta):
        """The penalties' part of `value`, float."""
        if any(penalty.depends_on_rows for penalty in self._penalties):
            return float(self._evaluate(theta, None)[1])
        return float(sum(form.value(theta) for form in self._forms))

    @torch.no_grad()
    def raw(self, theta):
        """Raw output, baseline included, Tensor of shape (n_samples, n_outputs)."""
        weights = self._network.unpacked(theta)

        def output_of(block):
            return ForwardPass(
                self._network, weights, block.X, block.features, with_gradient=False
            ).output

        blocks = self._rows.blocks(self._pass_width)
        work = map if self.n_rows <= MANY_ROWS else side_by_side
        outputs = list(work(output_of, blocks))
        return self._rows.baseline + torch.cat(outputs)

    def loss_of(self, raw):
        """Mean loss of a raw output of all rows, without penalties, float."""
        return float(self._rows.share @ self._loss.value(raw, self._rows.target))

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
        weights = self._network.unpacked(theta)
        gradient, value = torch.zeros_like(theta), 0.0
        for block in self._batch(rows).blocks(self._pass_width):
            run = ForwardPass(self._network, weights, block.X, block.features)
            raw = block.baseline + run.output
            slope = block.share.unsqueeze(1) * self._loss.gradient(raw, block.target)
            gradient += run.gradient(slope)
            value += float(block.share @ self._loss.value(raw, block.target))
        gradient.mul_(self._free)
        for form in self._forms:
            value += float(form.value(theta))
            gradient += form.gradient(theta)
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
            self._expansion["model"] = normal_equations(
                self._network,
                self._loss,
                self._network.unpacked(theta),
                self._rows,
            )
            self._expansion["theta"] = theta.clone()
        return self._expansion["model"]

    def _evaluate(self, theta, rows):
        X, target, share, baseline, features = self._batch(rows)
        weights = self._network.unpacked(theta)
        output, passes = self._network.propagate(X, weights, features)
        loss = share @ self._loss.value(baseline + output, target)
        share = share / share.sum()
        penalty = sum(part.value(passes, share) for part in self._penalties)
        return loss, penalty if self._penalties else loss.new_zeros(())

    def _batch(self, rows):
        """Some of the rows (None: all), whose shares make up for the others."""
        if rows is None:
            return self._rows
        X, target, share, baseline, features = self._rows
        features = None if features is None else features[rows]
        share = share[rows] * (self.n_rows / len(rows))
        return Rows(X[rows], target[rows], share, baseline, features)
