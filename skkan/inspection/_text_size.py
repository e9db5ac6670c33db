"""Sizes of letters, ticks and labels that fit small axes.

A layout engine makes room for labels. Without one labels have the space between their
axes and the next axes, or the border of the figure. Lengths are in points.
"""

from dataclasses import dataclass, replace
from textwrap import fill

import numpy as np

# Width and height of a letter in units of the font size.
LETTER_WIDTH, LINE_HEIGHT = 0.6, 1.2
# Width and height of axes from which letters have their usual size.
USUAL_SIZE = 130.0, 90.0
MIN_FONT_SIZE = 6.0  # smaller letters cannot be read
# A tick with the gap to its label, and the gap between labels.
TICK_LENGTH, LABEL_PAD = 7.0, 4.0
MAX_TICK_STEPS = 9


@dataclass(frozen=True)
class AxesSpace:
    """Space in and around axes.

    Attributes
    ----------
    width, height : float
        Size of the axes.
    left, below : float
        Distance to the next axes; infinite under a layout engine.
    scale : float
        Size of letters and ticks; 1 where the usual ones have room.
    """

    width: float
    height: float
    left: float
    below: float
    scale: float

    @classmethod
    def around_all(cls, axes):
        """Spaces of axes that shall look alike: all get the least of theirs."""
        rooms = [cls.around(ax) for ax in axes]
        scale, below = min(r.scale for r in rooms), min(r.below for r in rooms)
        return [replace(room, scale=scale, below=below) for room in rooms]

    @classmethod
    def around(cls, ax):
        """Space of axes in their figure, between its other axes."""
        from matplotlib import rcParams

        figure, point = ax.figure, 72 / ax.figure.dpi
        width, height = ax.bbox.size * point
        scale = min(1.0, width / USUAL_SIZE[0], height / USUAL_SIZE[1])
        scale = max(scale, min(1.0, MIN_FONT_SIZE / rcParams["font.size"]))
        if figure.get_layout_engine() is not None:
            return cls(width, height, np.inf, np.inf, scale)
        left, below = _gaps(ax)
        return cls(width, height, left * point, below * point, scale)

    @property
    def letter(self):
        """Font size of ordinary text."""
        from matplotlib import rcParams

        return self.scale * rcParams["font.size"]

    def n_letters(self, length):
        """Number of letters on a line of a length."""
        return max(3, int(length / (LETTER_WIDTH * self.letter)))

    def shrink(self, ax):
        """Shrink ticks and labels of small axes."""
        if self.scale < 1:
            for axis in (ax.xaxis, ax.yaxis):
                axis.label.set_fontsize(self.letter)
                axis.labelpad = LABEL_PAD * self.scale
                ticks = dict.fromkeys(("length", "pad"), self.scale * TICK_LENGTH / 2)
                axis.set_tick_params(labelsize=self.letter, **ticks)

    def thin_ticks(self, ax):
        """Set as many ticks of x as have room for their labels."""
        from matplotlib.ticker import MaxNLocator

        for n_steps in range(MAX_TICK_STEPS, 0, -1):
            steps = {"steps": [1, 2, 2.5, 5, 10], "min_n_ticks": min(2, n_steps)}
            ax.xaxis.set_major_locator(MaxNLocator(n_steps, **steps))
            labels = _tick_labels(ax.xaxis, *ax.get_xlim())
            n_letters = len(labels) * (1 + max(map(len, labels), default=0))
            if n_letters <= self.n_letters(self.width):
                break

    def ticks_of_y(self, ax):
        """Width of the ticks of y and their labels."""
        longest = max(map(len, _tick_labels(ax.yaxis, *ax.get_ylim())), default=0)
        return TICK_LENGTH * self.scale + LETTER_WIDTH * self.letter * longest

    def label_beside(self, ax, *texts):
        """First of several labels of y that fits beside the ticks, or an empty one."""
        room = self.left - self.ticks_of_y(ax) - 2 * LABEL_PAD * self.scale
        return self._first_fitting(texts, room)

    def label_below(self, text):
        """Label of x that fits below the ticks, or an empty one."""
        used = (TICK_LENGTH + LABEL_PAD) * self.scale + LINE_HEIGHT * self.letter
        n_letters = min(
            30, self.n_letters(1.25 * self.width)
        )  # labels may be wider than the axes
        texts = (shortened(text, n_lines * n_letters) for n_lines in (3, 1))
        wrapped = (fill(text, n_letters) for text in texts)
        return self._first_fitting(wrapped, self.below - used)

    def _first_fitting(self, texts, room):
        return next((text for text in texts if self._lines(text) <= room), "")

    def _lines(self, text):
        return LINE_HEIGHT * self.letter * (1 + text.count("\n"))


def shortened(text, n_letters):
    """A text of at most `n_letters` letters; a longer one loses its middle."""
    if len(text) <= n_letters:
        return text
    end = (n_letters - 1) // 2
    return f"{text[: n_letters - 1 - end]}…{text[len(text) - end :]}"


def follows(ax, before):
    """Whether axes stand to the right of others in the same row."""
    same_row = np.allclose(ax.bbox.intervaly, before.bbox.intervaly, atol=1)  # pixel
    return bool(same_row and ax.bbox.x0 > before.bbox.x0)


def _gaps(ax):
    """Free pixels to the left of axes and below them."""
    box, whole = ax.bbox, ax.figure.bbox
    others = [other.bbox for other in ax.figure.axes if other.axison]
    beside = [
        other.x1
        for other in others
        if other.x1 <= box.x0 and other.y0 < box.y1 and box.y0 < other.y1
    ]
    under = [
        other.y1
        for other in others
        if other.y1 <= box.y0 and other.x0 < box.x1 and box.x0 < other.x1
    ]
    left = box.x0 - max(beside, default=whole.x0)
    return left, box.y0 - max(under, default=whole.y0)


def _tick_labels(axis, low, high):
    ticks = axis.get_majorticklocs()
    shown = ticks[(low <= ticks) & (ticks <= high)]
    return axis.get_major_formatter().format_ticks(shown)
