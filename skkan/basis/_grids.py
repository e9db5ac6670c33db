"""Grids of knots from samples: uniform, adaptive, or between the two."""

import math
from itertools import pairwise

import torch

# Samples of one distribution exceed the range of others by such a share of it; the
# grids of estimators end at most as far beyond their samples.
CONTINUED_SHARE = 0.05


def extend_grid(grid, n_steps):
    """Grid with `n_steps` steps of (last - first) / grid_size on both sides.

    Parameters
    ----------
    grid : Tensor of shape (n_inputs, grid_size + 1)
    n_steps : int

    Returns
    -------
    Tensor of shape (n_inputs, grid_size + 1 + 2 * n_steps)
    """
    first, last = grid[:, :1], grid[:, -1:]
    step = (last - first) / (grid.shape[1] - 1)
    count = torch.arange(1, n_steps + 1, device=grid.device).to(grid)
    return torch.cat([first - step * count.flip(0), grid, last + step * count], dim=1)


def grid_with_range(grid, low, high, grid_size):
    """Grid that keeps its knots and reaches from low to high.

    Each further knot adds a share 1 / grid_size of the range so far, so that the grid
    is nowhere coarser than a uniform one over the new range. Inputs that need fewer
    knots than others get the rest inside, in the middle of their widest intervals.
    Values that are only a little beyond the ends are left to the continuation.

    Parameters
    ----------
    grid : Tensor of shape (n_inputs, n_intervals + 1)
    low, high : Tensor of shape (n_inputs,)
    grid_size : int
        Number of intervals of a grid that has not been extended.

    Returns
    -------
    Tensor of shape (n_inputs, n_new_intervals + 1)
        The grid itself if it reaches far enough.
    """
    allowed = CONTINUED_SHARE * (grid[:, -1] - grid[:, 0])
    beyond = (low < grid[:, 0] - allowed) | (high > grid[:, -1] + allowed)
    if not beyond.any():
        return grid
    ends = zip(low.tolist(), high.tolist(), allowed.tolist(), strict=True)
    rows = [
        _reaching(knots, *of_input, grid_size)
        for knots, of_input in zip(grid.tolist(), ends, strict=True)
    ]
    n_knots = max(map(len, rows))
    for knots in rows:
        while len(knots) < n_knots:
            widths = [b - a for a, b in pairwise(knots)]
            widest = widths.index(max(widths))
            knots.insert(widest + 1, knots[widest] + widths[widest] / 2)
    return grid.new_tensor(rows)


def grid_of_fewer(grid, n_intervals):
    """Grid without those inner knots that are nearest to their neighbours.

    Parameters
    ----------
    grid : Tensor of shape (n_inputs, n_more_intervals + 1)
    n_intervals : int

    Returns
    -------
    Tensor of shape (n_inputs, n_intervals + 1)
    """
    rows = grid.tolist()
    for knots in rows:
        while len(knots) > n_intervals + 1:
            gaps = [b - a for a, b in zip(knots, knots[2:], strict=False)]
            del knots[gaps.index(min(gaps)) + 1]
    return grid.new_tensor(rows)


def _reaching(knots, low, high, allowed, grid_size):
    """Knots of one input, a list, with further ones until the ends are reached."""
    knots = [*knots]
    if high > knots[-1] + allowed:
        while knots[-1] < high:
            knots.append(knots[-1] + (knots[-1] - knots[0]) / grid_size)
    if low < knots[0] - allowed:
        while knots[0] > low:
            knots.insert(0, knots[0] - (knots[-1] - knots[0]) / grid_size)
    return knots


def grid_from_samples(
    x,
    grid_size,
    *,
    grid_eps=1.0,
    margin=0.0,
    sample_weight=None,
    even_within=math.inf,
):
    """Grid of each input column: grid_eps * uniform + (1 - grid_eps) * adaptive.

    The uniform grid divides the range of the samples, the adaptive one goes through
    their quantiles (equal weight in every interval; tied quantiles are spread evenly
    up to the next distinct one). A column without a range gets one of its own
    magnitude, at least 1 to both sides.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_inputs)
        Finite samples.
    grid_size : int
        Number of intervals.
    grid_eps : float, default=1.0
        1 is uniform, 0 is adaptive.
    margin : float, default=0.0
        Widening at both ends, as a fraction of the range.
    sample_weight : Tensor of shape (n_samples,), default=None
        Positive weights, which count as repetitions; None is one each.
    even_within : float, default=inf
        Distance from zero beyond which logarithms of distances take the place of
        distances, so that the uniform grid becomes wider where tails are long.

    Returns
    -------
    Tensor of shape (n_inputs, grid_size + 1)
        Finite and strictly increasing along each row.

    References
    ----------
    Z. Liu et al., KAN: Kolmogorov-Arnold Networks, 2024, section 2.2 and the
    accompanying implementation (the rule of the two grids).
    """
    is_compressed = even_within < math.inf
    if is_compressed:
        x = _compressed(x, even_within)
    low, high, resolution = _ranges(x.amin(0), x.amax(0), grid_size, margin)
    step = (high - low).unsqueeze(1) / grid_size
    count = torch.arange(grid_size + 1, device=x.device).to(x)
    grid = low.unsqueeze(1) + step * count
    if grid_eps < 1:
        if sample_weight is None:
            sample_weight = x.new_ones(x.shape[0])
        adaptive = _grid_quantiles(x, grid_size, sample_weight)
        adaptive[:, 0], adaptive[:, -1] = low, high
        adaptive = _spread_ties(adaptive.clamp(low[:, None], high[:, None]), resolution)
        grid = grid_eps * grid + (1 - grid_eps) * adaptive
    grid[:, 0], grid[:, -1] = low, high
    return _stretched(grid, even_within) if is_compressed else grid


def _compressed(x, even_within):
    """Distances from zero that grow as their logarithms from some distance on."""
    size = x.abs().clamp(min=even_within) / even_within
    return torch.where(size > 1, x.sign() * even_within * (1 + size.log()), x)


def _stretched(x, even_within):
    """The inverse of `_compressed`."""
    size = x.abs().clamp(min=even_within) / even_within
    return torch.where(size > 1, x.sign() * even_within * (size - 1).exp(), x)


def _grid_quantiles(x, grid_size, sample_weight):
    """Quantiles of each column, (n_inputs, grid_size + 1), extremes included."""
    ordered, order = x.T.sort(dim=1)
    # Sample number p of the repeated, sorted column is the first whose cumulative
    # weight exceeds p.
    cumulative = sample_weight[order].cumsum(1)
    share = torch.arange(grid_size, device=x.device).to(x) / grid_size
    # A cumulative weight that equals a share up to rounding does not exceed it.
    share = cumulative[:, -1:] * share * (1 + 1e-10)
    index = torch.searchsorted(cumulative, share, right=True).clamp(max=len(x) - 1)
    return torch.cat([ordered.gather(1, index), ordered[:, -1:]], dim=1)


def _ranges(low, high, grid_size, margin):
    """Ends of each grid, and the distance below which knots count as tied."""
    magnitude = torch.maximum(low.abs(), high.abs())
    # Room for 2^8 representable numbers, or for all knots with 4 to each, so that they
    # stay apart after rounding when they are spread; one over it must be finite, too.
    limits = torch.finfo(low.dtype)
    resolution = max(2.0**8, 4.0 * grid_size) * limits.eps * magnitude
    resolution = resolution.clamp(min=2.0**8 * limits.tiny)
    flat = high - low <= grid_size * resolution
    half = torch.where(flat, magnitude.clamp(min=1.0), margin * (high - low))
    low, high = low - half, high + half
    if not torch.isfinite(high - low).all():
        raise ValueError(
            "The range of the samples exceeds the largest floating-point number: "
            "scale the input first."
        )
    return low, high, torch.where(flat, 2 * half * 1e-9, resolution)


def _spread_ties(knots, resolution):
    """Spread runs of tied knots evenly up to the next distinct knot.

    Every knot that stands clear of the one before it, and the last one, is kept.
    """
    n_knots = knots.shape[1]
    clear = knots.diff(dim=1) > resolution.unsqueeze(1)
    if clear.all():
        return knots
    position = torch.arange(n_knots, device=knots.device)
    below_last = knots[:, -1:] - knots[:, 1:-1] > resolution.unsqueeze(1)
    kept = torch.ones_like(knots, dtype=torch.bool)
    kept[:, 1:-1] = clear[:, :-1] & below_last
    before = torch.where(kept, position, 0).cummax(1).values
    after = torch.where(kept, position, n_knots - 1).flip(1).cummin(1).values.flip(1)
    fraction = (position - before).to(knots) / (after - before).clamp(min=1)
    return torch.lerp(knots.gather(1, before), knots.gather(1, after), fraction)


def grid_of_known(x, grid_size, *, sample_weight, **settings):
    """`grid_from_samples` of the cells that are not missing.

    An input without any has the grid of zeros.
    """
    missing = x.isnan()
    incomplete = missing.any(0)
    if not incomplete.any():
        return grid_from_samples(x, grid_size, sample_weight=sample_weight, **settings)
    grid = x.new_empty(x.shape[1], grid_size + 1)
    complete = ~incomplete
    if complete.any():
        grid[complete] = grid_from_samples(
            x[:, complete], grid_size, sample_weight=sample_weight, **settings
        )
    for column in incomplete.nonzero().flatten().tolist():
        known = ~missing[:, column]
        values, weight = x[known, column], sample_weight[known]
        if not len(values):
            values, weight = x.new_zeros(1), x.new_ones(1)
        grid[column] = grid_from_samples(
            values.unsqueeze(1), grid_size, sample_weight=weight, **settings
        )[0]
    return grid
