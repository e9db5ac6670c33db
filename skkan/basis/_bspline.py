"""The functions an edge is made of: B-splines on a grid, and a base function.

A `BSplineBasis` holds one grid for each input and gives values and derivatives of all
its functions, which a `SplineEvaluator` computes on the CPU. The basis knows nothing of
coefficients, layers or data scaling. `spline_order` is the polynomial degree
throughout: 3 is cubic.
"""

import torch

from skkan.basis._base import Basis
from skkan.basis._base_functions import BASE_ACTIVATIONS
from skkan.basis._grids import extend_grid, grid_from_samples
from skkan.basis._spline_evaluator import FAST_DTYPES, SplineEvaluator
from skkan.basis._spline_pieces import spline_polynomials
from skkan.basis._torch_evaluation import derivatives_by_torch

# Roundings of its length, by which an equidistant grid may be off.
MAX_UNIFORM_ROUNDINGS = 4
POINTS_PER_DEGREE = 2  # dense points per interval and coefficient of a projection
EXTRAPOLATIONS = ("constant", "linear")


class BSplineBasis(Basis):
    """B-splines of one degree on one grid per input, and optionally a base function.

    A grid of G intervals t_0 < ... < t_G is extended by k = `spline_order` steps of
    (t_G - t_0) / G on both sides, which gives G + k splines of degree k on G + 2k + 1
    knots. Outside of [t_0, t_G] every function, the base function included, is
    continued by its boundary value ("constant") or its tangent ("linear", which ends
    10^9 units away).

    Parameters
    ----------
    grid : Tensor of shape (n_inputs, grid_size + 1)
        Finite, strictly increasing knots of each input.
    spline_order : int, default=3
        Polynomial degree of the splines; 3 is cubic.
    base_activation : {"silu", "identity"} or None, default=None
        Function appended as the last column; None appends nothing.
    extrapolation : {"constant", "linear"}, default="constant"
        Continuation outside of the grid.

    References
    ----------
    C. de Boor, A Practical Guide to Splines, 1978, chapter X (the recurrence).
    """

    __module__ = "skkan"

    packing = None  # all functions are in use
    takes_missing = False
    is_piecewise = True

    def __init__(
        self, grid, spline_order=3, *, base_activation=None, extrapolation="constant"
    ):
        super().__init__()
        grid = torch.as_tensor(grid)
        if grid.ndim != 2 or grid.shape[1] < 2:
            raise ValueError(
                "grid must have shape (n_inputs, grid_size + 1) with grid_size >= 1, "
                f"got shape {tuple(grid.shape)}: pass one row of knots per input."
            )
        if not (torch.isfinite(grid).all() and (grid.diff(dim=1) > 0).all()):
            raise ValueError(
                "grid must be finite and strictly increasing along each row: "
                "merge repeated knots, or build it with grid_from_samples."
            )
        if spline_order < 0:
            raise ValueError(
                f"spline_order must be at least 0, got {spline_order}: "
                "it is the polynomial degree, 3 is cubic."
            )
        if extrapolation not in EXTRAPOLATIONS:
            raise ValueError(
                f"extrapolation must be one of {EXTRAPOLATIONS}, got {extrapolation!r}."
            )
        if base_activation is not None and base_activation not in BASE_ACTIVATIONS:
            raise ValueError(
                f"base_activation must be one of {sorted(BASE_ACTIVATIONS)} or None, "
                f"got {base_activation!r}."
            )
        knots = extend_grid(grid, spline_order)
        if not torch.isfinite(knots).all():
            raise ValueError(
                f"The grid extended by {spline_order} steps exceeds the largest "
                "floating-point number: scale the input first."
            )
        self.spline_order = spline_order
        self.base_activation = base_activation
        self.extrapolation = extrapolation
        self.n_inputs, self.grid_size = len(grid), grid.shape[1] - 1
        self.n_splines = self.grid_size + spline_order
        self.n_functions = self.n_splines + (base_activation is not None)
        self.register_buffer("knots", knots)
        no_categories = torch.zeros(len(grid), dtype=torch.long, device=grid.device)
        self._register_inputs(no_categories, no_categories > 0, persistent=False)
        self._forget_knots()

    def _forget_knots(self):
        self._last_state = _state_of(self.knots)
        # Functions of degree 0 and slopes of degree 1 jump at the knots themselves.
        self._is_uniform = self.spline_order > 1 and _is_uniform(self.knots)
        self._evaluator = self._pieces = None  # made when they are needed

    def _load_from_state_dict(self, *args, **kwargs):
        super()._load_from_state_dict(*args, **kwargs)
        self._forget_knots()  # which may be others

    def __getstate__(self):
        # What is derived from the knots is made anew, as copies count no changes.
        derived = "_last_state", "_evaluator", "_pieces"
        return super().__getstate__() | dict.fromkeys(derived)

    def _follow_knots(self):
        """Forget what was derived from knots that are others now, or have changed."""
        before, n_changes_before = self._last_state or (None, None)
        knots, n_changes = _state_of(self.knots)
        if before is not knots or n_changes_before != n_changes:
            self._forget_knots()

    @property
    def is_uniform(self):
        """Whether the splines are the same on all intervals."""
        self._follow_knots()
        return self._is_uniform

    @property
    def evaluator(self):
        """Evaluation by numpy, for knots on the CPU, `SplineEvaluator`."""
        self._follow_knots()
        if self._evaluator is None:
            self._evaluator = SplineEvaluator(self)
        return self._evaluator

    @property
    def _polynomials(self):
        """Polynomials of the splines on each interval; see `spline_polynomials`."""
        self._follow_knots()
        if self._pieces is None:
            self._pieces = spline_polynomials(self.knots, self.spline_order)
        return self._pieces

    @property
    def grid(self):
        """Knots without their extension, Tensor of shape (n_inputs, grid_size + 1)."""
        return self.knots[:, self.spline_order : self.spline_order + self.grid_size + 1]

    @property
    def splines(self):
        """The basis itself, since all inputs are numbers."""
        return self

    def coefficients(self, weight):
        return weight[..., : self.n_splines]

    def of_inputs(self, inputs):
        return self.with_grid(self.grid[inputs])

    def with_grid(self, grid):
        return BSplineBasis(
            grid,
            self.spline_order,
            base_activation=self.base_activation,
            extrapolation=self.extrapolation,
        )

    def with_grids_of(self, x, **settings):
        return self.with_grid(grid_from_samples(x, self.grid_size, **settings))

    def resized(self, grid_size):
        position = torch.arange(grid_size + 1, device=self.knots.device)
        position = position * self.grid_size  # in units of 1 / grid_size
        left = (position // grid_size).clamp(max=self.grid_size - 1)
        fraction = (position - left * grid_size).to(self.knots) / grid_size
        grid = self.grid
        return self.with_grid(torch.lerp(grid[:, left], grid[:, left + 1], fraction))

    def values_and_derivatives(self, x, *, with_derivatives=True):
        x = x.detach()
        if self._is_fast(x):
            values, slopes = self.evaluator.features(x.numpy(), with_derivatives)
            values = torch.from_numpy(values)
            return values, slopes if slopes is None else torch.from_numpy(slopes)
        if with_derivatives:
            return tuple(self._by_torch(x, 0, 1))
        return *self._by_torch(x, 0), None

    def higher_derivatives(self, x, order):
        x = x.detach()
        if not self._is_fast(x):
            return tuple(self._by_torch(x, order, order + 1))
        pair = self.evaluator.higher_derivatives(x.numpy(), order)
        return tuple(map(torch.from_numpy, pair))

    def recorded_values(self, x):
        pieces = spline_polynomials(self.knots, self.spline_order)
        return derivatives_by_torch(self, pieces, x, 0)[0]

    def _is_fast(self, x):
        """Whether the evaluator by numpy takes these samples."""
        knots = self.knots
        is_fast = x.is_cpu and knots.is_cpu and x.dtype == knots.dtype
        return is_fast and x.dtype in FAST_DTYPES and x.numel() > 0

    def _by_torch(self, x, *orders):
        """See `derivatives_by_torch`."""
        return derivatives_by_torch(self, self._polynomials, x, *orders)

    def transfer_matrix(self, new, *, scale=1.0, shift=0.0):
        """Coefficients on a new grid of every function of this basis.

        Each function, with its continuation and less the new base function, is
        projected onto the splines of the new grid by least squares at dense points of
        that grid; no data is involved. The projection is exact when the new grid
        contains the present one. Where it reaches farther, too, curves are kept exactly
        in the present range, and as far as they can be beyond it. The new basis may
        measure its inputs in other units.

        Parameters
        ----------
        new : BSplineBasis
            Basis of the same degree, base function and number of inputs.
        scale, shift : float or Tensor of shape (n_inputs,), default=1.0, 0.0
            An input x of the new basis is the input scale x + shift of this one.

        Returns
        -------
        Tensor of shape (n_inputs, new.n_functions, n_functions)
            Maps old coefficients to new ones; the base weight is kept.
        """
        points = new._dense_points()
        design, _ = new.values_and_derivatives(points, with_derivatives=False)
        points = scale * points + shift
        target, _ = self.values_and_derivatives(points, with_derivatives=False)
        if self.base_activation is not None:
            target[..., -1] -= design[..., -1]
            design = design[..., :-1]
        design, target = design.transpose(0, 1), target.transpose(0, 1)
        if self._is_part_of(new):
            within = (points > self.grid[:, 0]) & (points < self.grid[:, -1])
            splines = _interval_by_interval(
                design, target, within.T, new.spline_order, new.grid_size
            )
        else:
            splines = _least_squares(design, target)
        if self.base_activation is None:
            return splines
        keep = splines.new_zeros(self.n_inputs, 1, self.n_functions)
        keep[..., -1] = 1
        return torch.cat([splines, keep], dim=1)

    def to_arrays(self):
        return {
            "inputs": None,
            "grid": self.grid.cpu().numpy().copy(),
            "spline_order": self.spline_order,
            "base_activation": self.base_activation,
            "extrapolation": self.extrapolation,
        }

    def _is_part_of(self, new):
        """Whether another grid has all knots of this one, and reaches farther."""
        old, new = self.grid.contiguous(), new.grid.contiguous()
        farther = (new[:, 0] < old[:, 0]) | (new[:, -1] > old[:, -1])
        if not farther.any():
            return False
        position = torch.searchsorted(new, old).clamp(max=new.shape[1] - 1)
        return torch.equal(new.gather(1, position), old)

    def _dense_points(self):
        """Equidistant interior points of every interval, (n_points, n_inputs)."""
        n_points = POINTS_PER_DEGREE * (self.spline_order + 1)
        fraction = (torch.arange(n_points).to(self.knots) + 0.5) / n_points
        start, width = self.grid[:, :-1], self.grid.diff(dim=1)
        points = start.unsqueeze(-1) + width.unsqueeze(-1) * fraction
        return points.flatten(1).T.contiguous()


def _state_of(tensor):
    """The tensor, and the number of changes in place where torch counts them."""
    return tensor, None if tensor.is_inference() else tensor._version


def _is_uniform(knots):
    """Whether the knots of every row are equidistant up to rounding."""
    n_steps = knots.shape[1] - 1
    width = knots[:, -1:] - knots[:, :1]
    expected = knots[:, :1] + width * (torch.arange(n_steps + 1).to(knots) / n_steps)
    rounding = torch.finfo(knots.dtype).eps * width
    return bool(((knots - expected).abs() <= MAX_UNIFORM_ROUNDINGS * rounding).all())


def _least_squares(design, target):
    """Least squares of each batch element by QR.

    The columns are brought to unit length first: the outermost splines have only a
    tail inside of the grid and would look dependent otherwise.
    """
    length = torch.linalg.vector_norm(design, dim=-2)
    q, r = torch.linalg.qr(design / length.unsqueeze(-2))
    solution = torch.linalg.solve_triangular(r, q.mT @ target, upper=True)
    return solution / length.unsqueeze(-1)


def _interval_by_interval(design, target, within, spline_order, grid_size):
    """Least squares at the points of one interval for each coefficient.

    A coefficient is found on that interval of its spline's support where the spline is
    largest, if possible on one within the range where the target is a spline. There it
    is exact, and what lies beyond has no influence.

    Parameters
    ----------
    design : Tensor of shape (n_inputs, n_points, n_splines)
        Values of the splines at as many points in every interval.
    target : Tensor of shape (n_inputs, n_points, n_functions)
    within : Tensor of bool of shape (n_inputs, n_points)
        Whether a point is within that range.
    spline_order, grid_size : int

    Returns
    -------
    Tensor of shape (n_inputs, n_splines, n_functions)
    """
    n_inputs, n_points, n_splines = design.shape
    n_local, n_each = spline_order + 1, n_points // grid_size
    interval = torch.arange(grid_size, device=design.device).unsqueeze(1)
    own = interval + torch.arange(n_local, device=design.device)
    design = design.view(n_inputs, grid_size, n_each, n_splines).gather(
        3, own.unsqueeze(1).expand(n_inputs, -1, n_each, -1)
    )
    target = target.reshape(n_inputs, grid_size, n_each, -1)
    within = within.reshape(n_inputs, grid_size, n_each)[..., :1]
    # No value of a spline exceeds one, so that those within come first.
    size = torch.linalg.vector_norm(design, dim=2) + 2 * n_each * within
    solution = _least_squares(design, target)
    sizes = size.new_full((n_inputs, n_splines, n_local), -1.0)
    sizes[:, own, torch.arange(n_local)] = size
    local = sizes.argmax(2)
    interval = torch.arange(n_splines, device=design.device) - local
    return solution[torch.arange(n_inputs).unsqueeze(1), interval, local]
