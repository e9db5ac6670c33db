"""One layer of a Kolmogorov-Arnold network: a curve on every edge, sums at the nodes.

Some nodes may be products of two sums. A `KANLayer` owns the coefficients and the mask
of its edges and shares the functions they multiply with its basis. It knows nothing of
other layers or of training.
"""

import numpy as np
import torch
from torch import nn

from skkan.basis._autograd import checked_samples
from skkan.basis._categories_and_missing import basis_from_arrays
from skkan.network._layer_evaluation import (
    has_evaluation,
    layer_evaluation,
    layer_output,
    supports,
)
from skkan.network._products import at_sums, by_sums, nodes_of
from skkan.numerics._floating_point import SMALLEST_DIVISOR

START_SPREAD = 0.1  # of the base weights around their mean
# Of the base weights into factors, which begin around one. Gradients of two factors
# near zero vanish, and products of two large ones may be far from any target: with 1,
# 8 steps towards counts ended at a D2 of -2.7 for .5. On (x0 - 1) x1 (1,000 rows, no
# noise, one product) such starts left 2e-9 of the variance; where both factors began
# with all inputs, 2e-8.
FACTOR_SHARE = 0.5
SMALLEST_VARIANCE = 1e-24  # below it, an edge is constant and its deviation is flat


class KANLayer(nn.Module):
    """Layer whose output o is sum_i phi_oi(x_i), phi_oi(x) = sum_f weight_oif B_f(x).

    In the papers' terms phi(x) = scale_base b(x) + scale_spline sum_m c_m B_m(x):
    the weight holds the products scale_spline c_m, then scale_base in its last column.
    With multiplications, the last of these sums are factors. Each two consecutive ones
    make one node, their product.

    Parameters
    ----------
    basis : Basis
        Functions of each input.
    weight : Tensor of shape (n_outputs, n_inputs, n_functions)
        Coefficients of every edge.
    mask : Tensor of shape (n_outputs, n_inputs), default=None
        1 for an edge that exists and 0 for one that is removed; None keeps all.
    n_multiplications : int, default=0
        Number of products, which take the last 2 * n_multiplications outputs.

    Attributes
    ----------
    n_weights : int
        Number of weights of one output that are in use.
    n_nodes : int
        Number of outputs, each two factors counted once.

    References
    ----------
    Z. Liu et al., KAN: Kolmogorov-Arnold Networks, 2024, equations 2.5 and 2.10; KAN
    2.0: Kolmogorov-Arnold Networks Meet Science, 2024, section 2.1 (multiplications).
    """

    __module__ = "skkan"

    def __init__(self, basis, weight, mask=None, n_multiplications=0):
        super().__init__()
        self.basis = basis
        self.weight = nn.Parameter(weight)
        if mask is None:
            mask = weight.new_ones(weight.shape[:2])
        self.register_buffer("mask", mask)
        unpacked, packing = weight.shape[1:].numel(), basis.packing
        self.n_weights = unpacked if packing is None else len(packing)
        self.n_multiplications = n_multiplications
        self.n_nodes = len(weight) - n_multiplications

    @classmethod
    def at_random(cls, basis, n_outputs, generator, n_multiplications=0):
        """Layer to start from: splines at zero, base weights near 1 / sqrt(n_inputs).

        Base weights of one sign keep the start away from the local minima in which
        most starts of random sign end. They are drawn on the CPU, so that a seed means
        the same on all devices. Categories, which have no order, begin with values
        drawn at random. Factors begin around one, each with half of the inputs, which
        are drawn, and little of the others.
        """
        knots = basis.knots
        weight = knots.new_zeros(n_outputs, basis.n_inputs, basis.n_functions)
        draw = torch.randn(
            n_outputs, basis.n_inputs, generator=generator, dtype=knots.dtype
        )
        base = (1 + START_SPREAD * draw.to(knots)) / basis.n_inputs**0.5
        is_number, base_column = basis.is_number, basis.splines.n_functions - 1
        if is_number.any():
            weight[:, is_number, base_column] = base[:, is_number]
        if not is_number.all():
            draw = torch.randn(weight.shape, generator=generator, dtype=knots.dtype)
            values = draw.to(knots) * basis.constant / basis.n_inputs**0.5
            weight[:, ~is_number] = values[:, ~is_number]
        layer = cls(basis, weight, n_multiplications=n_multiplications)
        if n_multiplications == 0:
            return layer
        factors = slice(n_outputs - 2 * n_multiplications, None)
        order = torch.rand(n_multiplications, basis.n_inputs, generator=generator)
        is_second = (order.argsort(1).argsort(1) % 2 == 1).to(knots.device)
        own = torch.stack([~is_second, is_second], dim=1).flatten(0, 1)
        weight[factors] *= FACTOR_SHARE * torch.where(own, 1.0, START_SPREAD)[..., None]
        shift = weight.new_zeros(n_outputs)
        shift[factors] = -1.0
        return layer.with_scaled_outputs(torch.ones_like(shift), shift)

    def like(self, basis=None, weight=None, mask=None):
        """Layer of the same kind with other parts; None takes this one's."""
        return KANLayer(
            self.basis if basis is None else basis,
            self.weight.detach() if weight is None else weight,
            self.mask if mask is None else mask,
            self.n_multiplications,
        )

    def packed(self, values):
        """Values of the functions in use, (..., n_inputs, n_functions) flattened."""
        flat, packing = values.flatten(-2), self.basis.packing
        return flat if packing is None else flat[..., packing]

    def unpacked(self, flat):
        """A weight from those of the functions in use, (n_outputs, n_weights)."""
        if self.basis.packing is None:
            return flat.view(self.weight.shape)
        weight = flat.new_zeros(len(flat), self.weight[0].numel())
        weight[:, self.basis.packing] = flat
        return weight.view(self.weight.shape)

    @property
    def spline_coef(self):
        """Spline coefficients, Tensor of shape (n_outputs, n_inputs, n_splines)."""
        return self.weight[..., : self.basis.n_splines]

    @property
    def base_weight(self):
        """Weights of the base function, Tensor of shape (n_outputs, n_inputs)."""
        return self.weight[..., self.basis.n_splines]

    def forward(self, x):
        """Node values.

        They are differentiable any number of times, with respect to `x` and to the
        weight, also by `torch.func` and in forward mode. Splines of degree k have
        piecewise constant derivatives of order k by `x`, and none of higher orders:
        the residual of an equation of second order needs k = 3 or more. `torch.export`
        records them.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_inputs)

        Returns
        -------
        Tensor of shape (n_samples, n_nodes)
        """
        return self.nodes_of(self.sums_at(x))

    def nodes_of(self, sums):
        """Nodes of the sums of the edges; see `network._products`."""
        return nodes_of(sums, self.n_multiplications)

    def at_sums(self, of_nodes):
        """A value of each node at each of its sums."""
        return at_sums(of_nodes, self.n_multiplications)

    def by_sums(self, slope, sums):
        """Derivative with respect to the sums, from that by the nodes."""
        return by_sums(slope, sums, self.n_multiplications)

    def sums_at(self, x):
        """Sums of the edges, of which factors are multiplied; see `forward`."""
        basis, weight = self.basis, self.weight
        if supports(basis, x, weight):
            output = layer_output(x, weight, self.mask, basis)
            if output is not None:
                return output
        checked_samples(x, basis.n_inputs)
        if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
            raise TypeError(
                f"x must have the dtype of the layer, {weight.dtype}, got {x.dtype}: "
                f"pass x.to({weight.dtype})."
            )
        return self.combine(basis(x), weight)

    def evaluation(self, n_rows, *, with_gradient):
        """Evaluation of the layer without a graph of torch.

        Parameters
        ----------
        n_rows : int
        with_gradient : bool
            Whether gradients will be requested.

        Returns
        -------
        DenseEvaluation or LookupEvaluation
            None where only the values of the basis serve.
        """
        if not has_evaluation(self.basis, self.weight):
            return None
        needed = with_gradient, with_gradient
        return layer_evaluation(self.basis, n_rows, len(self.weight), *needed)

    def masked(self, weight):
        """A weight of the layer's shape with removed edges at zero."""
        return weight * self.mask.unsqueeze(-1)

    def combine(self, features, weight):
        """Sums of the edges from basis values and a weight of one's own."""
        return features.flatten(1) @ self.masked(weight).flatten(1).T

    def activations(self, x):
        """Value of every edge, Tensor of shape (n_samples, n_outputs, n_inputs)."""
        weight = self.masked(self.weight)
        return torch.einsum("nif,oif->noi", self.basis(x), weight)

    def edge_std(self, features, weight, sample_share):
        """Standard deviation over the samples of every edge.

        It comes from the covariance of the basis functions, std_oi^2 = w_oi^T C_i w_oi,
        so that the values of the edges are never held.

        Parameters
        ----------
        features : Tensor of shape (n_samples, n_inputs, n_functions)
            Basis values.
        weight : Tensor of shape (n_outputs, n_inputs, n_functions)
        sample_share : Tensor of shape (n_samples,)
            Sample weights that sum to one.

        Returns
        -------
        Tensor of shape (n_outputs, n_inputs)
            Population deviations, as sample weights have no degrees of freedom.
        """
        centred = features - torch.einsum("n,nif->if", sample_share, features)
        covariance = torch.einsum(
            "nif,nig->ifg", centred * sample_share[:, None, None], centred
        )
        weight = self.masked(weight)
        variance = torch.einsum("oif,ifg,oig->oi", weight, covariance, weight)
        return variance.clamp(min=SMALLEST_VARIANCE).sqrt()

    def edge_mean(self, features, sample_share):
        """Mean over the samples of every edge, Tensor of shape (n_outputs, n_inputs).

        Parameters
        ----------
        features, sample_share
            As for `edge_std`.
        """
        mean = torch.einsum("n,nif->if", sample_share, features)
        return torch.einsum("if,oif->oi", mean, self.masked(self.weight.detach()))

    def without_edges(self, keep, mean, std):
        """Layer of fewer edges, to which the mean of the removed ones is handed on.

        The kept edges of a node take it in proportion to their variance, since flat
        ones may have a prior that allows them nothing. Splines sum to one everywhere.

        Parameters
        ----------
        keep : Tensor of bool of shape (n_outputs, n_inputs)
        mean : Tensor of shape (n_outputs,)
            What the kept edges of a node are to add; lost where there are none.
        std : Tensor of shape (n_outputs, n_inputs)
            Deviation of every edge; see `edge_std`.
        """
        mask = self.mask * keep
        weight = self.weight.detach() * mask.unsqueeze(-1)
        edges = self._edges_for_constants(mask)
        share = edges * (std / std.amax(1, keepdim=True)).square()
        share = share / share.sum(1, keepdim=True).clamp(min=SMALLEST_DIVISOR)
        self._add_constant(weight, share * mean.unsqueeze(1))
        return self.like(weight=weight, mask=mask)

    def _edges_for_constants(self, mask):
        """The edges of a mask that take constants over from others.

        Categories take them only where there are no others, since they are unknown to
        those that come later.
        """
        numbers = mask * self.basis.is_number
        return torch.where(numbers.any(1, keepdim=True), numbers, mask)

    def _add_constant(self, weight, level):
        """Add a constant to the curve of each edge, in place."""
        weight += level.unsqueeze(2) * self.basis.constant

    def between(self, sources, targets, basis=None, n_multiplications=0):
        """The part of the layer between some of its inputs and some of its outputs.

        Parameters
        ----------
        sources, targets : Tensor of int
            Positions of inputs and outputs.
        basis : Basis, default=None
            Of these inputs, where another layer shares it.
        n_multiplications : int, default=0
            Number of products of the last of these outputs.
        """
        if basis is None:
            basis = self.basis.of_inputs(sources)
        weight = self.weight.detach()[targets][:, sources, : basis.n_functions]
        mask = self.mask[targets][:, sources]
        return KANLayer(basis, weight, mask, n_multiplications)

    def with_weight(self, weight):
        """Layer with another weight."""
        return self.like(weight=weight)

    def with_scaled_outputs(self, scale, shift):
        """Layer whose sums are (sum - shift) / scale of this one's.

        The shift is shared out over the edges of a sum; splines sum to one everywhere.

        Parameters
        ----------
        scale, shift : Tensor of shape (n_outputs,)
        """
        weight = self.weight.detach() / scale.view(-1, 1, 1)
        edges = self._edges_for_constants(self.mask)
        share = edges / edges.sum(1, keepdim=True).clamp(min=1)
        self._add_constant(weight, -share * (shift / scale).unsqueeze(1))
        return self.like(weight=weight)

    def with_basis(self, basis, *, scale=1.0, shift=0.0):
        """Layer of the same curves on another basis, as far as it can represent them.

        Parameters
        ----------
        basis : Basis
        scale, shift : float or Tensor of shape (n_inputs,), default=1.0, 0.0
            An input x of the new layer is the input scale x + shift of this one.
        """
        transfer = self.basis.transfer_matrix(basis, scale=scale, shift=shift)
        weight = torch.einsum("igf,oif->oig", transfer, self.weight.detach())
        return self.like(basis, weight)

    def to_arrays(self):
        """Numpy arrays and plain values from which `from_arrays` rebuilds the layer."""
        return self.basis.to_arrays() | {
            "weight": self.weight.detach().cpu().numpy().copy(),
            "mask": self.mask.cpu().numpy().copy(),
            "n_multiplications": self.n_multiplications,
        }

    @classmethod
    def from_arrays(cls, arrays, device="cpu"):
        """Layer from the dict that `to_arrays` made, on a device."""

        def tensor(name):
            return torch.tensor(np.asarray(arrays[name]), device=device)

        basis = basis_from_arrays(arrays, device)
        # Files of before know no products.
        n_multiplications = arrays.get("n_multiplications", 0)
        return cls(basis, tensor("weight"), tensor("mask"), n_multiplications)
