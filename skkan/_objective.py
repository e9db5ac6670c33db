"""What a solver minimises: network, loss, penalties and data as a function of a vector.

A solver sees this function and nothing else.
"""

from copy import copy
from functools import cached_property, partial

import torch

from skkan import _rows
from skkan._backward import PassThrough
from skkan._normal_equations import (
    QuadraticModel,
    Rows,
    model_of,
    normal_equations,
    sums_over,
)
from skkan._threads import added_side_by_side, side_by_side

# Basis values of the first layer are kept up to this many numbers (200 MB), since the
# inputs never change within a fit.
LARGEST_CACHE = 25_000_000
MANY_ROWS = 50_000  # from which it pays to evaluate blocks of them side by side
FEATURE_ROWS = 2**14  # of which basis values are made at a time, where rows are many
PASS_ARRAYS = 16  # numbers that a pass holds for each node and row


class LossOfRows:
    """Mean loss of rows in memory, as a function of the flattened weights.

    Parameters
    ----------
    loss : Loss
    rows : Rows
    """

    def __init__(self, loss, rows):
        self._loss, self._rows = loss, rows
        self._last_runs = {}  # by whether they have gradients

    @classmethod
    def of_samples(cls, network, loss, X, target, sample_weight, baseline):
        """The loss of some samples; the other arguments are those of `Objective`."""
        share = sample_weight / sample_weight.sum()
        features = None
        if len(X) * network.weights[0][0].numel() <= LARGEST_CACHE:
            features = _features(network, X)
        return cls(loss, Rows(X, target, share, baseline, features))

    def on_rows(self, network, X, target, sample_weight):
        """The same loss of other rows."""
        return LossOfRows.of_samples(
            network, self._loss, X, target, sample_weight, self._rows.baseline
        )

    @property
    def features(self):
        """Basis values of the first layer, where they are kept."""
        return self._rows.features

    @property
    def n_rows(self):
        return len(self._rows.X)

    @cached_property
    def _pieces(self):
        """The same of few rows each, whose sum this is; an empty list for few rows."""
        if self.n_rows <= _rows.MOST_ROWS:
            return []
        return [
            LossOfRows(self._loss, self._rows.part(rows))
            for rows in _rows.pieces(self.n_rows)
        ]

    @torch.no_grad()
    def raw(self, network, theta):
        """Raw output, baseline included, Tensor of shape (n_samples, n_outputs)."""
        if self._pieces:
            work = partial(LossOfRows.raw, network=network, theta=theta)
            return torch.cat(side_by_side(work, self._pieces))

        def output_of(block):
            return self._pass_through(network, block, with_gradient=False).output(theta)

        blocks = self._rows.blocks(_width_of_pass(network))
        work = map if self.n_rows <= MANY_ROWS else side_by_side
        return self._rows.baseline + torch.cat(list(work(output_of, blocks)))

    def of_raw(self, raw):
        """Loss of a raw output of all rows, float."""
        return float(self._rows.share @ self._loss.value(raw, self._rows.target))

    def value(self, network, theta):
        """Loss of the output of a network, float."""
        if self._pieces:
            work = partial(LossOfRows.value, network=network, theta=theta)
            return added_side_by_side(work, self._pieces)
        return self.of_raw(self.raw(network, theta))

    @torch.no_grad()
    def value_and_grad(self, network, theta, rows=None):
        """Loss, float, and its gradient, removed edges included; see `Objective`."""
        if self._pieces and rows is None:
            work = partial(LossOfRows.packed, network=network, theta=theta)
            return unpacked(added_side_by_side(work, self._pieces))
        gradient, value = 0.0, 0.0
        for block in self._batch(rows).blocks(_width_of_pass(network)):
            run = self._pass_through(network, block)
            raw = block.baseline + run.output(theta)
            slope = block.share.unsqueeze(1) * self._loss.gradient(raw, block.target)
            gradient = gradient + run.gradient(slope)
            value += float(block.share @ self._loss.value(raw, block.target))
        return value, gradient

    def _pass_through(self, network, block, *, with_gradient=True):
        """The pass of a network through some rows; that through all is kept."""
        make = partial(
            PassThrough, network, block.X, block.features, with_gradient=with_gradient
        )
        if block is not self._rows:
            return make()
        last_network, run = self._last_runs.get(with_gradient, (None, None))
        if last_network is not network:
            run = make()
            self._last_runs[with_gradient] = network, run
        return run

    def packed(self, network, theta):
        """Loss and gradient in one Tensor; see `unpacked`."""
        value, gradient = self.value_and_grad(network, theta)
        return torch.cat([gradient.new_tensor([value]), gradient])

    def quadratic_model(self, network, theta):
        """Loss, gradient and curvature, QuadraticModel."""
        if self._pieces:
            work = partial(LossOfRows.sums, network=network, theta=theta)
            sums = added_side_by_side(work, self._pieces)
            return model_of(network, self._loss, sums)
        return normal_equations(
            network, self._loss, network.unpacked(theta), self._rows
        )

    def sums(self, network, theta):
        """What these rows, as some of many, add to the quadratic model of all, Sums."""
        weights = network.unpacked(theta)
        return sums_over(network, self._loss, weights, self._rows)

    def with_penalties(self, network, theta, penalties, rows):
        """Loss and penalties that depend on rows, two Tensors with a graph."""
        X, target, share, baseline, features = self._batch(rows)
        output, passes = network.propagate(X, network.unpacked(theta), features)
        loss = share @ self._loss.value(baseline + output, target)
        share = share / share.sum()
        penalty = sum(part.value(passes, share) for part in penalties)
        return loss, penalty if penalties else loss.new_zeros(())

    def _batch(self, rows):
        """Some of the rows (None: all), whose shares make up for the others."""
        if rows is None:
            return self._rows
        X, target, share, baseline, features = self._rows
        features = None if features is None else features[rows]
        share = share[rows] * (self.n_rows / len(rows))
        return Rows(X[rows], target[rows], share, baseline, features)


@torch.no_grad()
def _features(network, X):
    """Basis values of the first layer, made block by block to spare memory."""
    basis, inputs = network.layers[0].basis, network.inputs(X)
    if len(inputs) <= MANY_ROWS:
        return basis(inputs)
    parts = inputs.split(FEATURE_ROWS)
    features = inputs.new_empty(len(inputs), *network.weights[0].shape[1:])
    for part, room in zip(parts, features.split(FEATURE_ROWS), strict=True):
        room.copy_(basis(part))
    return features


def unpacked(packed):
    """Loss, float, and gradient."""
    return float(packed[0]), packed[1:].clone()


def _width_of_pass(network):
    """Numbers that a pass holds for each row."""
    return PASS_ARRAYS * max(network.widths[1:])


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
        self._set_up(network, penalties, LossOfRows.of_samples(network, loss, *rows))

    @classmethod
    def of_loss(cls, network, penalties, loss_of_rows):
        """The objective of rows that are perhaps elsewhere.

        Parameters
        ----------
        network : KANNetwork
        penalties : sequence of Penalty
        loss_of_rows : LossOfRows
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
