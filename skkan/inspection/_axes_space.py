"""Letters, ticks and labels that fit the size of their axes.

A layout engine makes the room that labels need. Without one they have what lies between
their axes and the next, or the border of the figure. Lengths are in points.
"""

from dataclasses import dataclass, replace
from textwrap import fill

import numpy as np

CHARACTER, LINE = 0.6, 1.2  # width and height of a letter in units of the font size
USUAL = (130.0, 90.0)  # width and height of axes from which letters are of usual size
LEAST_SIZE = 6.0  # of letters that are still read
TICK, PAD = 7.0, 4.0  # a tick with its distance from its label, label from label
MOST_TICKS = 9
ALIKE = ("scale", "below")  # what panels of one display have in common


@dataclass(frozen=True)
class Room:
    """What there is in and around axes.

    Attributes
    ----------
    width, height : float
        Of the axes.
    left, below : float
        As far as the next axes; infinite under a layout engine.
    scale : float
        Of letters and ticks, 1 where there is room for the usual ones.
    """

    width: float
    height: float
    left: float
    below: float
    scale: float

    @classmethod
    def around_all(cls, axes):
        """Rooms of axes that are to look alike: the scantest is that of all."""
        rooms = [cls.around(ax) for ax in axes]
        scale, below = (min(getattr(r, name) for r in rooms) for name in ALIKE)
        return [replace(room, scale=scale, below=below) for room in rooms]

    @classmethod
    def around(cls, ax):
        """Room of axes in the figure that they stand in, with all its axes."""
        from matplotlib import rcParams

        figure, point = ax.figure, 72 / ax.figure.dpi
        width, height = ax.bbox.size * point
        scale = min(1.0, width / USUAL[0], height / USUAL[1])
        scale = max(scale, min(1.0, LEAST_SIZE / rcParams["font.size"]))
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
        """How many letters a line of a length holds."""
        return max(3, int(length / (CHARACTER * self.letter)))

    def shrink(self, ax):
        """Give ticks and labels of the axes their size, if it is not the usual one."""
        if self.scale < 1:
            for axis in (ax.xaxis, ax.yaxis):
                axis.label.set_fontsize(self.letter)
                axis.labelpad = PAD * self.scale
                ticks = dict.fromkeys(("length", "pad"), self.scale * TICK / 2)
                axis.set_tick_params(labelsize=self.letter, **ticks)

    def thin_ticks(self, ax):
        """Give the axes as many ticks of x as their labels have room."""
        from matplotlib.ticker import MaxNLocator

        for n_steps in range(MOST_TICKS, 0, -1):
            steps = {"steps": [1, 2, 2.5, 5, 10], "min_n_ticks": min(2, n_steps)}
            ax.xaxis.set_major_locator(MaxNLocator(n_steps, **steps))
            labels = _tick_labels(ax.xaxis, *ax.get_xlim())
            n_letters = len(labels) * (1 + max(map(len, labels), default=0))
            if n_letters <= self.n_letters(self.width):
                break

    def ticks_of_y(self, ax):
        """Width of the ticks of y with their labels."""
        longest = max(map(len, _tick_labels(ax.yaxis, *ax.get_ylim())), default=0)
        return TICK * self.scale + CHARACTER * self.letter * longest

    def label_beside(self, ax, *texts):
        """The first of several labels of y that fits beside the ticks, or none."""
        room = self.left - self.ticks_of_y(ax) - 2 * PAD * self.scale
        return self._first_fitting(texts, room)

    def label_below(self, text):
        """A label of x, as long as fits below the ticks, or none."""
        used = (TICK + PAD) * self.scale + LINE * self.letter
        n_letters = min(30, self.n_letters(1.25 * self.width))  # some beside the axes
        texts = (shortened(text, n_lines * n_letters) for n_lines in (3, 1))
        wrapped = (fill(text, n_letters) for text in texts)
        return self._first_fitting(wrapped, self.below - used)

    def _first_fitting(self, texts, room):
        return next((text for text in texts if self._lines(text) <= room), "")

    def _lines(self, text):
        return LINE * self.letter * (1 + text.count("\n"))


def shortened(text, n_letters):
    """A text of so many letters at most, without its middle if it is longer."""
    if len(text) <= n_letters:
        return text
    end = (n_letters - 1) // 2
    return f"{text[: n_letters - 1 - end]}…{text[len(text) - end :]}"


def follows(ax, before):
    """Whether axes stand to the right of others, in one row with them."""
    same_row = np.allclose(ax.bbox.intervaly, before.bbox.intervaly, atol=1)  # pixel
    return bool(same_row and ax.bbox.x0 > before.bbox.x0)


def _gaps(ax):
    """Pixels to the left of axes and below them."""
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
