"""LossCurveDisplay: the loss in each iteration of a fit, or along its search."""

from textwrap import fill
from typing import NamedTuple

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan.drawing._panels import check_single_axes, foreground
from skkan.estimators._base import fitted_model_of
from skkan.selection._search_space import WITHOUT_SEARCH

# Ratio of the largest to the smallest loss from which the scale is log.
LOG_SCALE_RATIO = 10.0
N_LETTERS = 59  # small ones that stand side by side in axes of matplotlib's usual width
TITLE_LETTERS = 60  # of a line of the title, in such axes
# Height of an entry of the legend, as a share of the height of such axes.
LEGEND_ENTRY, LEGEND_FRAME, MAX_LEGEND = 0.065, 0.04, 0.6
STAR_PLACE = 0.97  # of the width, where a candidate has no place on the axis
COURSES = ("auto", "search", "iterations")


class LossCurveDisplay:
    """Loss over the iterations of a fit, or of the candidates of its search.

    The iterations are those of the last training, with the ends of its grid stages. If
    the data have chosen the structure, the figure shows how: the loss on rows that were
    held out, for networks along a path of falling penalties, and dashed for those whose
    penalty was learnt. Stars mark the candidates that were chosen, and the title tells
    their shares in the prediction.

    Use `from_estimator` to make one.

    Parameters
    ----------
    loss_curve : list of float
        Training loss after each iteration, penalties included.
    validation_loss_curve : list of float, default=None
        Validation loss after each iteration, without penalties.
    stage_ends : list of int, default=()
        Number of iterations at the end of each grid stage.
    grid_sizes : list of int, default=None
        Grid size of each stage; None writes none.
    search_results : dict, default=None
        See the estimators' `search_results_`; None if there was no search.

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    line_ : Line2D or None
        The training loss; None if the search is drawn, like the next ones.
    validation_line_ : Line2D or None
    stage_lines_ : list of Line2D
        Each stands where a stage ended and the next began.
    stage_labels_ : list of Text
        Grid sizes of the stages, empty where a stage is too short for the text.
    search_lines_ : list of Line2D
        Validation losses of the search, those of one path or one candidate each.
    chosen_ : list of Line2D
        Stars at the chosen candidates.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import LossCurveDisplay
    >>> X, y = make_friedman1(200, n_features=5, random_state=0)
    >>> model = KANRegressor((), grid_schedule=(10,), random_state=0).fit(X, y)
    >>> display = LossCurveDisplay.from_estimator(model)
    >>> [text.get_text() for text in display.stage_labels_]
    ['grid 5', 'grid 10']
    """

    __module__ = "skkan.inspection"

    def __init__(
        self,
        loss_curve,
        *,
        validation_loss_curve=None,
        stage_ends=(),
        grid_sizes=None,
        search_results=None,
    ):
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.stage_ends = stage_ends
        self.grid_sizes = grid_sizes
        self.search_results = search_results

    @classmethod
    def from_estimator(cls, estimator, **kwargs):
        """Draw the losses of a fitted estimator.

        Parameters
        ----------
        estimator : KANRegressor or KANClassifier
            Fitted.
        **kwargs
            Passed on to `plot`.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        TypeError
            If the estimator is not one of skkan.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        fitted_model_of(estimator)
        schedule = estimator.grid_schedule
        first = estimator.grid_size
        if first == "auto":
            first = WITHOUT_SEARCH.grid_size
        sizes = [first, *([] if schedule is None else schedule)]
        # A warm start skips stages, and does not tell which.
        known = len(sizes) == len(estimator.stage_ends_)
        display = cls(
            estimator.loss_curve_,
            validation_loss_curve=estimator.validation_loss_curve_,
            stage_ends=estimator.stage_ends_,
            grid_sizes=sizes if known else None,
            search_results=getattr(estimator, "search_results_", None),
        )
        return display.plot(**kwargs)

    def plot(
        self,
        ax=None,
        *,
        course="auto",
        scale="auto",
        validation_kw=None,
        stage_kw=None,
        **kwargs,
    ):
        """Draw the losses.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure.
        course : {"auto", "search", "iterations"}, default="auto"
            What to draw; "auto" draws the search if there was one.
        scale : {"auto", "log", "linear"}, default="auto"
            Scale of the losses; "auto" is "log" if all losses are positive and the
            largest is at least ten times the smallest.
        validation_kw : dict, default=None
            Passed on to `Axes.plot` for the validation loss.
        stage_kw : dict, default=None
            Passed on to `Axes.axvline` for the ends of stages.
        **kwargs
            Passed on to `Axes.plot` for the training loss, or for the search.

        Returns
        -------
        LossCurveDisplay
            The object itself.
        """
        check_single_axes(ax, type(self).__name__)
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if scale not in ("auto", "log", "linear"):
            raise ValueError(f"scale must be 'auto', 'log' or 'linear', got {scale!r}.")
        if course not in COURSES:
            raise ValueError(f"course must be one of {COURSES}, got {course!r}.")
        has_search = self.search_results is not None
        if has_search:  # with something to compare
            has_search = np.isfinite(self.search_results["validation_score"]).any()
        if course == "search" and not has_search:
            raise ValueError(
                "course='search' needs a fit that has compared structures on rows held "
                "out: set hidden_layer_sizes='auto', or draw the iterations."
            )
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        self.line_ = self.validation_line_ = None
        self.stage_lines_, self.stage_labels_ = [], []
        self.search_lines_, self.chosen_ = [], []
        if course == "iterations" or not has_search:
            self._draw_iterations(scale, validation_kw or {}, stage_kw or {}, kwargs)
        else:
            self._draw_search(scale, kwargs)
        return self

    def _draw_iterations(self, scale, validation_kw, stage_kw, kwargs):
        from matplotlib.ticker import MaxNLocator

        ax = self.ax_
        marker = "." if len(self.loss_curve) <= 30 else ""  # so that single points show
        self.line_ = self._draw(
            self.loss_curve,
            **{"label": "training, with penalties", "marker": marker, **kwargs},
        )
        if self.validation_loss_curve is not None:
            self.validation_line_ = self._draw(
                self.validation_loss_curve,
                **{"label": "validation", "marker": marker, **validation_kw},
            )
        curves = [self.loss_curve, self.validation_loss_curve]
        losses = np.concatenate([curve for curve in curves if curve is not None])
        ax.set_yscale(_chosen_scale(losses) if scale == "auto" else scale)
        ax.set(xlabel="iteration", ylabel="loss")
        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        if len(self.loss_curve) == 1:
            ax.set_xlim(0.5, 1.5)  # so that the only tick is an integer
        self._mark_stages(stage_kw)
        ax.legend()

    def _draw(self, curve, **kwargs):
        (line,) = self.ax_.plot(np.arange(1, len(curve) + 1), curve, **kwargs)
        return line

    def _mark_stages(self, stage_kw):
        style = {"color": foreground(), "alpha": 0.5, "linestyle": ":"}
        bounds = [0.5, *(end + 0.5 for end in self.stage_ends)]
        self.stage_lines_ = [
            self.ax_.axvline(end, **{**style, **stage_kw}) for end in bounds[1:-1]
        ]
        if self.grid_sizes is None or len(self.stage_ends) < 2:
            return
        span = bounds[-1] - bounds[0]
        for start, end, size in zip(bounds, bounds[1:], self.grid_sizes, strict=False):
            n_letters = int(N_LETTERS * (end - start) / span)
            texts = (f"grid {size}", f"{size}", "")
            text = self.ax_.text(
                (start + end) / 2,
                1.01,
                next(text for text in texts if len(text) <= n_letters),
                transform=self.ax_.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize="small",
            )
            self.stage_labels_.append(text)

    def _draw_search(self, scale, kwargs):
        ax, paths = self.ax_, _paths(self.search_results)
        losses = np.concatenate([path.loss for path in paths])
        losses = losses[np.isfinite(losses)]
        for number, path in enumerate(paths):
            style = {"color": f"C{number % 10}", "marker": ".", "label": path.name}
            self._draw_path(path, {**style, **kwargs})
        scale = _chosen_scale(losses) if scale == "auto" else scale
        ax.set_yscale(scale)
        if np.isfinite(np.concatenate([path.alpha for path in paths])).any():
            ax.set_xscale("log")
            ax.invert_xaxis()
            ax.set_xlabel("weight of the penalty")
        else:
            ax.set_xticks([])
        ax.set_ylabel("loss on rows held out")
        share = LEGEND_FRAME + LEGEND_ENTRY * len(paths)
        _leave_room_above(ax, losses, share)
        ax.legend(loc="upper right", fontsize="small")
        title = fill(_choice(paths), TITLE_LETTERS)
        ax.set_title(title, fontsize="medium", parse_math=False)

    def _draw_path(self, path, style):
        ax, star = self.ax_, {"marker": "*", "markersize": 14, "linestyle": "none"}
        star |= {"markerfacecolor": style["color"], "markeredgecolor": foreground()}
        star["zorder"] = 4
        chosen = path.weight > 0
        if np.isfinite(path.alpha).all():
            self.search_lines_ += ax.plot(path.alpha, path.loss, **style)
            places, where = path.alpha[chosen], ax.transData
        else:
            line = ax.axhline(path.loss[0], **{"linestyle": "--", **style})
            self.search_lines_.append(line)
            places, where = STAR_PLACE * chosen[chosen], ax.get_yaxis_transform()
        if chosen.any():
            self.chosen_ += ax.plot(places, path.loss[chosen], transform=where, **star)


class _Path(NamedTuple):
    """Candidates of a search under falling penalties, or one of learnt penalty."""

    name: str
    alpha: np.ndarray  # (n_candidates,), NaN where it is learnt
    loss: np.ndarray  # of the rows held out, NaN where there is none
    weight: np.ndarray  # in the prediction
    reason: np.ndarray  # why it has that weight


def _paths(results):
    """The candidates of a search, a list of _Path in the order of their training."""
    loss = -results["validation_score"]
    alpha = np.ma.filled(results["param_alpha"], np.nan).astype(float)
    alpha[alpha == 0] = np.nan  # has no place on a log scale, and no path
    all_sizes, rows, path = results["param_hidden_layer_sizes"], [], []
    for row, sizes in enumerate(all_sizes):
        if path and sizes == all_sizes[path[-1]] and alpha[row] < alpha[path[-1]]:
            path.append(row)
            continue
        rows.append([row])
        if np.isfinite(alpha[row]):
            path = rows[-1]  # others may come between its candidates
    names = [_name(results, own) for own in rows]
    return [
        _Path(
            _distinct(names, number),
            alpha[own],
            loss[own],
            results["weight"][own],
            results["reason"][own],
        )
        for number, own in enumerate(rows)
    ]


def _choice(paths):
    """What was chosen and why, as text."""
    chosen = [
        (weight, path.name, reason)
        for path in paths
        for weight, reason in zip(path.weight, path.reason, strict=True)
        if weight > 0
    ]
    names = [f"{weight:.0%} {name}" for weight, name, _ in sorted(chosen, reverse=True)]
    # Networks with hidden nodes come last; an additive model may be beside them.
    why = chosen[-1][2].split("; ", 1)[-1]
    return f"Chosen: {' and '.join(names)}, since {why}"


def _name(results, rows):
    """Name of the candidates of a path."""
    sizes = results["param_hidden_layer_sizes"][rows[0]]
    n_networks = results["n_networks"][rows].max()
    name = f"network {sizes}" if sizes else "additive model"
    if n_networks > 1:
        name = f"mean of {n_networks} networks {sizes}"
    if np.ma.getmaskarray(results["param_alpha"])[rows[0]]:
        name += ", penalty learnt"
    if np.isnan(results["validation_score"][rows]).all():
        name += ", diverged"
    return name


def _distinct(names, number):
    """A name, with a number if it is there more than once."""
    name = names[number]
    if names.count(name) == 1:
        return name
    return f"{name}, round {names[: number + 1].count(name)}"


def _chosen_scale(losses):
    low, high = np.min(losses), np.max(losses)
    return "log" if low > 0 and high >= LOG_SCALE_RATIO * low else "linear"


def _leave_room_above(ax, losses, share):
    """Set the limits of y such that a share of the height is free above all losses."""
    scale = ax.yaxis.get_transform()
    ends = scale.transform([losses.min(), losses.max()])
    pad = 0.05 * (np.ptp(ends) or 1.0)
    low, high = ends[0] - pad, ends[1] + pad
    high = low + (high - low) / (1 - min(share, MAX_LEGEND))
    ax.set_ylim(scale.inverted().transform([low, high]))
