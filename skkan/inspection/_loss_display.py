"""LossCurveDisplay: the loss in each iteration of a fit."""

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan.estimators._base import fitted_model_of
from skkan.inspection._panels import check_single_axes, foreground
from skkan.selection._search_space import WITHOUT_SEARCH

# Ratio of the largest to the smallest loss from which the scale is log.
LOG_SCALE_RATIO = 10.0
N_LETTERS = 59  # small ones that stand side by side in axes of matplotlib's usual width


class LossCurveDisplay:
    """Loss over the iterations of a fit, with the ends of its grid stages.

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

    Attributes
    ----------
    figure_ : Figure
    ax_ : Axes
    line_ : Line2D
        The training loss.
    validation_line_ : Line2D or None
    stage_lines_ : list of Line2D
        Each stands where a stage ended and the next began.
    stage_labels_ : list of Text
        Grid sizes of the stages, empty where a stage is too short for the text.

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
    ):
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.stage_ends = stage_ends
        self.grid_sizes = grid_sizes

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
        )
        return display.plot(**kwargs)

    def plot(
        self, ax=None, *, scale="auto", validation_kw=None, stage_kw=None, **kwargs
    ):
        """Draw the losses.

        Parameters
        ----------
        ax : Axes, default=None
            None makes a figure.
        scale : {"auto", "log", "linear"}, default="auto"
            Scale of the losses; "auto" is "log" if all losses are positive and the
            largest is at least ten times the smallest.
        validation_kw : dict, default=None
            Passed on to `Axes.plot` for the validation loss.
        stage_kw : dict, default=None
            Passed on to `Axes.axvline` for the ends of stages.
        **kwargs
            Passed on to `Axes.plot` for the training loss.

        Returns
        -------
        LossCurveDisplay
            The object itself.
        """
        check_single_axes(ax, type(self).__name__)
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if scale not in ("auto", "log", "linear"):
            raise ValueError(f"scale must be 'auto', 'log' or 'linear', got {scale!r}.")
        import matplotlib.pyplot as plt
        from matplotlib.ticker import MaxNLocator

        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        marker = "." if len(self.loss_curve) <= 30 else ""  # so that single points show
        self.line_ = self._draw(
            self.loss_curve,
            **{"label": "training, with penalties", "marker": marker, **kwargs},
        )
        self.validation_line_ = None
        if self.validation_loss_curve is not None:
            self.validation_line_ = self._draw(
                self.validation_loss_curve,
                **{"label": "validation", "marker": marker, **(validation_kw or {})},
            )
        ax.set_yscale(self._chosen_scale() if scale == "auto" else scale)
        ax.set(xlabel="iteration", ylabel="loss")
        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        if len(self.loss_curve) == 1:
            ax.set_xlim(0.5, 1.5)  # so that the only tick is an integer
        self._mark_stages(stage_kw or {})
        ax.legend()
        return self

    def _draw(self, curve, **kwargs):
        (line,) = self.ax_.plot(np.arange(1, len(curve) + 1), curve, **kwargs)
        return line

    def _chosen_scale(self):
        losses = np.concatenate([self.loss_curve, self.validation_loss_curve or []])
        low, high = losses.min(), losses.max()
        return "log" if low > 0 and high >= LOG_SCALE_RATIO * low else "linear"

    def _mark_stages(self, stage_kw):
        style = {"color": foreground(), "alpha": 0.5, "linestyle": ":"}
        bounds = [0.5, *(end + 0.5 for end in self.stage_ends)]
        self.stage_lines_ = [
            self.ax_.axvline(end, **{**style, **stage_kw}) for end in bounds[1:-1]
        ]
        self.stage_labels_ = []
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
