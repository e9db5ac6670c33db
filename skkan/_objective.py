"""What a solver minimises: network, loss, penalties and data as a function of a vector.

A solver sees this function and nothing else.
"""

import torch

# Basis values of the first layer are kept up to this many numbers (400 MB), since the
# inputs never change within a fit.
LARGEST_CACHE = 50_000_000


class Objective:
    """sum(w l) / sum(w) + penalties, as a function of the flattened weights.

    Parameters
    ----------
    network : KANNetwork
        Gives the bases, masks and the starting point.
    loss : Loss
    penalties : sequence of Penalty
    X : Tensor of shape (n_samples, n_inputs)
    target : Tensor of shape (n_samples, n_outputs)
    sample_weight : Tensor of shape (n_samples,)
        Positive weights.
    baseline : Tensor of shape (n_outputs,)
        Raw output to which the network adds.
    """

    def __init__(self, network, loss, penalties, X, target, sample_weight, baseline):
        self._network = network
        self._loss = loss
        self._penalties = penalties
        self._X = X
        self._target = target
        self._share = sample_weight / sample_weight.sum()
        self._baseline = baseline
        self._shapes = [weight.shape for weight in network.weights]
        self._sizes = [shape.numel() for shape in self._shapes]
        self._features = None
        if len(X) * network.weights[0][0].numel() <= LARGEST_CACHE:
            with torch.no_grad():
                self._features = network.layers[0].basis(X)

    @property
    def n_rows(self):
        return len(self._X)

    @property
    def grid_size(self):
        return self._network.grid_size

    @property
    def n_parameters(self):
        return sum(self._sizes)

    @property
    def start(self):
        """The network's present weights as one vector."""
        return torch.cat([weight.flatten() for weight in self._network.weights])

    def network_at(self, theta):
        """The network with the weights of a vector."""
        return self._network.with_weights(
            [weight.clone() for weight in self._unflatten(theta.detach())]
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
            self._baseline,
        )

    @torch.no_grad()
    def value(self, theta):
        """Objective over all rows, float."""
        return float(sum(self._evaluate(theta, None)))

    @torch.no_grad()
    def penalty(self, theta):
        """The penalties' part of `value`, float."""
        return float(self._evaluate(theta, None)[1])

    @torch.no_grad()
    def raw(self, theta):
        """Raw output, baseline included, Tensor of shape (n_samples, n_outputs)."""
        weights = self._unflatten(theta)
        output, _ = self._network.propagate(self._X, weights, self._features)
        return self._baseline + output

    def loss_of(self, raw):
        """Mean loss of a raw output of all rows, without penalties, float."""
        return float(self._share @ self._loss.value(raw, self._target))

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
        with torch.enable_grad():  # whatever the caller's mode is
            theta = theta.detach().requires_grad_()
            value = sum(self._evaluate(theta, rows))
            (gradient,) = torch.autograd.grad(value, theta)
        return float(value.detach()), gradient

    def _evaluate(self, theta, rows):
        X, target, share = self._X, self._target, self._share
        features, scale = self._features, 1.0
        if rows is not None:
            X, target, share = X[rows], target[rows], share[rows]
            features = None if features is None else features[rows]
            scale = self.n_rows / len(rows)
        output, passes = self._network.propagate(X, self._unflatten(theta), features)
        loss = scale * (share @ self._loss.value(self._baseline + output, target))
        share = share / share.sum()
        penalty = sum(part.value(passes, share) for part in self._penalties)
        return loss, penalty if self._penalties else loss.new_zeros(())

    def _unflatten(self, theta):
        parts = theta.split(self._sizes)
        return [part.view(s) for part, s in zip(parts, self._shapes, strict=True)]
