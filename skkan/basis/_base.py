"""The interface of a basis: the functions of which the edges of a layer are made.

Layers, penalties and exporters know a basis by this interface alone. A new basis is a
subclass in a file of its own.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import nn

from skkan.basis._autograd import evaluated
from skkan.basis._grids import grid_of_fewer, grid_with_range


class PenaltyKind(NamedTuple):
    """The functions of an input, as far as the penalty of its edges depends on them."""

    n_categories: int  # 0 for a number
    grid_size: int  # of a number, like the next two
    spline_order: int
    has_base: bool
    has_missing: bool  # whether the last function indicates a missing cell


class Basis(nn.Module, ABC):
    """Functions of one variable, for each input of a layer.

    All inputs have `n_functions` columns. An input with fewer functions has zeros in
    the last columns. The positions of the columns in use among those of all inputs are
    the `packing`; None means that all are in use.

    Attributes
    ----------
    n_inputs, n_functions : int
    spline_order, grid_size, n_splines : int
        Of the inputs that are numbers, like the next two.
    base_activation : str or None
    extrapolation : str
    n_categories : Tensor of int of shape (n_inputs,)
        Number of categories; 0 for an input that is a number.
    is_number : Tensor of bool of shape (n_inputs,)
    has_missing : Tensor of bool of shape (n_inputs,)
        Whether an input has a function for missing cells.
    sizes : Tensor of int of shape (n_inputs,)
        Number of functions of each input.
    packing : Tensor of int or None
    knots : Tensor
        Its dtype and device are those of the basis.
    takes_missing : bool
        Whether samples may be NaN.
    constant : Tensor of shape (n_inputs, n_functions)
        Coefficients of the constant 1.
    splines : BSplineBasis
        Of the inputs that are numbers, in their order.
    penalty_kinds : tuple of PenaltyKind of length n_inputs
    is_piecewise : bool
        Whether all functions but the base function are polynomials on each interval,
        which an `evaluator` then evaluates; otherwise `values_and_derivatives` serves.
    """

    is_piecewise = False

    def _register_inputs(self, n_categories, has_missing, *, persistent=True):
        """Keep what kind each input is of, in buffers that follow the device."""
        is_number = n_categories == 0
        own = torch.where(is_number, self.splines.n_functions, n_categories)
        self.register_buffer("n_categories", n_categories, persistent)
        self.register_buffer("has_missing", has_missing, persistent)
        self.register_buffer("sizes", own + has_missing, persistent)
        count = torch.where(is_number, self.n_splines, n_categories)
        function = torch.arange(self.n_functions, device=count.device)
        constant = (function < count.unsqueeze(1)).to(self.knots)
        self.register_buffer("is_number", is_number, persistent=False)
        self.register_buffer("constant", constant, persistent=False)
        number = 0, self.grid_size, self.spline_order, self.base_activation is not None
        pairs = zip(n_categories.tolist(), has_missing.tolist(), strict=True)
        self.penalty_kinds = tuple(
            PenaltyKind(*((count, 0, 0, False) if count else number), missing)
            for count, missing in pairs
        )

    def forward(self, x):
        """Values of all functions, differentiable any number of times.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_inputs)

        Returns
        -------
        Tensor of shape (n_samples, n_inputs, n_functions)
        """
        return evaluated(x, self)

    @abstractmethod
    def values_and_derivatives(self, x, *, with_derivatives=True):
        """Values and first derivatives of all functions.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_inputs)
        with_derivatives : bool, default=True
            Whether to spend time on the derivatives.

        Returns
        -------
        values : Tensor of shape (n_samples, n_inputs, n_functions)
        derivatives : Tensor of the same shape, or None
        """

    @abstractmethod
    def higher_derivatives(self, x, order):
        """Derivatives of two successive orders of all functions.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_inputs)
        order : int
            The lower of the two, at least 2.

        Returns
        -------
        lower, higher : Tensor of shape (n_samples, n_inputs, n_functions)
            Of order `order` and `order` + 1.
        """

    @abstractmethod
    def recorded_values(self, x):
        """Values of all functions, by operations that `torch.export` can record.

        The graph serves any number of rows.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_inputs)

        Returns
        -------
        Tensor of shape (n_samples, n_inputs, n_functions)
        """

    @abstractmethod
    def coefficients(self, weight):
        """Coefficients of splines and categories, without those of base functions.

        Parameters
        ----------
        weight : Tensor of shape (n_outputs, n_inputs, n_functions)

        Returns
        -------
        Tensor of shape (n_outputs, n_inputs, n_coefficients)
        """

    @abstractmethod
    def with_grid(self, grid):
        """Basis of the same kind on another grid of the numbers."""

    @abstractmethod
    def with_grids_of(self, x, **settings):
        """Basis of the same kind on grids from samples; see `grid_from_samples`."""

    def with_range_of(self, x, grid_size):
        """Basis on grids that keep their knots and reach the samples.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_inputs)
            NaN where missing.
        grid_size : int
            See `grid_with_range`.

        Returns
        -------
        Basis
            This one if its grids reach far enough.
        """
        known, missing = x[:, self.is_number], x[:, self.is_number].isnan()
        low = known.masked_fill(missing, torch.inf).amin(0)
        high = known.masked_fill(missing, -torch.inf).amax(0)
        grid = self.splines.grid
        wider = grid_with_range(grid, low, high, grid_size)
        return self if wider is grid else self.with_grid(wider)

    def with_fewer_knots(self, grid_size):
        """Basis on grids without those inner knots that are nearest to others."""
        return self.with_grid(grid_of_fewer(self.splines.grid, grid_size))

    @abstractmethod
    def resized(self, grid_size):
        """Basis with `grid_size` intervals whose knots interpolate the present ones.

        The grids nest, and the spline spaces with them, when `grid_size` is a
        multiple of the present one.
        """

    def refined(self, grid_size):
        """Basis on finer grids; see `resized`. Raises if the grids would shrink."""
        if grid_size < self.grid_size:
            raise ValueError(
                f"grid_size must not shrink, got {grid_size} after {self.grid_size}: "
                "a coarser grid cannot represent the fitted curves."
            )
        return self.resized(grid_size)

    @abstractmethod
    def of_inputs(self, inputs):
        """The basis of some of the inputs, by their positions."""

    @abstractmethod
    def transfer_matrix(self, new, *, scale=1.0, shift=0.0):
        """Coefficients on a new basis of every function of this one.

        Parameters
        ----------
        new : Basis
            Of the same kind and the same inputs.
        scale, shift : float or Tensor of shape (n_inputs,), default=1.0, 0.0
            An input x of the new basis is the input scale x + shift of this one.

        Returns
        -------
        Tensor of shape (n_inputs, new.n_functions, n_functions)
        """

    @abstractmethod
    def to_arrays(self):
        """Numpy arrays and plain values from which `basis_from_arrays` rebuilds it."""
