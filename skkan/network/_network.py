"""A Kolmogorov-Arnold network: a stack of layers and, optionally, an additive skip.

What it computes is in `network._composition`; here it is made, stored and changed.
Changing a network returns a new one: on other grids, with other nodes, or with fewer
edges.
"""

from itertools import pairwise

import torch

from skkan.basis._bspline import BSplineBasis
from skkan.basis._categories_and_missing import MixedBasis
from skkan.basis._grids import grid_from_samples
from skkan.network._composition import Composition, node_std
from skkan.network._layer import KANLayer

LEFT = 1 / 3  # of the margin of a grid, before its node has outgrown it
# Shares of the width of a grid that a node must fill, and that one fills which does not
# vary.
SHRUNK, DEAD = 0.5, 0.02


class KANNetwork(Composition):
    """Composition of KAN layers, plus `skip(x)` when there is a skip layer.

    Parameters
    ----------
    layers : sequence of KANLayer
        Layer l maps width l to width l + 1.
    skip : KANLayer, default=None
        Edges from every input straight to every output. It shares the basis of the
        first layer.
    used : Tensor of bool of shape (n_features,), default=None
        Columns of x that are inputs of the first layer, where pruning has left some
        out; None takes all.

    Examples
    --------
    >>> import torch
    >>> from skkan import KANNetwork
    >>> x = torch.linspace(-1, 1, 50, dtype=torch.float64).reshape(25, 2)
    >>> network = KANNetwork.from_samples(
    ...     [2, 3, 1], x, generator=torch.Generator().manual_seed(0)
    ... )
    >>> network(x).shape
    torch.Size([25, 1])
    >>> [a.shape for a in network.activations(x)]
    [torch.Size([25, 3, 2]), torch.Size([25, 1, 3])]
    >>> finer = network.refined(10)  # exact, as 10 is a multiple of 5
    >>> torch.allclose(finer(x), network(x), rtol=0, atol=1e-12)
    True
    """

    __module__ = "skkan"

    @classmethod
    def from_samples(
        cls,
        widths,
        x,
        *,
        grid_size=5,
        spline_order=3,
        grid_eps=1.0,
        margin=0.0,
        base_activation="silu",
        extrapolation="constant",
        additive_skip=False,
        sample_weight=None,
        generator=None,
        inputs=None,
    ):
        """Network to start from, whose grids fit what passes through them.

        Parameters
        ----------
        widths : sequence of int
            Number of inputs, nodes of each hidden layer, number of outputs.
        x : Tensor of shape (n_samples, n_inputs)
        grid_size, spline_order, base_activation, extrapolation
            As for `BSplineBasis`.
        grid_eps, margin, sample_weight
            As for `grid_from_samples`.
        additive_skip : bool, default=False
            Whether to add edges from the inputs to the outputs.
        generator : torch.Generator, default=None
            Source of the base weights, on the CPU.
        inputs : Basis, default=None
            Basis of the first layer; None has splines on grids that fit the samples.

        Returns
        -------
        KANNetwork
        """
        layers, nodes = [], x
        for n_outputs in widths[1:]:
            basis = inputs
            if layers or inputs is None:
                basis = BSplineBasis(
                    grid_from_samples(
                        nodes,
                        grid_size,
                        grid_eps=grid_eps,
                        margin=margin,
                        sample_weight=sample_weight,
                    ),
                    spline_order,
                    base_activation=base_activation,
                    extrapolation=extrapolation,
                )
            layers.append(KANLayer.at_random(basis, n_outputs, generator))
            with torch.no_grad():
                nodes = layers[-1](nodes)
        skip = None
        if additive_skip:
            skip = KANLayer.at_random(layers[0].basis, widths[-1], generator)
        return cls(layers, skip)

    @classmethod
    def weighted_sum(cls, networks, shares):
        """One network, whose output is a weighted sum of those of others.

        Their hidden nodes stand side by side, and the edges that enter the outputs are
        multiplied by the shares. Networks without hidden nodes become part of the skip.

        Parameters
        ----------
        networks : sequence of KANNetwork
            With at most one hidden layer, and with inputs and their grids in common.
        shares : sequence of float
            Weight of each network.

        Returns
        -------
        KANNetwork
        """
        pairs = list(zip(networks, shares, strict=True))
        deep = [(n, share) for n, share in pairs if len(n.layers) > 1]
        direct = [(n.layers[0], share) for n, share in pairs if len(n.layers) == 1]
        direct += [(n.skip, share) for n, share in deep if n.skip is not None]
        skip = None
        if direct:
            weights = [layer.masked(layer.weight.detach()) * s for layer, s in direct]
            masks = [layer.mask for layer, _ in direct]
            mask = torch.stack(masks).amax(0)
            skip = KANLayer(networks[0].layers[0].basis, sum(weights), mask)
        if not deep:
            return cls([skip], None, networks[0].used)
        firsts, seconds = zip(*(network.layers for network, _ in deep), strict=True)
        inner = KANLayer(
            networks[0].layers[0].basis,
            torch.cat([layer.weight.detach() for layer in firsts]),
            torch.cat([layer.mask for layer in firsts]),
        )
        basis = seconds[0].basis
        outer = KANLayer(
            basis.with_grid(torch.cat([layer.basis.grid for layer in seconds])),
            torch.cat([n.layers[1].weight.detach() * share for n, share in deep], 1),
            torch.cat([layer.mask for layer in seconds], dim=1),
        )
        return cls([inner, outer], skip, networks[0].used)

    def with_weights(self, weights):
        """The same network with other weights, one per layer of `all_layers`."""
        layers = [
            layer.with_weight(weight)
            for layer, weight in zip(self.all_layers, weights, strict=True)
        ]
        return self._from_all_layers(layers)

    def refined(self, grid_size):
        """The same function on grids of `grid_size` intervals.

        It is a projection of the curves, independent of data, and exact when
        `grid_size` is a multiple of the present one.
        """
        return self._on_bases(
            {layer.basis: layer.basis.refined(grid_size) for layer in self.all_layers}
        )

    def resized(self, grid_size, inputs=None):
        """The same, where coarser grids are allowed, which hold less of the function.

        Parameters
        ----------
        grid_size : int
        inputs : BSplineBasis, default=None
            Basis of the first layer; None interpolates the present knots.
        """
        bases = {
            layer.basis: layer.basis.resized(grid_size) for layer in self.all_layers
        }
        if inputs is not None:
            bases[self.layers[0].basis] = inputs
        return self._on_bases(bases)

    def with_input_basis(self, basis):
        """The same function, as nearly as can be, on another basis of the inputs."""
        first = self.layers[0].basis
        layers = [
            layer.with_basis(basis) if layer.basis is first else layer
            for layer in self.all_layers
        ]
        return self._from_all_layers(layers)

    def with_means_from(self, sums):
        """The same, where missing cells count as the mean of rows with such sums.

        See `sums_of_known`. Learnt values at "missing" stay what they were.
        """
        return self.with_input_basis(self.layers[0].basis.with_means_from(sums))

    def with_values_at_missing(self, means):
        """The same network, which takes missing cells; they count as means.

        Parameters
        ----------
        means : Tensor of shape (n_inputs, n_functions)
            Of the basis functions, where the network knows of no missing cells yet.
        """
        basis = self.layers[0].basis
        if basis.takes_missing:
            return self
        basis = MixedBasis.around(basis, means)
        layers = [
            layer
            if layer.basis is not self.layers[0].basis
            else KANLayer(basis, layer.weight.detach(), layer.mask)
            for layer in self.all_layers
        ]
        return self._from_all_layers(layers)

    def with_missing_of(self, x):
        """The same function, with a value at "missing" for all inputs that have some.

        It is to be learnt; until then it is the mean of each edge.
        """
        basis = self.layers[0].basis
        wider = basis.with_missing_of(self.inputs(x))
        return self if wider is basis else self.with_input_basis(wider)

    def _on_bases(self, bases):
        return self._from_all_layers(
            [layer.with_basis(bases[layer.basis]) for layer in self.all_layers]
        )

    def with_grids_from_samples(
        self, x, *, grid_eps, margin=0.0, sample_weight=None, hidden_only=False
    ):
        """The same function, as nearly as can be, on grids that fit the samples.

        The layers are updated in turn, so that each sees the activations of the
        updated ones before it.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
        grid_eps, margin, sample_weight
            As for `grid_from_samples`.
        hidden_only : bool, default=False
            Whether the first layer keeps its grid.
        """
        settings = {
            "grid_eps": grid_eps,
            "margin": margin,
            "sample_weight": sample_weight,
        }
        first, inputs = self.layers[0], self.inputs(x)
        if not hidden_only:
            first = first.with_basis(first.basis.with_grids_of(inputs, **settings))
        with torch.no_grad():
            nodes = first(inputs)
        return self._with_first_layer(first).with_hidden_grids(nodes, **settings)

    def with_hidden_grids(self, nodes, **settings):
        """The same, for what the first layer makes of the samples; it stays as it is.

        Parameters
        ----------
        nodes : Tensor of shape (n_samples, n_nodes)
        **settings
            `grid_eps`, `margin` and `sample_weight`, as above.

        Returns
        -------
        KANNetwork
        """
        layers = [self.layers[0]]
        for layer in self.layers[1:]:
            basis = layer.basis.with_grids_of(nodes, **settings)
            layers.append(layer.with_basis(basis))
            with torch.no_grad():
                nodes = layers[-1](nodes)
        return self._from_all_layers(
            layers + ([] if self.skip is None else [self.skip])
        )

    def _with_first_layer(self, first):
        layers = [first, *self.layers[1:]]
        if self.skip is not None:
            layers.append(self.skip.with_basis(first.basis))
        return self._from_all_layers(layers)

    @torch.no_grad()
    def with_standard_nodes(self, x, *, grid_eps, margin, sample_weight):
        """The same function, as nearly as can be, with nodes that fit their grids.

        A hidden node that has used up most of the margin of its grid, or fills less
        than half of it, is shifted and scaled to mean zero and deviation one, and gets
        a grid from its samples. The curves before it take up shift and scale exactly;
        those behind it are projected onto the new grid. Nodes that hardly vary are left
        alone, since rounding would be blown up.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
        grid_eps, margin, sample_weight
            As for `grid_from_samples`.

        Returns
        -------
        network : KANNetwork
        scales : list of Tensor of shape (n_nodes,), one per hidden layer
            By which the nodes were divided; None if no node had to change.
        """
        layers, scales = [self.layers[0]], []
        nodes = self.layers[0](self.inputs(x))
        share = sample_weight / sample_weight.sum()
        for layer in self.layers[1:]:
            moved = _outgrown(layer.basis.grid, nodes, margin)
            shift = torch.where(moved, share @ nodes, 0.0)
            scale = torch.where(moved, node_std(nodes, share), 1.0)
            scales.append(scale)
            if moved.any():
                layers[-1] = layers[-1].with_scaled_outputs(scale, shift)
                nodes = (nodes - shift) / scale
                grid = grid_from_samples(
                    nodes,
                    layer.basis.grid_size,
                    grid_eps=grid_eps,
                    margin=margin,
                    sample_weight=sample_weight,
                )
                grid = torch.where(moved.unsqueeze(1), grid, layer.basis.grid)
                layer = layer.with_basis(
                    layer.basis.with_grid(grid), scale=scale, shift=shift
                )
            layers.append(layer)
            if len(layers) < len(self.layers):
                nodes = layer(nodes)
        if all((scale == 1).all() for scale in scales):
            return self, None
        return KANNetwork(layers, self.skip, self.used), scales

    def _from_all_layers(self, layers):
        if self.skip is None:
            return KANNetwork(layers, None, self.used)
        return KANNetwork(layers[:-1], layers[-1], self.used)

    @torch.no_grad()
    def pruned(self, keep, x, sample_share):
        """The network without some edges, and without what they leave idle.

        Hidden nodes that no kept edge enters, or that none leaves, are removed with
        their edges, until every node lies on a path from an input to an output. Inputs
        that no edge leaves are not used any more. What remains between two nodes
        without being kept is masked. The mean of each removed edge is handed on to
        the edges that still enter its node; an output that none enters is zero. Where
        no path is left, one input and one node of each layer stay without edges.

        Parameters
        ----------
        keep : list of Tensor of bool of shape (n_outputs, n_inputs)
            One per layer of `all_layers`.
        x : Tensor of shape (n_samples, n_features)
            Rows over which the means are taken.
        sample_share : Tensor of shape (n_samples,)
            Sample weights that sum to one.

        Returns
        -------
        network : KANNetwork
        edges : Tensor of int of shape (n_pairs,)
            Position of each edge of the new network, masked ones included, among all
            those of this one.
        """
        has_skip = self.skip is not None
        keep = [
            kept & (layer.mask > 0)
            for kept, layer in zip(keep, self.all_layers, strict=True)
        ]
        keep = _on_paths(keep, has_skip=has_skip)
        passes = self.propagate(x)[1]
        lost = [
            (step.layer.edge_mean(step.features, sample_share) * ~kept).sum(1)
            for step, kept in zip(passes, keep, strict=True)
        ]
        stds = [
            step.layer.edge_std(step.features, step.weight, sample_share)
            for step in passes
        ]
        if has_skip:  # its edges enter the same nodes as those of the last layer
            total, last = lost[-2] + lost[-1], keep[-2].any(1)
            lost[-2:] = torch.where(last, total, 0.0), torch.where(last, 0.0, total)
        masked = self._from_all_layers(
            [
                layer.without_edges(*of_layer)
                for layer, *of_layer in zip(
                    self.all_layers, keep, lost, stds, strict=True
                )
            ]
        )
        return masked._without_idle_nodes()

    def _without_idle_nodes(self):
        """The network on those nodes that edges leave, and which edges these are."""
        leaving = [layer.mask.any(0) for layer in self.all_layers]
        if self.skip is not None:
            leaving[0] = leaving[0] | leaving.pop()
        nodes = [_positions(flags) for flags in leaving]
        nodes.append(torch.arange(self.widths[-1], device=nodes[0].device))
        ends = [*pairwise(nodes), (nodes[0], nodes[-1])]
        layers, edges, n_before = [], [], 0
        for layer, (sources, targets) in zip(self.all_layers, ends, strict=False):
            basis = layers[0].basis if layer is self.skip else None
            layers.append(layer.between(sources, targets, basis))
            pairs = targets.unsqueeze(1) * layer.basis.n_inputs + sources
            edges.append(n_before + pairs.flatten())
            n_before += layer.mask.numel()
        used = torch.zeros(self.n_features, dtype=torch.bool, device=nodes[0].device)
        used[self.used_features[nodes[0]]] = True
        skip = None if self.skip is None else layers.pop()
        network = KANNetwork(layers, skip, None if used.all() else used)
        return network, torch.cat(edges)

    def to_arrays(self):
        """Numpy arrays and plain values from which `from_arrays` rebuilds it."""
        return {
            "layers": [layer.to_arrays() for layer in self.layers],
            "skip": None if self.skip is None else self.skip.to_arrays(),
            "used": None if self.used is None else self.used.cpu().numpy().copy(),
        }

    @classmethod
    def from_arrays(cls, arrays, device="cpu"):
        """Network from the dict that `to_arrays` made, on a device."""
        layers = [KANLayer.from_arrays(layer, device) for layer in arrays["layers"]]
        skip = None
        if arrays["skip"] is not None:
            skip = KANLayer.from_arrays(arrays["skip"], device)
            skip = KANLayer(layers[0].basis, skip.weight.detach(), skip.mask)
        used = arrays["used"]
        if used is not None:
            used = torch.tensor(used, device=device)
        return cls(layers, skip, used)


def _on_paths(keep, *, has_skip):
    """The kept edges that lie on a path from an input to an output."""
    chain = keep[:-1] if has_skip else keep
    before = -1
    while before != (before := sum(int(kept.sum()) for kept in chain)):
        for index in range(len(chain) - 1):
            alive = chain[index].any(1) & chain[index + 1].any(0)
            chain[index] = chain[index] & alive.unsqueeze(1)
            chain[index + 1] = chain[index + 1] & alive
    return chain + keep[len(chain) :]


def _positions(flags):
    """Where flags are set; the first position if they are nowhere."""
    positions = flags.nonzero().flatten()
    return positions if len(positions) else positions.new_zeros(1)


def _outgrown(grid, nodes, margin):
    """Which nodes come near the ends of their grid or fill too little of it."""
    width = grid[:, -1] - grid[:, 0]
    low, high = nodes.amin(0), nodes.amax(0)
    beyond = torch.maximum(grid[:, 0] - low, high - grid[:, -1]) / width
    filled = (high - low) / width
    return ((beyond > -LEFT * margin) | (filled < SHRUNK)) & (filled > DEAD)
