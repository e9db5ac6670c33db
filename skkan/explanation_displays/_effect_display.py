"""EffectDisplay: what a fitted model has learnt of its features."""

from inspect import signature
from numbers import Real
from textwrap import fill

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from skkan.drawing._labels import percent, short_number, shortened, wrapped
from skkan.drawing._panels import (
    CURVE_FLOOR,
    MISSING_FLOOR,
    NOTE_SIZE,
    check_count,
    check_numbers,
    check_single_axes,
    enlarge,
    leave_floor,
    panel_axes,
)
from skkan.explanation_displays._effect_panels import OutputUnits, draw_main
from skkan.explanation_displays._largest_effects import (
    EFFECT_NAME_LETTERS,
    TIMES,
    effect_name,
    largest_effects,
    note_on_rest,
)
from skkan.explanation_displays._names_and_units import (
    RESPONSES_OF_CLASSES,
    NamesAndUnits,
)
from skkan.explanation_displays._pair_panels import (
    axis_of_bundle,
    draw_pair,
    has_curve_without_rows,
    map_reach,
)
from skkan.explanations._effects import Effects
from skkan.explanations._effects import effects as effects_of

MIN_SHARE = 1e-3  # of the variance, what panels show
PANEL_TITLE_LINE = 26  # letters
FOOT_MARGIN, MIN_FOOT_LETTERS = 1.0, 40  # inches; of a line
FOOT_LETTER, FOOT_LINE = 0.57, 0.16  # of the size, a mean over usual texts; inches
OUTPUT_LINE, OUTPUT_ENTRY = 0.19, (0.5, 0.075)  # inches: of an entry, and of a letter
OUTPUT_LETTERS = 20
TITLE_PAD, LEGEND_PAD = 6.0, 10.5  # points: above a panel, and of a line of its legend


class EffectDisplay:
    """The most important effects of a fitted model, in the order of their shares.

    An effect tells how the raw output differs from its mean where a feature is set, see
    `effects`. Numbers are drawn as curves above the density of the rows. Categories,
    and numbers of few values, are bars. A mark on the right shows the effect of a
    missing cell. What two features add by acting together is a heat map, with the rows
    as points, or a bundle of curves if one of them has six values at most. Titles tell
    the shares of the variance, and a line below the panels tells what is not shown.

    The axis of a number is linear where the middle 90% of the rows take a third of it
    at least, and the middle half of their different values 15%. Else it is logarithmic
    or symmetric logarithmic if that makes the latter half as large again and leaves the
    middle 90% a fifth. By quantiles it is where the middle 90% would have no third. Its
    label says so.

    Use `from_estimator` to make one.

    Parameters
    ----------
    effects : Effects
        See `skkan.inspection.effects`.
    response : str, default=""
        What an output is of its name, such as "log odds of ".
    units : ndarray of shape (n_outputs,), default=None
        By which values are divided, where outputs of several units share a panel. None
        leaves the units of the targets.

    Attributes
    ----------
    figure_ : Figure
    axes_ : ndarray of Axes
        The panels. All lists below have the order of `shown_`, too.
    shown_ : list of Effect
        The largest share first, whatever its sign.
    lines_ : list of list of Line2D
        Curves of each panel: one for each output or, in a bundle, for each value.
    bars_ : list of list of BarContainer
        Bars of each panel, one container for each output.
    bands_ : list of list of FillBetweenPolyCollection
        90% bands in the order of lines or bars, empty where the fit has left none.
    missing_ : list of list of Line2D
        Marks at the values for missing cells, one for each output.
    densities_ : list of FillBetweenPolyCollection or None
    meshes_ : list of QuadMesh or None
        Heat maps.
    without_rows_ : list of PolyCollection or None
        Cells of a heat map without rows in or beside them.
    legend_ : Legend or None
        Names of several outputs.
    note_ : Text
        What is not shown.

    See Also
    --------
    ImportanceDisplay : The shares as bars.
    skkan.inspection.effects : The numbers.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skkan import KANRegressor
    >>> from skkan.inspection import EffectDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    >>> model = KANRegressor((), random_state=0).fit(X, y)
    >>> display = EffectDisplay.from_estimator(model, X, max_effects=2)
    >>> [effect.feature_names for effect in display.shown_]
    [('s5',), ('bmi',)]
    >>> [ax.get_xlabel() for ax in display.axes_]
    ['s5', 'bmi']
    """

    __module__ = "skkan.inspection"

    def __init__(self, effects, *, response="", units=None):
        self.effects = effects
        self.response = response
        self.units = units

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        features=None,
        pairs="auto",
        kind="interventional",
        sample_weight=None,
        max_samples="auto",
        feature_names=None,
        target_names=None,
        **kwargs,
    ):
        """Draw the effects of a fitted model.

        Parameters
        ----------
        estimator : KANRegressor or KANClassifier
            Fitted; of a Pipeline the last step, with X as it enters it.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Background, usually the training rows.
        features, pairs, kind, sample_weight, max_samples
            See `skkan.inspection.effects`. All effects of features and pairs that are
            listed are drawn, up to `max_effects`.
        feature_names, target_names : sequence of str, default=None
            Names of the inputs and outputs; None takes those that the estimator knows.
        **kwargs
            Passed on to `plot`.

        Returns
        -------
        EffectDisplay

        Raises
        ------
        TypeError
            If the estimator is not one of skkan.
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        ValueError
            If X does not have the columns of the fit, a feature does not exist, the
            number of names is not that of the inputs or outputs, or a parameter is not
            as described.

        Notes
        -----
        Several targets of regression have units of their own. Their effects are drawn
        in standard deviations of each target, as the shares count them.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        if features is not None or not isinstance(pairs, str | None):
            kwargs = {"min_share": 0.0, **kwargs}
        _check_settings(cls.__name__, **kwargs)
        names = NamesAndUnits.of(estimator, feature_names, target_names)
        found = effects_of(
            estimator,
            X,
            features=features,
            pairs=pairs,
            kind=kind,
            sample_weight=sample_weight,
            max_samples=max_samples,
        )
        found = names.in_effects(found)
        return cls(found, response=names.response, units=names.units).plot(**kwargs)

    def plot(
        self,
        ax=None,
        *,
        max_effects=9,
        min_share=MIN_SHARE,
        n_cols=3,
        shared_scale=True,
        line_kw=None,
        band_kw=None,
        density_kw=None,
        map_kw=None,
    ):
        """Draw the effects.

        Parameters
        ----------
        ax : Axes, default=None
            It is divided. None makes a figure. Figures with ``layout="constrained"``
            make room for all labels.
        max_effects : int, default=9
            Largest number of panels.
        min_share : float, default=0.001
            Share of the variance below which an effect is left out, unless all are.
        n_cols : int, default=3
            Largest number of panels in a row.
        shared_scale : bool, default=True
            Whether all curves and bars have the same scale, so that sizes compare. With
            False each panel is filled, which shows the shapes of small effects. Heat
            maps have the same colours in any case.
        line_kw, band_kw, density_kw, map_kw : dict, default=None
            Passed on to `Axes.plot` for the curves, to `Axes.fill_between` for the
            bands and the densities, and to `Axes.pcolormesh` for the heat maps.

        Returns
        -------
        EffectDisplay
            The object itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or the axes are not rectilinear or not
            part of a grid of subplots.

        Notes
        -----
        Bands are cut where they are wider than the curves by half of their range.
        """
        name = type(self).__name__
        _check_settings(
            name, ax, max_effects=max_effects, min_share=min_share, n_cols=n_cols
        )
        check_matplotlib_support(f"{name}.plot")
        check_numbers(name, self.effects, Effects)
        self.shown_ = largest_effects(self.effects, max_effects, min_share)
        if not self.shown_:
            raise ValueError(
                f"{name} has nothing to draw: the effects hold neither features nor "
                "pairs. Name some, or leave features and pairs open."
            )
        names = self.effects.output_names
        units = np.ones(len(names)) if self.units is None else np.asarray(self.units)
        outputs = OutputUnits(names, self.response, units, self.effects.kind)
        *panels, foot = panel_axes(
            ax, len(self.shown_), n_cols, name, foot=self._foot_height
        )
        self.axes_, self.figure_ = np.array(panels), foot.figure
        styles = {"line_kw": line_kw, "band_kw": band_kw, "density_kw": density_kw}
        styles = {key: style or {} for key, style in styles.items()}
        maps = [e for e in self.shown_ if len(e.features) == 2]
        maps = [effect for effect in maps if axis_of_bundle(effect) is None]
        reach = max((map_reach(effect, outputs) for effect in maps), default=0.0)
        drawn = [
            draw_main(panel, effect, outputs, **styles)
            if len(effect.features) == 1
            else draw_pair(panel, effect, outputs, reach, **styles, map_kw=map_kw or {})
            for panel, effect in zip(self.axes_, self.shown_, strict=True)
        ]
        self._keep_artists(drawn)
        _set_scales(drawn, shared_scale)
        self._write_labels(drawn)
        self._write_foot(foot, drawn)
        if ax is None:
            enlarge(self.figure_, self.axes_)
        return self

    def _keep_artists(self, drawn):
        self.lines_ = [panel.lines for panel in drawn]
        self.bars_ = [panel.bars for panel in drawn]
        self.bands_ = [panel.bands for panel in drawn]
        self.missing_ = [panel.missing for panel in drawn]
        self.densities_ = [panel.density for panel in drawn]
        self.meshes_ = [panel.mesh for panel in drawn]
        self.without_rows_ = [panel.without_rows for panel in drawn]

    def _write_labels(self, drawn):
        """Titles, and what is drawn unless the panel on the left has said it."""
        before = None
        for panel, effect in zip(drawn, self.shown_, strict=True):
            panel.ax.set_title(
                _title(effect),
                fontsize="medium",
                parse_math=False,
                pad=TITLE_PAD + LEGEND_PAD * panel.lines_of_legend,
            )
            row = panel.ax.get_subplotspec().rowspan.start
            if panel.mesh is None and before != (row, panel.label):
                panel.ax.set_ylabel(panel.label, parse_math=False)
            before = row, panel.label if panel.mesh is None else None

    def _legend_columns(self, width):
        """Columns of the legend of the outputs, and its lines."""
        names = self.effects.output_names
        if len(names) == 1 or all(len(effect.features) == 2 for effect in self.shown_):
            return 1, 0
        longest = min(OUTPUT_LETTERS, max(map(len, names)))
        entry = OUTPUT_ENTRY[0] + OUTPUT_ENTRY[1] * longest
        n_cols = int(np.clip(width / entry, 1, len(names)))
        return n_cols, -(-len(names) // n_cols)

    def _foot_height(self, width):
        """Inches of the legend and of the note, for the inches of their width."""
        n_lines = self._foot_text(width).count("\n") + 2
        return FOOT_LINE * n_lines + OUTPUT_LINE * self._legend_columns(width)[1]

    def _foot_text(self, width):
        n_letters = int((width - FOOT_MARGIN) * 72 / (FOOT_LETTER * NOTE_SIZE))
        n_letters = max(MIN_FOOT_LETTERS, n_letters)
        notes = note_on_rest(self.effects, self.shown_), self._signs()
        return "\n".join(fill(note, n_letters) for note in notes)

    def _signs(self):
        """What zero, bands, strips, points, hatches, dots and shares stand for."""
        text = f"0 is the mean output over {self.effects.n_rows} rows"
        if len(self.effects.output_names) == 1:
            text += f", {short_number(self.effects.base_value)}"
        has_bands = any(effect.lower is not None for effect in self.shown_)
        if has_bands and self.response in RESPONSES_OF_CLASSES:
            text += " before predict_proba moderates it"
        pairs = [effect for effect in self.shown_ if len(effect.features) == 2]
        bundles = [effect for effect in pairs if axis_of_bundle(effect) is not None]
        is_map, is_bundle = len(bundles) < len(pairs), len(bundles) > 0
        if has_bands and (is_bundle or len(pairs) < len(self.shown_)):
            text += "; bands hold 90% of the posterior"
        if is_bundle or len(pairs) < len(self.shown_):
            text += "; grey strips show where the rows are"
        if is_map:
            text += (
                "; dots are rows, larger where they are several, and hatched cells "
                "have none in or beside them"
            )
        if any(has_curve_without_rows(effect) for effect in bundles):
            text += "; dotted curves have no rows"
        gaps = [e.sample_weight @ np.isnan(e.rows).any(axis=1) for e in pairs]
        if max(gaps, default=0.0) > 0:
            text += (
                "; shares of pairs count rows in which one is missing, up to "
                f"{percent(max(gaps))} of them, which are not drawn"
            )
        return f"{text}."

    def _write_foot(self, foot, drawn):
        """Names of the outputs, what is not shown, and what signs mean."""
        foot.set_axis_off()
        width = foot.bbox.width / foot.figure.dpi
        n_cols, n_lines = self._legend_columns(width)
        self.legend_ = None
        if n_lines:
            first = next(
                panel
                for panel, effect in zip(drawn, self.shown_, strict=True)
                if len(effect.features) == 1
            )
            names = self.effects.output_names
            self.legend_ = foot.legend(
                first.lines or first.bars,
                [shortened(str(name), OUTPUT_LETTERS) for name in names],
                loc="upper center",
                ncols=n_cols,
                fontsize="small",
                frameon=False,
                borderaxespad=0,
                borderpad=0,
            )
        self.note_ = foot.annotate(
            self._foot_text(width),
            (0.5, 1),
            xycoords="axes fraction",
            xytext=(0, -72 * OUTPUT_LINE * n_lines),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=NOTE_SIZE,
            alpha=0.8,
            parse_math=False,
        )


def _title(effect):
    """Names and share of an effect; those of a pair break between the names."""
    share = f": {percent(effect.share)}"
    title = effect_name(effect) + share
    if len(title) <= PANEL_TITLE_LINE or len(effect.features) == 1:
        return wrapped(title, EFFECT_NAME_LETTERS + len(share), PANEL_TITLE_LINE)
    times = TIMES.rstrip()
    one, other = effect.feature_names
    one = shortened(one, PANEL_TITLE_LINE - len(times))
    return f"{one}{times}\n{shortened(other, PANEL_TITLE_LINE - len(share))}{share}"


def _check_settings(
    caller,
    ax=None,
    *,
    max_effects=1,
    min_share=0.0,
    n_cols=1,
    **others,
):
    """Raise for arguments of `plot` that are not as described."""
    known = signature(EffectDisplay.plot).parameters
    unknown = [name for name in others if name not in known]
    if unknown:
        raise TypeError(
            f"{caller}.plot() got an unexpected keyword argument {unknown[0]!r}: it "
            f"takes {', '.join(list(known)[1:])}."
        )
    check_single_axes(ax, caller)
    check_count("max_effects", max_effects)
    check_count("n_cols", n_cols)
    if not (isinstance(min_share, Real) and min_share >= 0):
        raise ValueError(
            f"min_share must be a number of at least 0, got {min_share!r}: 0.01 leaves "
            "out what has less than 1% of the variance."
        )


def _set_scales(drawn, shared_scale):
    """Set the limits of y, equal ones for curves and bars if scales are shared."""
    panels = [panel for panel in drawn if panel.mesh is None]
    floor = MISSING_FLOOR if any(panel.missing for panel in panels) else CURVE_FLOOR
    for panel in panels:
        alike = panels if shared_scale else [panel]
        low, high = min(each.low for each in alike), max(each.high for each in alike)
        leave_floor(panel.ax, low, high, floor)
