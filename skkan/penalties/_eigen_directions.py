"""Directions along which penalties are diagonal, and where the weights of edges lie.

The edges of a network are of one kind, unless some inputs are categories or have a
value for "missing": `EdgeKinds` then says, for each kind, which positions its edges
have in the vector of all weights.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch


class PenaltySpectrum(NamedTuple):
    """Orthogonal directions along which all parts of the penalty are diagonal."""

    vectors: torch.Tensor  # (n_functions, n_functions), one direction a column
    parts: torch.Tensor  # (3, n_functions), size, curvature, change of curvature


def _spectrum_of_splines(grid_size, spline_order):
    """Eigenvalues and -vectors of the parts of the penalty on spline coefficients.

    - Size is the mean of the squared coefficients.
    - Change of curvature is the mean of the squared third differences of the
      coefficients in units of the interval, divided by (2 pi)^2. One period of a sine
      across the grid has (2 pi)^4 / 2. Parabolas are free.
    - Curvature is the mean of the squared second differences in units of the interval,
      which approximates the mean of the squared second derivative over a grid of length
      1. Only its diagonal along the directions is kept, so that the parts commute; one
      period of a sine then has 1.5 times (2 pi)^4 / 2. Straight lines are free.

    The directions are polynomials up to the parabola, then the eigenvectors of the
    third differences. As the parts are means, a penalty weight means the same at every
    grid size. They span twelve orders of magnitude on a grid of 100 intervals. Along
    the directions no smooth curve is charged for the rounding of a rough one.

    Returns
    -------
    PenaltySpectrum

    References
    ----------
    P. Eilers and B. Marx, Flexible Smoothing with B-splines and Penalties, 1996.
    """
    n_splines = grid_size + spline_order
    curvature, change = (_differences(n_splines, grid_size, order) for order in (2, 3))
    n_free = min(3, n_splines)
    position = torch.linspace(-1, 1, n_splines, dtype=torch.float64)
    polynomials = position.unsqueeze(1) ** torch.arange(n_free)
    vectors = torch.linalg.qr(polynomials, mode="complete").Q
    rest = vectors[:, n_free:]
    values, within = torch.linalg.eigh(rest.T @ change @ rest)
    vectors = torch.cat([vectors[:, :n_free], rest @ within], dim=1)
    values = torch.cat([values.new_zeros(n_free), values])
    along = torch.einsum("fa,fg,ga->a", vectors, curvature, vectors)
    along[:2] = 0.0
    size, change = torch.full_like(along, 1 / n_splines), values.clamp(min=0.0)
    parts = torch.stack([size, along.clamp(min=0.0), change / (2 * math.pi) ** 2])
    return PenaltySpectrum(vectors, parts)


def _differences(n_splines, grid_size, order):
    """Mean of the squared differences of some order, as a matrix."""
    differences = torch.eye(n_splines, dtype=torch.float64)
    if order >= n_splines:  # there are none
        return 0 * differences
    differences = differences.diff(n=order, dim=0)
    return grid_size ** (2 * order) * differences.T @ differences / len(differences)


@lru_cache
def penalty_spectrum(kind):
    """Eigenvalues and -vectors of the parts of the penalty of an edge.

    The base weight, the deviation at "missing" and the values of categories have size
    alone, the sum of their squares. Rare categories are thus shrunk.

    Parameters
    ----------
    kind : PenaltyKind

    Returns
    -------
    PenaltySpectrum
    """
    n_others = kind.n_categories + kind.has_base + kind.has_missing
    others = torch.eye(n_others, dtype=torch.float64)
    parts_of_others = torch.zeros(3, n_others, dtype=torch.float64)
    parts_of_others[0] = 1.0
    if kind.n_categories:
        return PenaltySpectrum(others, parts_of_others)
    vectors, parts = _spectrum_of_splines(kind.grid_size, kind.spline_order)
    parts = torch.cat([parts, parts_of_others], dim=1)
    return PenaltySpectrum(torch.block_diag(vectors, others), parts)


class EdgeKind(NamedTuple):
    """Edges that have the same functions."""

    vectors: torch.Tensor  # (n_functions, n_functions), one direction a column
    parts: torch.Tensor  # (3, n_functions), see `penalty_spectrum`
    edges: torch.Tensor  # (n_edges,), positions among all edges
    members: torch.Tensor  # (n_edges, n_functions), positions of their weights


class EdgeKinds(NamedTuple):
    """The kinds of edges of some layers, with maps from and to their directions."""

    kinds: list  # of EdgeKind
    numbers: torch.Tensor  # (n_edges,), position of the kind of each edge
    sizes: torch.Tensor  # (n_edges,), number of weights of each edge

    @classmethod
    def of(cls, layers, *, one_output=False):
        """Kinds of the edges of layers whose weights stand in one vector, in order.

        With `one_output`, it is the vector of the weights that enter one output.
        """
        counts = [1 if one_output else len(layer.mask) for layer in layers]
        kinds = [layer.basis.penalty_kinds for layer in layers]
        mask = layers[0].mask
        return cls._of(tuple(kinds), tuple(counts), mask.dtype, mask.device)

    @classmethod
    @lru_cache(maxsize=8)  # one training asks for the same ones again and again
    def _of(cls, kinds_of_layers, counts, dtype, device):
        """Kinds by those of the inputs and the number of outputs of each layer."""
        numbers, position = [], {}
        for kinds, count in zip(kinds_of_layers, counts, strict=True):
            own = [position.setdefault(kind, len(position)) for kind in kinds]
            numbers += own * count
        spectra = [penalty_spectrum(kind) for kind in position]
        numbers = torch.tensor(numbers)
        sizes = torch.tensor([len(vectors) for vectors, _ in spectra])[numbers]
        found = cls([], numbers, sizes)
        for number, (vectors, parts) in enumerate(spectra):
            edges = (numbers == number).nonzero().flatten()
            members = found._members(edges, len(vectors))
            kind = vectors.to(dtype), parts.to(dtype), edges, members
            found.kinds.append(EdgeKind(*(each.to(device) for each in kind)))
        return found

    def _members(self, edges, size):
        """Positions of the weights of edges of one size, in a further dimension."""
        starts = self.sizes.cumsum(0) - self.sizes
        return starts[edges].unsqueeze(-1) + torch.arange(size)

    @property
    def is_uniform(self):
        """Whether all edges have the same functions."""
        return len(self.kinds) == 1

    def along(self, weights):
        """Weights, or what has their shape in its last dimension, along directions."""
        return self._turned(weights, [kind.vectors for kind in self.kinds])

    def back(self, weights):
        """The inverse of `along`."""
        return self._turned(weights, [kind.vectors.T for kind in self.kinds])

    def _turned(self, weights, turns):
        if self.is_uniform:
            n_functions = len(turns[0])
            return (weights.reshape(-1, n_functions) @ turns[0]).view(weights.shape)
        turned = torch.empty_like(weights)
        for kind, turn in zip(self.kinds, turns, strict=True):
            own = weights[..., kind.members.flatten()]
            own = (own.reshape(-1, len(turn)) @ turn).view(own.shape)
            turned[..., kind.members.flatten()] = own
        return turned

    def spread(self, alpha):
        """Penalty weights or precisions, (n_edges, 3), along the directions.

        Returns
        -------
        Tensor of shape (n_parameters,)
        """
        if self.is_uniform:
            return (alpha @ self.kinds[0].parts).flatten()
        values = alpha.new_empty(int(self.sizes.sum()))
        for kind in self.kinds:
            values[kind.members] = alpha[kind.edges] @ kind.parts
        return values

    def collected(self, values):
        """Sums over the directions of each edge, times the parts, (n_edges, 3)."""
        if self.is_uniform:
            parts = self.kinds[0].parts
            return values.view(-1, parts.shape[1]) @ parts.T
        sums = values.new_empty(len(self.sizes), 3)
        for kind in self.kinds:
            sums[kind.edges] = values[kind.members] @ kind.parts.T
        return sums

    def in_use(self, alpha):
        """Weights or precisions, (n_edges, 3), without parts that an edge lacks."""
        if self.is_uniform:
            return alpha
        used = alpha.clone()
        for kind in self.kinds:
            used[kind.edges] *= kind.parts.any(1)
        return used

    def of_edges(self, values):
        """A value of each edge at each of its weights, (n_parameters,)."""
        return values.repeat_interleave(self.sizes.to(values.device))

    def groups(self, groups):
        """Groups of edges, (n_groups, n_members), by kind.

        All edges of a group are of one kind.

        Yields
        ------
        chosen : Tensor of int
            Positions of the groups of a kind.
        members : Tensor of shape (n_chosen, n_weights)
            Positions of the weights of each of them.
        """
        for number, kind in enumerate(self.kinds):
            chosen = (self.numbers[groups[:, 0]] == number).nonzero().flatten()
            if len(chosen):
                members = self._members(groups[chosen], len(kind.vectors))
                yield chosen, members.flatten(1).to(kind.members.device)
