"""Loss and gradient of several networks at once, whose hidden curves are tables.

A search trains networks with one hidden layer on the same rows. Between operations on
some hundred rows most of its time would go to calls. So all networks are evaluated by
the same calls, and each curve is read off a table: one parabola for each of many equal
cells, which join smoothly. No interval of an uneven grid is looked for, and no base
function evaluated. The difference is far below the noise, and below what is left of the
objective where a search ends.
"""

import numpy as np
import torch

from skkan.numerics._matrix_products import IGNORE_FLOAT_WARNINGS

# Cells of an interval of an even grid, eight of the narrowest one of adaptive grids,
# where most samples are. Outputs of two tables then changed by 1e-5 to 7e-5 of their
# deviation. A quarter of the cells changed them by up to 6e-4, and was not faster.
CELLS_PER_INTERVAL = 40
# Beyond the grid, where the curve is constant: the outermost parabola is one, too.
OUTER_CELLS = 2
# Samples of hidden nodes, 1 MB: arrays of more leave the cache.
MAX_SAMPLES = 2**17
# More outputs are faster one network after the other, in dense blocks.
MAX_OUTPUTS = 3


def is_supported(points):
    """Whether `TabulatedNetworks` takes some objectives, and their rows."""
    (first, _), *_ = points
    *_, last = layers = first.network.layers
    rows, n_nodes = first.kept_rows, len(points) * len(layers[0].mask)
    return (
        rows is not None
        and rows.n_rows * n_nodes <= MAX_SAMPLES
        and len(layers) == 2
        and last.basis.n_inputs == len(layers[0].mask)
        and last.basis.extrapolation == "constant"
        and len(last.mask) <= MAX_OUTPUTS
        and all(each.kept_rows is not None for each, _ in points)
    )


class TabulatedNetworks:
    """Objectives of networks of one shape, at points of their own.

    The parabolas of a table are uniform quadratic B-splines. Their coefficients are
    those of the quasi-interpolant of the functions of the basis.

    Parameters
    ----------
    objective : Objective
        Of one of the networks. The rows, the basis of the inputs and the sizes of the
        others are the same.
    n_networks : int

    References
    ----------
    P. Sablonnière, Quadratic spline quasi-interpolants, 2005.
    """

    def __init__(self, objective, n_networks):
        rows, network = objective.kept_rows, objective.network
        hidden, last = network.layers
        _, n_hidden, n_outputs = network.widths
        self.n_networks, self._n_hidden = n_networks, n_hidden
        self._loss, self._baseline = objective.loss, rows.baseline
        self._target = rows.target.repeat(n_networks, 1)
        self._weight = rows.sample_weight.numpy()
        self._values = hidden.packed(rows.features)
        self._n_cells = CELLS_PER_INTERVAL * last.basis.grid_size + 2 * OUTER_CELLS
        self._bases, dtype = [None] * n_networks, self._weight.dtype
        shape = n_networks, n_hidden + n_outputs
        # First come the weights of the hidden nodes, then those of the skip.
        self._entering = np.zeros((*shape, hidden.n_weights), dtype)
        self._nodes = np.empty((*shape, rows.n_rows), dtype)
        n_functions = last.basis.n_functions
        self._leaving = np.empty((n_networks, n_hidden, n_functions, n_outputs), dtype)
        shape = n_networks, n_hidden, self._n_cells + 2, n_functions
        self._coefs = np.empty(shape, dtype)
        self._start, self._per_unit = np.empty((2, n_networks, n_hidden, 1), dtype)
        shape = n_networks, n_hidden, rows.n_rows
        first = self._n_cells * np.arange(n_networks * n_hidden)
        self._first = np.repeat(first, rows.n_rows).reshape(shape)
        self._place = np.empty(shape, np.int64)
        self._position, self._terms = np.empty((2, *shape), dtype)
        self._slopes = np.empty((n_outputs, *shape), dtype)

    @torch.no_grad()
    @IGNORE_FLOAT_WARNINGS
    def values_and_gradients(self, points):
        """Values and gradients of objectives, each at its own point.

        Parameters
        ----------
        points : list of (Objective, Tensor of shape (n_parameters,))

        Returns
        -------
        list of (float, Tensor of shape (n_parameters,))
        """
        for slot, (objective, theta) in enumerate(points):
            self._take(slot, objective.network, objective.existing(theta).numpy())
        raw = torch.from_numpy(self._output()).mT.flatten(0, 1) + self._baseline
        losses = self._loss.value(raw, self._target).numpy()
        values = losses.reshape(self.n_networks, -1) @ self._weight
        slope = self._loss.gradient(raw, self._target).numpy()
        slope = slope.reshape(self.n_networks, len(self._weight), -1).swapaxes(1, 2)
        entering, leaving = self._gradients(slope * self._weight)
        found = []
        for slot, (objective, theta) in enumerate(points):
            own = entering[slot]
            parts = [own[: self._n_hidden], leaving[slot], own[self._n_hidden :]]
            n_layers = len(objective.network.all_layers)
            gradient = np.concatenate([part.reshape(-1) for part in parts[:n_layers]])
            gradient = torch.from_numpy(gradient)
            found.append(objective.penalised(theta, float(values[slot]), gradient))
        return found

    def _take(self, slot, network, theta):
        """Take the weights of a network, and its tables where they are others."""
        if self._bases[slot] is not network.layers[1].basis:
            self._bases[slot] = network.layers[1].basis
            self._tabulate(slot, network.layers[1].basis)
        entering, leaving = self._entering[slot], self._leaving[slot]
        n_hidden, n_weights = self._n_hidden, entering.shape[1]
        of_hidden, rest = theta[: n_hidden * n_weights], theta[n_hidden * n_weights :]
        entering[:n_hidden] = of_hidden.reshape(n_hidden, n_weights)
        if network.skip is not None:
            entering[n_hidden:] = rest[leaving.size :].reshape(-1, n_weights)
        of_last = rest[: leaving.size].reshape(-1, *leaving.shape[:2])
        leaving[...] = of_last.transpose(1, 2, 0)

    def _tabulate(self, slot, basis):
        grid, n_cells = basis.grid.numpy(), self._n_cells
        width = (grid[:, -1:] - grid[:, :1]) / (n_cells - 2 * OUTER_CELLS)
        start = grid[:, :1] - OUTER_CELLS * width
        self._start[slot], self._per_unit[slot] = start, 1 / width
        # Ends and middles of the cells, from one cell before the first.
        steps = 0.5 * np.arange(-2, 2 * n_cells + 3)
        values, _ = basis.evaluator.features((start + steps * width).T, False)
        ends, middles = values[0::2], values[1::2]
        coefs = 2 * middles - 0.5 * (ends[:-1] + ends[1:])
        self._coefs[slot] = coefs.swapaxes(0, 1)

    def _output(self):
        """Output without the baseline, ndarray (n_networks, n_outputs, n_rows)."""
        weights = torch.from_numpy(self._entering).flatten(0, 1)
        nodes = torch.from_numpy(self._nodes)
        torch.mm(weights, self._values.T, out=nodes.flatten(0, 1))
        position, floor, place = self._position, self._terms, self._place
        np.subtract(self._nodes[:, : self._n_hidden], self._start, out=position)
        position *= self._per_unit
        # What is no number has some cell, too.
        np.fmax(position, 0.0, out=position)
        np.fmin(position, np.nextafter(self._n_cells, 0.0), out=position)
        np.floor(position, out=floor)
        np.copyto(place, floor, casting="unsafe")
        place += self._first
        position -= floor
        output = self._nodes[:, self._n_hidden :].copy()
        for index, (constant, linear, square) in enumerate(self._parabolas()):
            # No place needs to be clipped, but this is the fastest mode.
            slopes = square.take(place, out=self._slopes[index], mode="clip")
            slopes *= position
            values = linear.take(place, out=floor, mode="clip")
            values += slopes
            slopes += values  # linear + 2 square * position
            values *= position
            values += constant.take(place, mode="clip")
            output[:, index] += values.sum(1)
        return output

    def _parabolas(self):
        """Coefficients of powers 0 to 2, ndarray of shape (n_outputs, 3, n_places)."""
        coefs = np.moveaxis(np.matmul(self._coefs, self._leaving), 3, 0)
        change = coefs[..., 1:] - coefs[..., :-1]
        shape = len(coefs), 3, *coefs.shape[1:3], self._n_cells
        parabolas = np.empty(shape, coefs.dtype)
        parabolas[:, 0] = 0.5 * (coefs[..., :-2] + coefs[..., 1:-1])
        parabolas[:, 1] = change[..., :-1]
        parabolas[:, 2] = 0.5 * (change[..., 1:] - change[..., :-1])
        return parabolas.reshape(len(coefs), 3, -1)

    def _gradients(self, slope):
        """Gradients of the weights of the last output.

        Parameters
        ----------
        slope : ndarray of shape (n_networks, n_outputs, n_rows)
            Derivative of the objectives with respect to the output.

        Returns
        -------
        entering : ndarray of shape (n_networks, n_hidden + n_outputs, n_weights)
        leaving : ndarray of shape (n_networks, n_outputs, n_hidden, n_functions)
        """
        of_nodes, n_hidden = self._nodes, self._n_hidden
        of_nodes[:, n_hidden:] = slope
        of_hidden = of_nodes[:, :n_hidden]
        for index, of_output in enumerate(self._slopes):
            weights = slope[:, index, None]
            if index == 0:
                np.multiply(of_output, weights, out=of_hidden)
            else:
                of_output *= weights
                of_hidden += of_output
        of_hidden *= self._per_unit
        entering = torch.from_numpy(of_nodes).flatten(0, 1) @ self._values
        place, terms = self._place.reshape(-1), self._terms
        n_networks, n_hidden, n_coefs, _ = self._coefs.shape
        n_places = n_networks * n_hidden * self._n_cells
        shape = n_networks, slope.shape[1], n_hidden, n_coefs
        coefs = np.zeros(shape, slope.dtype)
        for index in range(slope.shape[1]):
            terms[...] = slope[:, index, None]
            sums = []
            for degree in range(3):
                if degree > 0:
                    terms *= self._position
                of_power = np.bincount(place, terms.reshape(-1), n_places)
                sums.append(of_power.reshape(n_networks, n_hidden, -1))
            constant, linear, square = sums
            own = coefs[:, index]
            constant *= 0.5
            square *= 0.5
            own[..., :-2] = constant + square - linear
            own[..., 1:-1] += constant + linear - 2 * square
            own[..., 2:] += square
        leaving = np.matmul(coefs[..., None, :], self._coefs[:, None])[..., 0, :]
        return entering.numpy().reshape(*of_nodes.shape[:2], -1), leaving
