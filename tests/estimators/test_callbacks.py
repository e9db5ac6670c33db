"""scikit-learn's callbacks: the task tree and stopping."""

import numpy as np
import pytest

from skkan import KANClassifier, KANRegressor

# scikit-learn has callbacks since 1.9.
callback = pytest.importorskip("sklearn.callback")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SHORT = {"max_iter": 6, "tol": 0.0, "n_grid_updates": 0, "random_state": 0}
BRIEF = {**SHORT, "max_iter": 2}
both = pytest.mark.parametrize("make", [KANRegressor, KANClassifier])


class Recorder:
    """Remembers the tasks, and stops a level where it is told to."""

    def __init__(self, stop=lambda context: False):
        self.begun, self.ended, self.scores = [], [], []
        self.stop, self.calls = stop, []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(path(context))

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.ended.append(path(context))
        self.scores.append(fitted_estimator.score(X, y))
        return self.stop(context)


def path(context):
    above = () if context.parent is None else path(context.parent)
    return (*above, context.task_name)


@pytest.fixture
def table(rng):
    X = rng.normal(size=(60, 3))
    return X, (X[:, 0] > 0).astype(int)


@both
def test_tree_is_fit_then_grid_stage_then_iteration(make, table):
    recorder = Recorder()
    model = make(grid_schedule=(10,), **SHORT).set_callbacks(recorder)
    model.fit(*table)
    stages = [("fit", "grid 5"), ("fit", "grid 10")]
    expected = [("fit",)]
    for stage in stages:
        expected += [stage, *[(*stage, "iteration")] * 6]
    assert recorder.begun == expected
    assert sorted(recorder.ended) == sorted(expected)
    assert recorder.ended[-1] == ("fit",)
    assert recorder.calls == ["setup", "teardown"]
    assert recorder.scores[-1] == model.score(*table)


def test_posterior_of_an_earlier_fit_is_not_that_of_a_refit(table):
    """A callback of a refit sees what one of a first fit sees."""
    X, y = table

    class Predicting(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            self.scores.append(fitted_estimator.predict_proba(X))

    earlier, recorder = KANClassifier((2,), **BRIEF).fit(X, -y), Predicting()
    for model in (earlier, KANClassifier((2,), **BRIEF)):
        model.set_callbacks(recorder).fit(X, y)
    half = len(recorder.scores) // 2
    np.testing.assert_array_equal(recorder.scores[:half], recorder.scores[half:])


def test_missing_cells_are_predicted_on_the_way(table):
    """Also in a refit, where an earlier fit had other columns."""
    X, y = table

    class Predicting(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator):
            self.scores.append(fitted_estimator.predict(rows))

    recorder = Predicting()
    model = KANRegressor((2,), **BRIEF).set_callbacks(recorder)
    for n_features in (3, 2):
        rows = X[:5, :n_features].copy()
        rows[0, 0] = np.nan
        model.fit(X[:, :n_features], y)
        np.testing.assert_array_equal(recorder.scores[-1], model.predict(rows))


def test_pruning_by_evidence_is_one_more_stage(table):
    """Iterations of the search are not told of, those of the training after it are."""
    recorder = Recorder()
    model = KANRegressor((2,), grid_size=5, prune_threshold="auto", random_state=0)
    model.set_callbacks(recorder).fit(*table)
    stages = [task for task in recorder.begun if len(task) == 2]
    assert stages == [("fit", "grid 5")] * 2
    iterations = [task for task in recorder.begun if len(task) == 3]
    assert len(iterations) == len(model.loss_curve_) < model.n_iter_
    assert len(model.stage_ends_) == 2


@both
def test_hooks_can_end_a_stage(make, table):
    """Three iterations of the first stage, all of the second."""
    recorder = Recorder(
        lambda context: (
            context.task_name == "iteration"
            and context.parent.task_name == "grid 5"
            and context.task_id == 2
        )
    )
    model = make(grid_schedule=(10,), **SHORT).set_callbacks(recorder).fit(*table)
    assert model.stage_ends_ == [3, 9]


@both
def test_hooks_can_end_the_fit_after_a_stage(make, table):
    recorder = Recorder(lambda context: context.task_name == "grid 5")
    model = make(grid_schedule=(10,), **SHORT).set_callbacks(recorder).fit(*table)
    assert model.stage_ends_ == [6]
    assert model.grid_size_ == 5


def test_failing_hook_leaves_the_earlier_model_and_is_torn_down(table):
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("no more")

    X, y = table
    model = KANRegressor((5,), **SHORT).fit(X, y)
    before, attributes = model.predict(X), set(vars(model))
    failing = Failing()
    model.set_callbacks(failing)
    with pytest.raises(RuntimeError, match="no more"):
        model.fit(X, -y)
    assert failing.calls == ["setup", "teardown"]
    assert set(vars(model)) - {"_skl_callbacks"} == attributes
    np.testing.assert_array_equal(model.predict(X), before)


def test_sub_tasks_cost_nothing_without_callbacks(table):
    """The tree has its stages, but no leaf for each iteration."""
    model = KANRegressor((5,), **SHORT).fit(*table)
    assert not any("callback" in name for name in vars(model))
