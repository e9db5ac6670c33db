"""A network and the posterior variance of its outputs, as nodes of a graph."""

import numpy as np

from skkan.export._curves import Curves, flattened
from skkan.export._first_layer import FirstLayerNodes
from skkan.network._jacobian import outer_weight_positions
from skkan.network._products import owners, partners


class NetworkNodes:
    """Output of a network at the rows of a graph's input.

    Parameters
    ----------
    graph : Graph
    network : KANNetwork
        On the CPU, taking missing cells.
    units : FeatureUnits
    X : str
        Rows of shape (n_samples, n_features).

    Attributes
    ----------
    output : str
        Of shape (n_outputs, n_samples).
    places : list of FirstLayerNodes and Curves
        Inputs of each layer.
    sums : list of str
        Sums of each layer, of shape (n_sums, n_samples).
    weights : list of Tensor
        Weights of each of `network.all_layers`, zero where edges are removed.
    """

    def __init__(self, graph, network, units, X):
        self.network = network
        self.weights = [
            layer.masked(weight)
            for layer, weight in zip(network.all_layers, network.weights, strict=True)
        ]
        first, *others = network.layers
        self.places = [FirstLayerNodes(graph, first.basis, units, X)]
        self.sums, below = [self.places[0].sums(self.weights[0])], first
        for layer, weight in zip(others, self.weights[1:], strict=False):
            nodes = _nodes_of(graph, self.sums[-1], below)
            self.places.append(Curves(graph, layer.basis, nodes))
            self.sums.append(self.places[-1].sums(weight))
            below = layer
        self.output = self.sums[-1]
        if network.skip is not None:
            direct = self.places[0].sums(self.weights[-1])
            self.output = graph.node("Add", self.output, direct)


def _nodes_of(graph, sums, layer):
    """Sums of a layer, then the products of its factors."""
    if not layer.n_multiplications:
        return sums
    n_sums = len(layer.mask)
    first = n_sums - 2 * layer.n_multiplications
    pairs = (np.arange(start, n_sums, 2) for start in (first, first + 1))
    products = graph.node("Mul", *(graph.node("Gather", sums, each) for each in pairs))
    if first == 0:
        return products
    return graph.node(
        "Concat", graph.node("Gather", sums, np.arange(first)), products, axis=0
    )


def _by_sums(graph, sensitivity, sums, layer):
    """Sensitivities to the sums of a layer, from those to its nodes."""
    n_products = layer.n_multiplications
    if not n_products:
        return sensitivity
    owner = np.array(owners(layer.n_nodes, n_products))
    partner = np.array(partners(len(layer.mask), n_products))
    first = len(owner) - len(partner)
    of_factors = graph.node(
        "Mul",
        graph.node("Gather", sensitivity, owner[first:]),
        graph.node("Gather", sums, partner),
    )
    if first == 0:
        return of_factors
    plain = graph.node("Gather", sensitivity, owner[:first])
    return graph.node("Concat", plain, of_factors, axis=0)


class VarianceNodes:
    """Posterior variance of the outputs of a network, at unit noise.

    With the covariance R^T R of the weights it is the squared norm of R J^T. The
    derivative J of an output consists of products: derivatives with respect to the
    nodes of a layer times values of the functions of the layer's inputs; see
    `skkan.inference._laplace_posterior.whitened_jacobian`.

    Parameters
    ----------
    graph : Graph
    passed : NetworkNodes
    root : CovarianceRoot
        Of the weights of the network.
    """

    def __init__(self, graph, passed, root):
        self._graph, self._passed = graph, passed
        network = passed.network
        inverse = root.matrix() * network.weight_mask
        sizes = [layer.mask.shape[0] * layer.n_weights for layer in network.layers[:-1]]
        hidden = inverse[:, : sum(sizes)].split(sizes, dim=1)
        inner = zip(passed.places, network.layers, hidden, strict=False)
        self._inner = [_matrix(*each) for each in inner]
        # Place and layer of the edges that enter the outputs.
        outer = [(passed.places[-1], network.layers[-1])]
        if network.skip is not None:
            outer.append((passed.places[0], network.skip))
        own = outer_weight_positions(network)
        parts = own.split([layer.n_weights for _, layer in outer], dim=1)
        self._outer = [
            (place, [_matrix(place, layer, inverse[:, each]) for each in part])
            for (place, layer), part in zip(outer, parts, strict=True)
        ]

    def of_output(self, output):
        """Variance of one output, by its number; name of shape (1, n_samples)."""
        graph, weight = self._graph, self._passed.weights[len(self._inner)]
        terms = [
            graph.node("MatMul", matrices[output], place.columns)
            for place, matrices in self._outer
        ]
        if self._inner:
            slopes = self._passed.places[-1].slopes(weight[[output]])
            terms += self._inner_terms(flattened(graph, slopes, weight.shape[1]))
        return self._square(terms)

    def of_combination(self, coefficients):
        """Variance of a linear combination of the outputs.

        Parameters
        ----------
        coefficients : str
            Of shape (n_outputs, n_samples).
        """
        weight = self._passed.weights[len(self._inner)]
        terms = [
            self._product(np.concatenate(matrices, axis=1), coefficients, place)
            for place, matrices in self._outer
        ]
        if self._inner:
            slopes = self._passed.places[-1].slopes(weight)
            terms += self._inner_terms(self._chained(coefficients, slopes))
        return self._square(terms)

    def _inner_terms(self, sensitivity):
        """Parts of R J^T by the weights of each hidden layer, the last layer first.

        Parameters
        ----------
        sensitivity : str
            Derivative with respect to the nodes of the last hidden layer, of shape
            (n_nodes, n_samples).
        """
        terms, passed = [], self._passed
        places = passed.places
        for index in reversed(range(len(self._inner))):
            matrix, layer = self._inner[index], passed.network.layers[index]
            sums = passed.sums[index]
            sensitivity = _by_sums(self._graph, sensitivity, sums, layer)
            terms.append(self._product(matrix, sensitivity, places[index]))
            if index:
                slopes = places[index].slopes(self._passed.weights[index])
                sensitivity = self._chained(sensitivity, slopes)
        return terms

    def _product(self, matrix, sensitivity, place):
        """Product of a matrix with all products of sensitivities and functions."""
        graph = self._graph
        outer = graph.node("Unsqueeze", sensitivity, np.array([1]))
        outer = graph.node("Mul", outer, place.columns)
        return graph.node("MatMul", matrix, flattened(graph, outer, matrix.shape[1]))

    def _chained(self, sensitivity, slopes):
        """Sensitivities to the nodes of the layer before, by the chain rule."""
        graph = self._graph
        outer = graph.node("Unsqueeze", sensitivity, np.array([1]))
        outer = graph.node("Mul", outer, slopes)
        return graph.node("ReduceSum", outer, np.array([0]), keepdims=0)

    def _square(self, terms):
        graph, (total, *others) = self._graph, terms
        for term in others:
            total = graph.node("Add", total, term)
        square = graph.node("Mul", total, total)
        return graph.node("ReduceSum", square, np.array([0]), keepdims=1)


def _matrix(place, layer, rows):
    """Rows of weights as a matrix for the functions of a place, node by node.

    Parameters
    ----------
    place : FirstLayerNodes or Curves
    layer : KANLayer
    rows : Tensor of shape (n_rows, n_nodes * n_weights)
        Weights of the functions in use.
    """
    packing, matrices = layer.basis.packing, []
    for part in rows.split(layer.n_weights, dim=1):
        weight = part
        if packing is not None:
            weight = part.new_zeros(len(part), layer.weight[0].numel())
            weight[:, packing] = part
        matrices.append(place.matrix(weight.reshape(-1, *layer.weight.shape[1:])))
    return np.concatenate(matrices, axis=1)
