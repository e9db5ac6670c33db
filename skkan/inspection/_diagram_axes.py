"""Axes of a diagram: room for its names and its note, and what is left for boxes."""

import numpy as np

from skkan.inspection._diagram_layout import BOX_WIDTH

# Inches of a row and of a layer in a new figure.
ROW_HEIGHT, LAYER_WIDTH = 0.48, 2.3
MIN_FIGURE = 3.5, 1.5  # inches
NOTE_HEIGHT = 0.35  # inches
NAME_LETTER_WIDTH = 0.57  # in units of the font size, a mean over usual names
NODE_RADIUS = 7.0  # points, of a node with a sum
# Inches: height of a node with its name above it, and of a line of a name.
NODE_HEIGHT, NAME_LINE_HEIGHT = 0.375, 0.145


def prepared_axes(ax, layout, labels):
    """Axes with room for the names and for the note, and the font size of the names."""
    import matplotlib.pyplot as plt

    font_size = 0.9 * plt.rcParams["font.size"]
    n_layers, n_rows = layout.n_levels - 1, layout.n_rows
    left, right = (_label_inches(labels, level, font_size) for level in (0, n_layers))
    if ax is None:
        size = n_layers * LAYER_WIDTH + left + right, n_rows * ROW_HEIGHT + NOTE_HEIGHT
        figure = plt.figure(figsize=np.maximum(size, MIN_FIGURE))
        ax = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    width, height = inches_of(ax)
    row = (height - NOTE_HEIGHT) / n_rows
    n_lines = max(label.count("\n") + 1 for label in labels.values())
    room = row * layout.narrowest / (NAME_LINE_HEIGHT * n_lines)
    # Names get at most two thirds of narrow axes.
    scale = min(1.0, room, width * 2 / 3 / (left + right))
    layer = (width - scale * (left + right)) / n_layers
    ax.set_xlim(-scale * left / layer, n_layers + scale * right / layer)
    ax.set_ylim(n_rows + NOTE_HEIGHT / row, 0)
    ax.set_axis_off()
    return ax, scale * font_size


def inches_of(ax):
    """Width and height of an axes."""
    return ax.bbox.size / ax.figure.dpi


def _label_inches(labels, level, font_size):
    """Width of the names of a level and of the nodes beside them."""
    longest = max(
        len(line)
        for node, label in labels.items()
        if node[0] == level
        for line in label.split("\n")
    )
    return (longest * NAME_LETTER_WIDTH * font_size + 2 * NODE_RADIUS + 6) / 72


def unit_inches(ax):
    """Distance of two layers and height of a row."""
    return inches_of(ax) / np.abs([np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())])


def box_height(ax):
    """Height of a box in rows: 0.8, or less, so that it is no taller than wide."""
    layer, row = unit_inches(ax)
    return min(0.8, 0.9 * BOX_WIDTH * layer / row)
