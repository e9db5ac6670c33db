"""Functions of inputs some of which are categories or have missing cells.

A `MixedBasis` puts the B-splines of those inputs that are numbers beside the
indicators of those that are categories, and says what a missing cell counts as. Only
first layers have one. As everywhere in the core, codes and missing cells come as
numbers: a category as its code 0, 1, ..., one that is not known as -1, NaN where the
cell is missing.
"""

import numpy as np
import torch

from skkan.basis._base import Basis
from skkan.basis._bspline import BSplineBasis
from skkan.basis._grids import grid_of_known
from skkan.numerics._floating_point import SMALLEST_DIVISOR

# What a `MixedBasis` is made of beside its splines.
MIXED_BUFFERS = "n_categories", "has_missing", "means"
MEAN_BLOCK_ROWS = 2**14  # rows whose values are held at a time, where means are taken


class MixedBasis(Basis):
    """Splines of numbers and indicators of categories, each with a value for "missing".

    A number x has the functions of its spline basis, a category has one indicator for
    each code; all are zero for the code -1 of unknown categories. An input with
    `has_missing` has one function more, the indicator of a missing cell, whose other
    functions then have their means over the training rows: its coefficient is by how
    much the edge at "missing" deviates from the mean of the edge. Where an input has
    fewer functions than others, zeros fill it up.

    Parameters
    ----------
    splines : BSplineBasis
        Of the inputs that are numbers, in their order.
    n_categories : Tensor of int of shape (n_inputs,)
        Number of categories; 0 for an input that is a number.
    has_missing : Tensor of bool of shape (n_inputs,)
        Whether an input has a function for missing cells.
    means : Tensor of shape (n_inputs, n_functions)
        What the functions of a missing cell are: means over the known ones; zero for
        the indicator and for what fills up.
    """

    takes_missing = True

    def __init__(self, splines, n_categories, has_missing, means):
        super().__init__()
        self.splines = splines
        self.spline_order, self.grid_size = splines.spline_order, splines.grid_size
        self.base_activation = splines.base_activation
        self.extrapolation, self.n_splines = splines.extrapolation, splines.n_splines
        self.n_inputs, self.n_functions = means.shape
        self._register_inputs(n_categories, has_missing)
        self.register_buffer("means", means)
        self.register_buffer("_numbers", self.is_number.nonzero().flatten())
        self.register_buffer("_categories", n_categories.nonzero().flatten())
        function = torch.arange(self.n_functions, device=means.device)
        in_use = function < self.sizes.unsqueeze(1)
        packing = None if in_use.all() else in_use.flatten().nonzero().flatten()
        self.register_buffer("packing", packing)

    @classmethod
    def from_samples(cls, splines, n_categories, x, sample_weight):
        """Basis with a value for "missing" where cells of the samples are.

        Parameters
        ----------
        splines, n_categories
            As above.
        x : Tensor of shape (n_samples, n_inputs)
            Samples, with NaN where cells are missing.
        sample_weight : Tensor of shape (n_samples,)
        """
        missing = x.isnan()
        has_missing = missing.any(0) & ~missing.all(0)
        return cls._without_means(splines, n_categories, has_missing).with_means_of(
            x, sample_weight
        )

    @classmethod
    def around(cls, splines, means):
        """Basis of the same functions as `splines`, where missing cells have means."""
        return cls(splines, splines.n_categories, splines.has_missing, means)

    @classmethod
    def _without_means(cls, splines, n_categories, has_missing):
        own = torch.where(n_categories == 0, splines.n_functions, n_categories)
        width = int((own + has_missing).max())
        means = splines.knots.new_zeros(len(n_categories), width)
        return cls(splines, n_categories, has_missing, means)

    @property
    def knots(self):
        return self.splines.knots

    @property
    def grid(self):
        """Knots of the inputs that are numbers, (n_numbers, grid_size + 1)."""
        return self.splines.grid

    def coefficients(self, weight):
        return weight * self.constant

    def values_and_derivatives(self, x, *, with_derivatives=True):
        # Categories and missing cells have no slope.
        missing = x.isnan()
        # Any number will do for a cell whose values are replaced below.
        known = torch.where(missing, 0.0, x)
        values, slopes = self.splines.values_and_derivatives(
            known[:, self._numbers], with_derivatives=with_derivatives
        )
        values, slopes = self._filled_up(values), self._filled_up(slopes)
        if len(self._categories):
            self._mark_categories(values, known[:, self._categories])
        rows, inputs = missing.nonzero(as_tuple=True)
        if len(rows):
            values[rows, inputs] = self.means[inputs]
            if slopes is not None:
                slopes[rows, inputs] = 0.0
            has_own = self.has_missing[inputs]
            rows, inputs = rows[has_own], inputs[has_own]
            values[rows, inputs, self.sizes[inputs] - 1] = 1.0
        return values, slopes

    def higher_derivatives(self, x, order):
        missing = x.isnan()
        known = torch.where(missing, 0.0, x)[:, self._numbers]
        found = self.splines.higher_derivatives(known, order)
        missing = missing.unsqueeze(2)
        return [self._filled_up(part).masked_fill(missing, 0.0) for part in found]

    def recorded_values(self, x):
        missing = x.isnan()
        known = torch.where(missing, 0.0, x)
        values = self._filled_up(self.splines.recorded_values(known[:, self._numbers]))
        function = torch.arange(self.n_functions, device=x.device)
        is_category = function < self.n_categories.unsqueeze(1)
        is_code = (known.long().unsqueeze(2) == function) & is_category
        is_own = self.has_missing.unsqueeze(1) & (
            function == self.sizes.unsqueeze(1) - 1
        )
        at_missing = torch.where(is_own, 1.0, self.means)
        values = torch.where(is_code, 1.0, values)
        return torch.where(missing.unsqueeze(2), at_missing, values)

    def _filled_up(self, values):
        """Values of numbers in a block with a column for every function."""
        if values is None or values.shape[1:] == self.means.shape:
            return values
        block = values.new_zeros(values.shape[0], *self.means.shape)
        if len(self._numbers):
            block[:, self._numbers, : values.shape[2]] = values
        return block

    def _mark_categories(self, values, codes):
        codes = codes.long()
        known = (codes >= 0) & (codes < self.n_categories[self._categories])
        rows, columns = known.nonzero(as_tuple=True)
        values[rows, self._categories[columns], codes[rows, columns]] = 1.0

    def with_means_of(self, x, sample_weight):
        """Basis with means over other rows for missing cells.

        An input without any known cell has the values at zero.
        """
        return self.with_means_from(self.sums_of_known(x, sample_weight))

    def sums_of_known(self, x, sample_weight):
        """Sums over the rows from which `with_means_from` takes means.

        Returns
        -------
        Tensor of shape (n_inputs, 1 + n_functions)
            Weight of the known cells, and sums of the functions over these.
        """
        total, sums = 0.0, 0.0
        for start in range(0, len(x), MEAN_BLOCK_ROWS):
            rows = slice(start, start + MEAN_BLOCK_ROWS)
            weight = sample_weight[rows].unsqueeze(1) * ~x[rows].isnan()
            values, _ = self.values_and_derivatives(
                torch.where(x[rows].isnan(), 0.0, x[rows]), with_derivatives=False
            )
            total = total + weight.sum(0)
            sums = sums + torch.einsum("ni,nif->if", weight, values)
        return torch.cat([total.unsqueeze(1), sums], dim=1)

    def with_means_from(self, sums):
        """Basis with means from `sums_of_known`; see `with_means_of`."""
        total, sums = sums[:, :1], sums[:, 1:]
        no_code = torch.where(self.is_number, 0.0, -1.0).to(sums)
        at_zero, _ = self.values_and_derivatives(
            no_code.unsqueeze(0), with_derivatives=False
        )
        means = torch.where(
            total > 0, sums / total.clamp(min=SMALLEST_DIVISOR), at_zero[0]
        )
        return self._with_means(means)

    def _with_means(self, means):
        return MixedBasis(self.splines, self.n_categories, self.has_missing, means)

    def with_missing_of(self, x):
        """Basis with a function for missing cells for all inputs that have some.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_inputs)

        Returns
        -------
        MixedBasis
            This one if there is nothing to add.
        """
        missing = x.isnan()
        has_missing = self.has_missing | (missing.any(0) & ~missing.all(0))
        if torch.equal(has_missing, self.has_missing):
            return self
        wider = self._without_means(self.splines, self.n_categories, has_missing)
        means = torch.zeros_like(wider.means)
        width = min(means.shape[1], self.means.shape[1])
        means[:, :width] = self.means[:, :width]
        return wider._with_means(means)

    def with_grid(self, grid):
        return self._on(self.splines.with_grid(grid))

    def resized(self, grid_size):
        return self._on(self.splines.resized(grid_size))

    def _on(self, splines):
        """Basis with other splines of the numbers.

        Without rows, means are chosen such that all present curves keep theirs, or
        nearly so on coarser grids; `with_means_of` has the exact ones.
        """
        basis = self._without_means(splines, self.n_categories, self.has_missing)
        means = torch.zeros_like(basis.means)
        width = min(means.shape[1], self.means.shape[1])
        means[self._categories, :width] = self.means[self._categories, :width]
        if len(self._numbers):
            old = self.means[self._numbers, : self.splines.n_functions]
            transfer = self.splines.transfer_matrix(splines)
            new = torch.linalg.pinv(transfer.mT) @ old.unsqueeze(2)
            means[self._numbers, : splines.n_functions] = new.squeeze(2)
        return basis._with_means(means)

    def with_grids_of(self, x, **settings):
        grid = grid_of_known(x[:, self._numbers], self.grid_size, **settings)
        return self.with_grid(grid)

    def of_inputs(self, inputs):
        is_number = self.is_number
        row = is_number.cumsum(0) - 1
        numbers = row[inputs][is_number[inputs]]
        width = int(self.sizes[inputs].max())
        return MixedBasis(
            self.splines.of_inputs(numbers),
            self.n_categories[inputs],
            self.has_missing[inputs],
            self.means[inputs][:, :width],
        )

    def transfer_matrix(self, new, *, scale=1.0, shift=0.0):
        """Coefficients on a new basis; see `BSplineBasis.transfer_matrix`.

        Values of categories are kept, and so is the value at "missing" of every input
        for which the new basis has one.

        Parameters
        ----------
        new : MixedBasis
            Of the same inputs.
        scale, shift : float, default=1.0, 0.0
        """
        matrix = self.means.new_zeros(self.n_inputs, new.n_functions, self.n_functions)
        width = min(new.n_functions, self.n_functions)
        for category in self._categories.tolist():
            count = int(self.n_categories[category])
            matrix[category, :count, :count] = torch.eye(width)[:count, :count]
        if len(self._numbers):
            own, new_own = self.splines.n_functions, new.splines.n_functions
            matrix[self._numbers, :new_own, :own] = self.splines.transfer_matrix(
                new.splines, scale=scale, shift=shift
            )
        for each in new.has_missing.nonzero().flatten().tolist():
            last = int(new.sizes[each]) - 1
            lost = self.means[each] - matrix[each].T @ new.means[each]
            if self.has_missing[each]:
                lost[int(self.sizes[each]) - 1] = 1.0
            matrix[each, last] = lost
        return matrix

    def to_arrays(self):
        inputs = {
            name: getattr(self, name).cpu().numpy().copy() for name in MIXED_BUFFERS
        }
        return self.splines.to_arrays() | {"inputs": inputs}


def basis_from_arrays(arrays, device="cpu"):
    """Basis from the dict that its `to_arrays` made, on a device."""
    splines = BSplineBasis(
        torch.tensor(np.asarray(arrays["grid"]), device=device),
        arrays["spline_order"],
        base_activation=arrays["base_activation"],
        extrapolation=arrays["extrapolation"],
    )
    inputs = arrays.get("inputs")
    if inputs is None:
        return splines
    buffers = (torch.tensor(inputs[name], device=device) for name in MIXED_BUFFERS)
    return MixedBasis(splines, *buffers)


def mixed_basis_from_samples(
    x,
    limited,
    n_categories,
    grid_size,
    spline_order,
    *,
    has_gaps,
    base_activation,
    extrapolation,
    sample_weight,
    **settings,
):
    """Basis of inputs of all kinds; a BSplineBasis if that will do.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_inputs)
    limited : Tensor of shape (n_samples, n_inputs)
        These samples within limits that keep outliers off the grids.
    n_categories : Tensor of int of shape (n_inputs,)
    grid_size, spline_order, base_activation, extrapolation
        As for `BSplineBasis`.
    has_gaps : bool
        Whether cells are missing here or elsewhere.
    sample_weight, **settings
        As for `grid_from_samples`.
    """
    is_number = n_categories == 0
    grid = x.new_zeros(0, grid_size + 1)
    if is_number.any():
        grid = grid_of_known(
            limited[:, is_number], grid_size, sample_weight=sample_weight, **settings
        )
    splines = BSplineBasis(
        grid,
        spline_order,
        base_activation=base_activation,
        extrapolation=extrapolation,
    )
    if is_number.all() and not has_gaps:
        return splines
    return MixedBasis.from_samples(splines, n_categories, x, sample_weight)
