"""Panels of effects: what they draw is what `effects` says, and all is labelled."""

from dataclasses import replace
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from models_to_draw import X as PLAIN
from models_to_draw import one_line
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import RegularGridInterpolator

from skkan import KANClassifier, KANRegressor
from skkan.drawing._labels import percent, shortened
from skkan.explanation_displays import _effect_display as module
from skkan.inspection import EffectDisplay, effects

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
QUICK = {"solver": "lbfgs", "tol": 0.1, "max_iter": 30, "random_state": 0}
LONG = "mean of the logarithm of a quantity over all the rows of $a_i [mg]"
rng = np.random.default_rng(0)
N = 200
X = pd.DataFrame(
    {
        "income": rng.lognormal(0, 2, N),
        "flag": rng.integers(0, 2, N) * 1.0,
        "hour": rng.integers(0, 24, N),
        "town": pd.Categorical([f"town number {i % 40}" for i in range(N)]),
        "colour": pd.Categorical(rng.choice(["red", "green", "blue"], N)),
        LONG: rng.normal(size=N),
    }
)
Y = np.log(X["income"]) * (1 + X["flag"]) + (X["colour"] == "red") * X[LONG]
Y += np.sin(X["hour"] / 4) * X[LONG] + rng.normal(size=40)[X["town"].cat.codes]
X.loc[::7, "income"] = np.nan
X.loc[::9, "colour"] = None
SHORT = {"max_samples": 100}  # rows of the background, for speed


@pytest.fixture(scope="module")
def mixed():
    """Numbers with gaps and tails, few values, categories, and hidden nodes."""
    return KANRegressor((3,), **QUICK).fit(X, Y)


@pytest.fixture(scope="module")
def ten_classes():
    y = pd.qcut(Y, 10, labels=[f"class {i}" for i in range(10)]).astype(str)
    return KANClassifier((2,), **QUICK).fit(X, y)


@pytest.fixture(scope="module")
def found(mixed):
    return effects(mixed, X, **SHORT)


@pytest.fixture
def draw_none(monkeypatch):
    """No effect may be computed."""

    def fail(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(module, "effects_of", fail)


def vertices(band):
    """Lower and upper ends of a band over its places."""
    (path,) = band.get_paths()
    n = (len(path.vertices) - 3) // 2
    return path.vertices[1 : n + 1, 1], path.vertices[n + 2 : -1, 1][::-1]


def of_pair(found, *names):
    return next(e for e in found.pairs if set(e.feature_names) == set(names))


def alone(found, effect):
    """Effects of which one is left."""
    is_pair = len(effect.features) == 2
    return replace(
        found, mains=[] if is_pair else [effect], pairs=[effect] if is_pair else []
    )


def test_curves_and_bands_are_the_effects(additive):
    display = EffectDisplay.from_estimator(additive, PLAIN, features=["age", "height"])
    expected = effects(additive, PLAIN, features=["age", "height"])
    for effect, lines, bands in zip(
        expected.mains, display.lines_, display.bands_, strict=True
    ):
        assert_array_equal(lines[0].get_xdata(), effect.grid[0])
        assert_array_equal(lines[0].get_ydata(), effect.values)
        lower, upper = vertices(bands[0])
        assert_array_equal(lower, effect.lower)
        assert_array_equal(upper, effect.upper)
    note = one_line(display.note_)
    assert "bands hold 90% of the posterior; grey strips show where the rows" in note
    base = f"{expected.base_value:.4g}"
    assert f"0 is the mean output over {expected.n_rows} rows, {base};" in note


def test_panels_stand_in_the_order_of_shares_and_tell_them(found):
    display = EffectDisplay(found).plot(max_effects=4)
    everything = [*found.mains, *found.pairs]
    largest = sorted((abs(effect.share) for effect in everything), reverse=True)
    assert [abs(effect.share) for effect in display.shown_] == largest[:4]
    for ax, effect in zip(display.axes_, display.shown_, strict=True):
        name = " \N{MULTIPLICATION SIGN} ".join(effect.feature_names)
        title = one_line(ax.title)
        assert title[:4] == name[:4]
        assert title.endswith(f": {percent(effect.share)}")


def test_the_note_tells_how_much_is_not_shown(found):
    display = EffectDisplay(found).plot(max_effects=2)
    shown = sum(effect.share for effect in display.shown_)
    hidden = [e for e in [*found.mains, *found.pairs] if e not in display.shown_]
    mains = [effect for effect in hidden if len(effect.features) == 1]
    names = [shortened(effect.feature_names[0], 20) for effect in mains]
    note = one_line(display.note_)
    assert note.startswith(
        f"Not shown: {percent(1 - shown)} of the variance of the model's output: "
        f"{percent(sum(e.share for e in hidden))} of {', '.join(names)} and "
        f"{len(hidden) - len(names)} pairs, {percent(found.rest_share)} of everything "
        "else."
    )


def test_negative_shares_and_constant_outputs_are_explained(found):
    main = replace(found.mains[0], share=1.1)
    display = EffectDisplay(replace(alone(found, main), rest_share=-0.1)).plot()
    assert one_line(display.note_).startswith(
        "Not shown: -10% of the variance of the model's output. A share is negative "
        "where an effect opposes correlated ones."
    )
    main = replace(found.mains[0], share=0.0)
    display = EffectDisplay(replace(alone(found, main), rest_share=0.0)).plot()
    assert one_line(display.note_).startswith("The output is constant over these rows.")


def test_negligible_effects_are_left_out_unless_all_are(found):
    mains = [replace(found.mains[0], share=share) for share in (0.9, 5e-4)]
    few = replace(found, mains=mains, pairs=[])
    assert EffectDisplay(few).plot().shown_ == mains[:1]
    assert EffectDisplay(few).plot(min_share=0.0).shown_ == mains
    none = replace(few, mains=mains[1:])
    assert EffectDisplay(none).plot().shown_ == mains[1:]


def test_features_that_are_asked_for_are_drawn(additive):
    display = EffectDisplay.from_estimator(additive, PLAIN, features=["income", 3])
    assert abs(display.shown_[1].share) < 1e-3
    names = [effect.feature_names for effect in display.shown_]
    assert names == [("income",), ("site",)]


# Units and several outputs.


def test_targets_of_several_units_are_drawn_in_standard_deviations(deep):
    display = EffectDisplay.from_estimator(deep, PLAIN, features=["age"])
    (effect,) = effects(deep, PLAIN, features=["age"]).mains
    unit = deep.fitted_model_.output_scaling.scale
    for output, line in enumerate(display.lines_[0]):
        assert_allclose(line.get_ydata(), effect.values[:, output] / unit[output])
    label = one_line(display.axes_[0].yaxis.label)
    assert label == "effect in standard deviations of the target"
    names = [text.get_text() for text in display.legend_.get_texts()]
    assert names == ["y0", "y1"]


def test_classes_have_lines_and_bars_of_their_own(ten_classes):
    names = [*[f"class {i}" for i in range(9)], "the last of all the classes there are"]
    display = EffectDisplay.from_estimator(
        ten_classes, X, features=["income", "colour"], pairs=None, target_names=names
    )
    assert one_line(display.axes_[0].yaxis.label) == "effect on logit"
    texts = [text.get_text() for text in display.legend_.get_texts()]
    assert texts[:9] == names[:9]
    assert len(texts[9]) == 20
    for effect, lines, bars, marks in zip(
        display.shown_, display.lines_, display.bars_, display.missing_, strict=True
    ):
        assert_allclose([mark.get_ydata()[0] for mark in marks], effect.missing_value)
        drawn = [line.get_ydata() for line in lines]
        if effect.feature_names == ("colour",):
            drawn = [[bar.get_height() for bar in of_class] for of_class in bars]
            edges = [[bar.get_x(), bar.get_x() + bar.get_width()] for bar in bars[3]]
            assert edges[0][1] < edges[1][0]
        assert_allclose(np.array(drawn).T, effect.values)
        marks = next(
            m
            for m, e in zip(display.missing_, display.shown_, strict=True)
            if e == effect
        )
        assert_allclose([mark.get_ydata()[0] for mark in marks], effect.missing_value)


def test_many_bars_are_points(ten_classes):
    display = EffectDisplay.from_estimator(
        ten_classes, X, features=["hour"], pairs=None
    )
    assert display.bars_ == [[]]
    (effect,) = display.shown_
    drawn = [line.get_ydata() for line in display.lines_[0]]
    assert_allclose(np.array(drawn).T, effect.values)
    assert {line.get_marker() for line in display.lines_[0]} == {"o"}


def test_scales_are_named_in_words():
    x, settings = PLAIN[["age"]], {**QUICK, "max_iter": 3}
    count = KANRegressor((), loss="poisson", **settings).fit(x, np.exp(x["age"]))
    two = KANClassifier((), **settings).fit(x, np.where(x["age"] > 0, "rich", "poor"))
    for model, name in ((count, "log mean of y"), (two, "log odds of rich")):
        display = EffectDisplay.from_estimator(model, x)
        assert one_line(display.axes_[0].yaxis.label) == f"effect on {name}"
    display = EffectDisplay.from_estimator(count, x, target_names=["$ of rent"])
    assert one_line(display.axes_[0].yaxis.label) == "effect on log mean of $ of rent"


def test_accumulated_local_effects_are_named(mixed):
    rows = X.dropna()
    display = EffectDisplay.from_estimator(
        mixed, rows, features=["hour", "colour"], kind="ale"
    )
    labels = {
        effect.feature_names[0]: one_line(ax.yaxis.label)
        for effect, ax in zip(display.shown_, display.axes_, strict=True)
    }
    assert labels["hour"] == "accumulated local effect (ALE) on y"
    assert labels["colour"] == "effect on y"


# Categories, few values and missing cells.


def test_levels_are_bars_and_missing_cells_a_mark(mixed):
    names = ["colour", "flag", "hour", "income"]
    display = EffectDisplay.from_estimator(mixed, X, features=names, pairs=None)
    for number, effect in enumerate(display.shown_):
        (name,) = effect.feature_names
        if name == "income":
            assert display.bars_[number] == []
        else:
            heights = [bar.get_height() for bar in display.bars_[number][0]]
            assert_array_equal(heights, effect.values)
        assert len(display.missing_[number]) == (name in ("colour", "income"))
        ax = display.axes_[number]
        for mark in display.missing_[number]:
            assert mark.get_ydata() == [effect.missing_value]
            low, high = ax.get_xlim()
            assert low < mark.get_xdata()[0] < high
            assert [text.get_text() for text in ax.texts] == ["missing"]


def test_only_categories_with_room_are_drawn_and_that_is_said(mixed):
    display = EffectDisplay.from_estimator(mixed, X, features=["town"], pairs=None)
    (effect,), (ax,) = display.shown_, display.axes_
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert 10 < len(names) < 30
    counts = X["town"].value_counts()
    assert counts[names].min() >= counts.drop(names).max()
    assert ax.get_xlabel() == f"town\n({len(names)} most frequent of {len(counts)})"
    grid = list(effect.grid[0])
    heights = [bar.get_height() for bar in display.bars_[0][0]]
    assert_array_equal(heights, [effect.values[grid.index(name)] for name in names])


def test_densities_are_weighted_and_follow_the_axis(mixed):
    weight = rng.uniform(size=N)
    display = EffectDisplay.from_estimator(
        mixed, X, features=["income"], sample_weight=weight
    )
    assert display.axes_[0].get_xlabel() == "income (log scale)"
    known = X["income"].notna()
    logs = np.log10(X.loc[known, "income"])
    counts, bounds = np.histogram(logs, 40, weights=weight[known])
    (path,) = display.densities_[0].get_paths()
    corners = {tuple(corner) for corner in np.round(path.vertices, 9)}
    heights = 0.12 * counts / counts.max()
    expected = np.round(np.column_stack([10 ** bounds[:-1], heights]), 9)
    assert sum(tuple(corner) in corners for corner in expected) >= 38  # by rounding


# Pairs.


def assert_map_shows(mesh, effect, values):
    """Numbers are linear between the points; colours are mixed within an eighth."""
    if any(effect.has_levels):
        assert_array_equal(mesh.get_array(), values.T)
        return
    places = mesh.get_coordinates()
    expected = RegularGridInterpolator(effect.grid, values)(places)
    assert_allclose(mesh.get_array(), expected, atol=1e-12 * np.ptp(values))
    assert places.shape[:2] == tuple(8 * n - 7 for n in values.T.shape)


def test_a_map_is_the_effect_and_its_colours_compare(mixed):
    pairs = [("income", LONG), ("hour", LONG)]
    found = effects(mixed, X, features=[], pairs=pairs)
    display = EffectDisplay(found).plot(min_share=0.0)
    limits = [mesh.get_clim() for mesh in display.meshes_]
    assert limits[0] == limits[1] == (-limits[0][1], limits[0][1])
    for effect, mesh, ax in zip(
        display.shown_, display.meshes_, display.axes_, strict=True
    ):
        assert_map_shows(mesh, effect, effect.values)
        labels = one_line(ax.xaxis.label), one_line(ax.yaxis.label)
        for label, name in zip(labels, effect.feature_names, strict=True):
            assert label[:4] == name[:4]
    colour_bars = [ax for ax in display.figure_.axes if ax.get_label() == "<colorbar>"]
    assert {one_line(ax.yaxis.label) for ax in colour_bars} == {"effect on y"}


def test_cells_without_rows_in_or_beside_them_are_hatched():
    x = rng.uniform(size=(200, 2))
    x[:, 1] = x[:, 0] + 0.1 * x[:, 1]
    model = KANRegressor((2,), **QUICK).fit(x, x[:, 0] * x[:, 1])
    found = effects(model, x, features=[], pairs=[(0, 1)])
    display = EffectDisplay(found).plot()
    (effect,) = found.pairs
    n_far, cells = 0, display.without_rows_[0].get_paths()
    corners = {tuple(np.round(cell.vertices.min(0), 9)) for cell in cells}
    ends = [np.r_[g[0], (g[1:] + g[:-1]) / 2, g[-1]] for g in effect.grid]
    inner = [np.searchsorted(end[1:-1], x[:, k]) for k, end in enumerate(ends)]
    for i, j in np.ndindex(effect.values.shape):
        is_near = (abs(inner[0] - i) <= 1) & (abs(inner[1] - j) <= 1)
        n_far += not is_near.any()
        corner = tuple(np.round([ends[0][i], ends[1][j]], 9))
        assert (corner in corners) == (not is_near.any())
    assert n_far > 50
    assert "hatched cells have none in or beside them" in one_line(display.note_)


def test_few_values_make_a_bundle_of_curves(found):
    effect = of_pair(found, "income", "flag")
    display = EffectDisplay(alone(found, effect)).plot()
    (lines,), (ax,) = display.lines_, display.axes_
    for level, line in enumerate(lines):
        place = effect.feature_names.index("flag")
        own = effect.rows[effect.rows[:, place] == level, 1 - place]
        own = own[~np.isnan(own)]
        x, y = line.get_data()
        assert_array_equal(x, effect.grid[0])
        inside = (x >= own.min()) & (x <= own.max())
        assert_array_equal(y, np.where(inside, effect.values[:, level], np.nan))
    legend = ax.get_legend()
    assert legend.get_title().get_text() == "flag ="
    assert [text.get_text() for text in legend.get_texts()] == ["0", "1"]
    assert ax.get_xlabel() == "income (log scale)"
    assert one_line(ax.yaxis.label) == "effect on y"
    assert "dotted curves have no rows" in one_line(display.note_)


def test_a_bundle_without_rows_is_dotted(found):
    """No row has values of both features."""
    effect = of_pair(found, "income", "flag")
    rows = effect.rows.copy()
    rows[:, effect.feature_names.index("flag")] = np.nan
    display = EffectDisplay(alone(found, replace(effect, rows=rows))).plot()
    solid = [line.get_ydata() for line in display.lines_[0]]
    assert np.isnan(solid).all()
    (ax,) = display.axes_
    dotted = [line.get_ydata() for line in ax.lines if line.get_linestyle() == ":"]
    assert_array_equal(np.array(dotted).T, effect.values)
    low, high = ax.get_ylim()
    assert low < effect.values.min() < effect.values.max() < high


def test_pairs_of_several_outputs_name_the_one_that_they_show(ten_classes):
    pairs = [("income", LONG), ("flag", LONG)]
    found = effects(ten_classes, X, features=[], pairs=pairs)
    names = [f"class {i}" for i in range(10)]
    display = EffectDisplay(found, response="logit of ").plot(min_share=0.0)
    for effect, mesh, ax in zip(
        display.shown_, display.meshes_, display.axes_, strict=True
    ):
        spread = np.average(
            (effect.row_values - effect.row_values.mean(0)) ** 2, axis=0
        )
        largest = int(spread.argmax())
        label = ax.yaxis.label
        if mesh is not None:
            assert_map_shows(mesh, effect, effect.values[..., largest])
            bars = [a for a in display.figure_.axes if a.get_label() == "<colorbar>"]
            label = bars[0].yaxis.label
        assert one_line(label) == f"effect on logit of {names[largest]}"
    assert display.legend_ is None


# Scales and labels.


def test_curves_share_their_scale_and_fill_their_panel_on_request(found):
    few = replace(found, pairs=[])
    display = EffectDisplay(few).plot(max_effects=4)
    assert len({ax.get_ylim() for ax in display.axes_}) == 1
    display.plot(max_effects=4, shared_scale=False)
    assert len({ax.get_ylim() for ax in display.axes_}) == 4
    for ax, effect in zip(display.axes_, display.shown_, strict=True):
        low, high = ax.get_ylim()
        assert np.ptp(effect.values) > 0.25 * (high - low)


def test_wide_bands_do_not_squeeze_the_curves(found):
    main = next(e for e in found.mains if not e.has_levels[0])
    values = main.values
    main = replace(main, lower=values - 100, upper=values + 100)
    display = EffectDisplay(alone(found, main)).plot()
    low, high = display.axes_[0].get_ylim()
    assert high - low < 3 * np.ptp(values)


def texts_of(figure):
    """Extents of all texts of a figure that are seen, by their text."""
    extents = []
    for ax in figure.axes:
        legend = ax.get_legend()
        texts = [ax.title, *ax.texts, *(legend.get_texts() if legend else [])]
        if ax.axison:
            texts += [ax.xaxis.label, ax.yaxis.label]
            for axis in (ax.xaxis, ax.yaxis):
                ends = sorted(axis.get_view_interval())
                texts += [
                    tick.label1
                    if axis is ax.xaxis or tick.label1.get_visible()
                    else tick.label2
                    for tick in axis.get_major_ticks()
                    if ends[0] <= tick.get_loc() <= ends[1]
                ]
        extents += [
            (text.get_text(), text.get_window_extent().padded(-0.5))
            for text in texts
            if text.get_visible() and text.get_text()
        ]
    return extents


CASES = {
    "own figure": ("mixed", {"max_effects": 7}, None),
    "dark": ("mixed", {"max_effects": 4, "n_cols": 2, "pairs": None}, None),
    "classes": ("ten_classes", {"max_effects": 3}, None),
    "divided": ("mixed", {"max_effects": 4}, (11, 7)),
    "single": ("mixed", {"max_effects": 1, "pairs": None}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_no_text_lies_on_another_one_or_on_another_panel(case, request):
    name, settings, figsize = CASES[case]
    with plt.style.context("dark_background" if case == "dark" else "default"):
        if figsize is not None:
            _, ax = plt.subplots(figsize=figsize, layout="constrained")
            settings = {**settings, "ax": ax}
        model = request.getfixturevalue(name)
        display = EffectDisplay.from_estimator(model, X, **settings, **SHORT)
        display.figure_.canvas.draw()
        extents, whole = texts_of(display.figure_), display.figure_.bbox
        for (one, a), (other, b) in combinations(extents, 2):
            assert not a.overlaps(b), (one, other)
        for text, extent in extents:
            assert whole.x0 <= extent.x0 < extent.x1 <= whole.x1, text
            assert whole.y0 <= extent.y0 < extent.y1 <= whole.y1, text
        for ax in display.axes_:
            inside = ax.get_window_extent()
            own = [ax.title, ax.xaxis.label, ax.yaxis.label]
            assert not any(text.get_window_extent().overlaps(inside) for text in own)


def test_a_single_axes_without_a_layout_engine_is_divided(additive):
    figure, ax = plt.subplots()
    display = EffectDisplay.from_estimator(additive, PLAIN, ax=ax)
    assert display.figure_ is figure
    assert not ax.axison
    with pytest.raises(ValueError, match="not part of a grid of subplots"):
        EffectDisplay.from_estimator(
            additive, PLAIN, ax=plt.figure().add_axes([0, 0, 1, 1])
        )


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"max_effects": 0}, "max_effects must be an integer of at least 1"),
        ({"n_cols": 1.5}, "n_cols must be an integer of at least 1"),
        ({"min_share": -1}, "min_share must be a number of at least 0, got -1"),
        (
            {"feature_names": ["a"]},
            "feature_names must hold one name for each of the 4",
        ),
        ({"target_names": ["a", "b"]}, "target_names must hold one name"),
    ],
)
def test_bad_arguments_are_told_before_any_work(settings, match, additive, draw_none):
    with pytest.raises(ValueError, match=match):
        EffectDisplay.from_estimator(additive, PLAIN, **settings)


def test_other_numbers_are_told():
    with pytest.raises(TypeError, match="draws an object of Effects, got dict: make"):
        EffectDisplay({}).plot()


def test_rows_that_pairs_leave_out_are_told(found):
    """Their shares count rows in which a cell is missing."""
    told = "shares of pairs count rows in which one is missing, up to 25% of them"
    pair = of_pair(found, "income", "flag")
    rows = np.arange(2.0 * len(pair.rows)).reshape(-1, 2)
    whole = replace(pair, rows=rows.copy())
    rows[::4, 0] = np.nan
    for effect, is_told in ((whole, False), (replace(pair, rows=rows), True)):
        display = EffectDisplay(alone(found, effect)).plot()
        assert (told in one_line(display.note_)) == is_told
    # A single feature has a mark of its own for them.
    (main,) = (e for e in found.mains if e.feature_names == ("income",))
    assert "missing" not in one_line(EffectDisplay(alone(found, main)).plot().note_)


@pytest.mark.parametrize("place", [-3.0, 0.0])
def test_a_mark_lies_above_the_word_missing(found, place):
    """The lowest one of all panels, too."""
    effect = next(e for e in found.mains if e.missing_value is not None)
    display = EffectDisplay(alone(found, replace(effect, missing_value=place))).plot()
    display.figure_.canvas.draw()
    (ax,) = display.axes_
    (word,) = (text for text in ax.texts if text.get_text() == "missing")
    ((mark,),) = display.missing_
    assert word.get_window_extent().y1 < mark.get_window_extent().y0


def test_unknown_and_unfit_arguments_are_type_errors(additive, draw_none):
    told = r"EffectDisplay.plot\(\) got an unexpected keyword argument 'max_panels': it"
    with pytest.raises(TypeError, match=told):
        EffectDisplay.from_estimator(additive, PLAIN, max_panels=3)
    with pytest.raises(TypeError, match="draws into a single Axes, got str"):
        EffectDisplay.from_estimator(additive, PLAIN, ax="axes")


def test_nothing_to_draw_is_told(rng):
    X = rng.uniform(-1, 1, (40, 2))
    model = KANRegressor((), random_state=0).fit(X, X[:, 0] + 0.1 * rng.normal(size=40))
    with pytest.raises(ValueError, match="nothing to draw"):
        EffectDisplay.from_estimator(model, X, features=[])
