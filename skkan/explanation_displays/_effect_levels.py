"""Levels of a feature: its categories, or the values of a number that has few.

Tells which of them have room, which rows have them, and their names and weights.
"""

import numpy as np

from skkan.drawing._category_bars import name_height
from skkan.drawing._labels import category_name, level_names

MAX_BUNDLE = 6  # of a bundle; more cross too often to be read


def shown_levels(effect, place, n_points):
    """Positions of the levels for whose names there is room, and a remark on others."""
    n_levels = len(effect.grid[place])
    room = max(2, int(n_points / name_height()))
    # The names of numbers are in order, so that some of them tell the others.
    if not effect.is_categorical[place] or n_levels <= room:
        return np.arange(n_levels), ""
    weights = weights_of_levels(effect, place)
    most = np.argsort(-weights, kind="stable")[:room]
    # The grid of a pair does not hold all categories.
    of_all = f" of {n_levels}" if len(effect.grid) == 1 else ""
    return np.sort(most), f"{room} most frequent{of_all}"


def level_of_rows(effect, place):
    """Position in the grid of each row's level; -1 where it is missing or unknown."""
    own, grid = effect.rows[:, place], effect.grid[place]
    if effect.is_categorical[place]:  # whose codes are positions
        return np.where(own < len(grid), own, -1).astype(int)
    position = np.searchsorted(grid, own).clip(max=len(grid) - 1)
    return np.where(grid[position] == own, position, -1)


def names_of_levels(effect, place):
    grid = effect.grid[place]
    if not effect.is_categorical[place]:
        return np.array(level_names(grid))
    return np.array([category_name(category) for category in grid])


def weights_of_levels(effect, place):
    level = level_of_rows(effect, place)
    known, n_levels = level >= 0, len(effect.grid[place])
    return np.bincount(level[known], effect.sample_weight[known], n_levels)
