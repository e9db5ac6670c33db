"""A Kolmogorov-Arnold network: a stack of layers and, optionally, an additive skip.

A network computes in scaled units. It knows nothing of losses, solvers or
scikit-learn. Methods that change a network return a new one; changes that only
training needs are in `network._edits` and `network._edge_removal`.
"""

from typing import NamedTuple

import torch
from torch import nn

from skkan.basis._autograd import checked_samples
from skkan.basis._bspline import BSplineBasis
from skkan.basis._grids import grid_from_samples
from skkan.network._attribution_and_statistics import edge_scores, input_scores
from skkan.network._layer import KANLayer


class LayerPass(NamedTuple):
    """Inputs and basis values of a layer during one pass through the network."""

    layer: KANLayer
    weight: torch.Tensor  # (n_outputs, n_inputs, n_functions)
    inputs: torch.Tensor  # (n_samples, n_inputs)
    features: torch.Tensor  # (n_samples, n_inputs, n_functions)

    def sums(self):
        """Sums of the edges, Tensor of shape (n_samples, n_outputs)."""
        return self.layer.combine(self.features, self.weight)


class KANNetwork(nn.Module):
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
    members : Tensor of int of shape (n_nodes,), default=None
        Which network of an ensemble each node of the only hidden layer comes from; None
        if the network is no ensemble.

    Attributes
    ----------
    all_layers : list of KANLayer
        The layers in order, then the skip layer if there is one.
    widths : list of int
        Number of used inputs, of nodes of each hidden layer, of outputs.
    n_multiplications : list of int
        How many of the nodes of each hidden layer are products.
    n_features : int
        Number of columns of x, unused ones included.
    grid_size : int
        Of the first layer.
    layer_sizes : list of int
        Number of weights of each of `all_layers`, those of removed edges included.
    n_parameters : int
        Their sum.

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

    def __init__(self, layers, skip=None, used=None, members=None):
        super().__init__()
        _check_layers(layers)
        self.layers = nn.ModuleList(layers)
        self.skip = skip
        self.register_buffer("used", used)
        self.register_buffer("members", members)
        self.all_layers = [*layers] if skip is None else [*layers, skip]
        self.widths = [self.layers[0].basis.n_inputs, *(a.n_nodes for a in layers)]
        self.n_multiplications = [a.n_multiplications for a in layers[:-1]]
        self.n_features = self.widths[0] if used is None else len(used)
        self.grid_size = self.layers[0].basis.grid_size
        self.layer_sizes = [len(a.mask) * a.n_weights for a in self.all_layers]
        self.n_parameters = sum(self.layer_sizes)

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
        n_multiplications=0,
    ):
        """Network to start training from, whose grids fit the samples.

        Parameters
        ----------
        widths : sequence of int
            Number of inputs, sums of each hidden layer, number of outputs.
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
            Basis of the first layer; None makes splines on grids that fit the samples.
        n_multiplications : int or sequence of int, default=0
            Number of nodes of each hidden layer, in addition, that are products of two
            further sums.

        Returns
        -------
        KANNetwork
        """
        layers, nodes = [], x
        if isinstance(n_multiplications, int):
            n_multiplications = [n_multiplications] * (len(widths) - 2)
        for n_outputs, n_products in zip(
            widths[1:], [*n_multiplications, 0], strict=True
        ):
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
            layers.append(
                KANLayer.at_random(
                    basis, n_outputs + 2 * n_products, generator, n_products
                )
            )
            with torch.no_grad():
                nodes = layers[-1](nodes)
        skip = None
        if additive_skip:
            skip = KANLayer.at_random(layers[0].basis, widths[-1], generator)
        return cls(layers, skip)

    @property
    def weights(self):
        """The weight of each of `all_layers`, without gradient."""
        return [layer.weight.detach() for layer in self.all_layers]

    @property
    def theta(self):
        """The weights in use as one vector, Tensor of shape (n_parameters,)."""
        return self._joined(self.weights)

    def _joined(self, of_weights):
        """Values of the shapes of the weights as one vector, for those in use."""
        pairs = zip(self.all_layers, of_weights, strict=True)
        return torch.cat([layer.packed(values).flatten() for layer, values in pairs])

    def unpacked(self, theta):
        """The weight of each of `all_layers` from one vector."""
        parts = zip(self.all_layers, theta.split(self.layer_sizes), strict=True)
        return [layer.unpacked(part.view(-1, layer.n_weights)) for layer, part in parts]

    @property
    def used_features(self):
        """Indices of the columns of x that are inputs, Tensor of shape (n_inputs,)."""
        if self.used is None:
            return torch.arange(self.n_features, device=self.layers[0].mask.device)
        return self.used.nonzero().flatten()

    @property
    def weight_mask(self):
        """1 for each weight of an edge, 0 for a removed edge, (n_parameters,)."""
        masks = [a.mask.unsqueeze(2).expand(a.weight.shape) for a in self.all_layers]
        return self._joined(masks)

    @property
    def n_edges(self):
        """Number of edges that are not removed."""
        return sum(int(layer.mask.sum()) for layer in self.all_layers)

    @property
    def leaving_edges(self):
        """Positions of the edges that leave the inputs, and the nodes of hidden layers.

        Returns
        -------
        list of Tensor of int of shape (n_nodes, n_edges), one per layer of `layers`
            Positions among the edges of all layers. The edges of the skip leave the
            inputs, too.
        """
        counts = [layer.mask.numel() for layer in self.all_layers]
        positions = torch.arange(sum(counts)).split(counts)
        leaving = [
            part.view(layer.mask.shape).T
            for part, layer in zip(positions, self.all_layers, strict=True)
        ]
        if self.skip is not None:
            leaving[0] = torch.cat([leaving[0], leaving.pop()], dim=1)
        return leaving

    @property
    def factor_edges(self):
        """Positions of the edges that enter each factor of a product.

        Returns
        -------
        list of Tensor of int of shape (n_inputs,), one per factor
        """
        found, n_before = [], 0
        for layer in self.layers:
            positions = torch.arange(layer.mask.numel()).view(layer.mask.shape)
            n_factors = 2 * layer.n_multiplications
            found += [*(n_before + positions[len(positions) - n_factors :])]
            n_before += layer.mask.numel()
        return found

    def forward(self, x):
        """Network output.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)

        Returns
        -------
        Tensor of shape (n_samples, n_outputs)
        """
        inputs = nodes = self.inputs(x)
        for layer in self.layers:
            nodes = layer(nodes)
        return nodes if self.skip is None else nodes + self.skip(inputs)

    def inputs(self, x):
        """The used columns of x, Tensor of shape (n_samples, n_inputs)."""
        if self.used is None:
            return x
        x = checked_samples(x, len(self.used))
        # Their number is known, which `torch.export` cannot see in a mask.
        return x[:, torch.nonzero_static(self.used, size=self.widths[0]).flatten()]

    def propagate(self, x, weights=None, features=None):
        """Output, and inputs and basis values of every layer.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
        weights : list of Tensor, default=None
            One weight per layer of `all_layers`; None takes the network's own.
        features : Tensor of shape (n_samples, n_inputs, n_functions), default=None
            Basis values of the first layer, where the caller keeps them.

        Returns
        -------
        output : Tensor of shape (n_samples, n_outputs)
        passes : list of LayerPass, one per layer of `all_layers`
        """
        if weights is None:
            weights = [layer.weight for layer in self.all_layers]
        passes, inputs = [], self.inputs(x)
        for layer, weight in zip(self.layers, weights, strict=False):
            if features is None:
                features = layer.basis(inputs)
            passes.append(LayerPass(layer, weight, inputs, features))
            inputs, features = layer.nodes_of(layer.combine(features, weight)), None
        output = inputs
        if self.skip is not None:
            features = passes[0].features
            passes.append(LayerPass(self.skip, weights[-1], passes[0].inputs, features))
            output = output + self.skip.combine(features, weights[-1])
        return output, passes

    def activations(self, x):
        """Values of every edge.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)

        Returns
        -------
        list of Tensor of shape (n_samples, n_outputs, n_inputs)
            One per layer of `all_layers`.
        """
        return [step.layer.activations(step.inputs) for step in self.propagate(x)[1]]

    @torch.no_grad()
    def attribution(self, x, sample_share):
        """Share of each column in the variation of the outputs.

        It is the attribution score of the KAN 2.0 paper; see
        `network._attribution_and_statistics.edge_scores`.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
        sample_share : Tensor of shape (n_samples,)
            Sample weights that sum to one.

        Returns
        -------
        Tensor of shape (n_features,)
            Non-negative; they sum to one unless the network is constant.
        """
        scores = edge_scores(self, *self.propagate(x), sample_share)
        return input_scores(self, scores)

    def with_layers(self, all_layers):
        """Network with other layers, one for each of `all_layers`."""
        if self.skip is None:
            return KANNetwork(all_layers, None, self.used, self.members)
        return KANNetwork(all_layers[:-1], all_layers[-1], self.used, self.members)

    def with_weights(self, weights):
        """Network with other weights, one Tensor for each of `all_layers`."""
        return self.with_layers(
            [
                layer.with_weight(weight)
                for layer, weight in zip(self.all_layers, weights, strict=True)
            ]
        )

    def with_bases(self, bases):
        """Network with its curves projected onto other bases.

        Parameters
        ----------
        bases : dict
            The new basis for each present one; a basis that is left out stays.
        """
        return self.with_layers(
            [
                layer.with_basis(bases[layer.basis]) if layer.basis in bases else layer
                for layer in self.all_layers
            ]
        )

    def refined(self, grid_size):
        """Network with the same function on grids of `grid_size` intervals.

        It is a projection of the curves, independent of data, and exact when
        `grid_size` is a multiple of the present one. Grids of layers that have more
        intervals than the first one are refined by the same factor.
        """
        bases = [layer.basis for layer in self.layers]
        sizes = [-(-b.grid_size * grid_size // self.grid_size) for b in bases]
        return self.with_bases(
            {b: b.refined(size) for b, size in zip(bases, sizes, strict=True)}
        )

    def with_grids_from_samples(
        self, x, *, grid_eps, margin=0.0, sample_weight=None, hidden_only=False
    ):
        """Network with nearly the same function on grids that fit the samples.

        The layers are updated in turn, so that each sees the activations of the
        updated ones before it.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
        grid_eps, margin, sample_weight
            As for `grid_from_samples`.
        hidden_only : bool, default=False
            Whether the first layer keeps its grid.

        Returns
        -------
        KANNetwork
        """
        settings = {
            "grid_eps": grid_eps,
            "margin": margin,
            "sample_weight": sample_weight,
        }
        network, inputs = self, self.inputs(x)
        if not hidden_only:
            basis = self.layers[0].basis
            network = self.with_bases({basis: basis.with_grids_of(inputs, **settings)})
        with torch.no_grad():
            nodes = network.layers[0](inputs)
        return network.with_hidden_grids_from_nodes(nodes, **settings)

    @torch.no_grad()
    def with_hidden_grids_from_nodes(self, nodes, **settings):
        """Network whose hidden layers have grids that fit the samples.

        Parameters
        ----------
        nodes : Tensor of shape (n_samples, n_nodes)
            Output of the first layer for the samples. The first layer stays.
        **settings
            `grid_eps`, `margin` and `sample_weight`, as for `grid_from_samples`.

        Returns
        -------
        KANNetwork
        """
        layers = [self.layers[0]]
        for layer in self.layers[1:]:
            basis = layer.basis.with_grids_of(nodes, **settings)
            layers.append(layer.with_basis(basis))
            nodes = layers[-1](nodes)
        return self.with_layers([*layers, *self.all_layers[len(layers) :]])

    def to_arrays(self):
        """Dict of arrays and plain values, from which `from_arrays` rebuilds it."""
        return {
            "layers": [layer.to_arrays() for layer in self.layers],
            "skip": None if self.skip is None else self.skip.to_arrays(),
            "used": _array(self.used),
            "members": _array(self.members),
        }

    @classmethod
    def from_arrays(cls, arrays, device="cpu"):
        """Network from the dict that `to_arrays` made, on a device."""
        layers = [KANLayer.from_arrays(layer, device) for layer in arrays["layers"]]
        skip = None
        if arrays["skip"] is not None:
            skip = KANLayer.from_arrays(arrays["skip"], device)
            skip = skip.like(layers[0].basis)
        of_nodes = [
            None if found is None else torch.tensor(found, device=device)
            for found in (arrays["used"], arrays.get("members"))
        ]
        return cls(layers, skip, *of_nodes)


def _check_layers(layers):
    """Refuse what is no sequence of layers, such as the widths of a network."""
    try:
        wrong = [layer for layer in layers if not isinstance(layer, KANLayer)]
        is_right = not wrong and len(layers) > 0
    except TypeError:
        is_right = False
    if not is_right:
        raise TypeError(
            f"layers must be a sequence of one or more KANLayer, got {layers!r}: for a "
            "network of given widths call KANNetwork.from_samples(widths, x), which "
            "lays its grids through the samples x."
        )


def _array(tensor):
    return None if tensor is None else tensor.cpu().numpy().copy()
