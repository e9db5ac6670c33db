"""A fit leaves nothing behind but the fitted estimator."""

import random
import re
import time

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal

from skkan import KANClassifier, KANRegressor, SparsityPenalty

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SHORT = {"max_iter": 3, "random_state": 0}
both = pytest.mark.parametrize("make", [KANRegressor, KANClassifier])
every_way = pytest.mark.parametrize(
    "settings",
    [
        {},
        {"solver": "adam"},
        {"early_stopping": True},
        {"grid_schedule": (8,), "penalty": SparsityPenalty()},
    ],
    ids=["default", "adam", "early stopping", "schedule and sparsity"],
)


@pytest.fixture
def table(rng):
    X = rng.normal(size=(60, 3))
    return X, (X[:, 0] > 0).astype(int)


def global_state():
    return (
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002 - the state in question
        random.getstate(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        np.geterr(),
    )


@both
@every_way
def test_a_fit_leaves_nothing_behind(
    make, settings, table, tmp_path, monkeypatch, capfd
):
    """No output, no file, the global state as before, and no argument modified."""
    monkeypatch.chdir(tmp_path)
    X, y = table
    frame, weight = pd.DataFrame(X, columns=["a", "b", "c"]), np.full(60, 2.0)
    copies = frame.copy(), y.copy(), weight.copy()
    model = make(**SHORT, **settings)
    parameters, before = dict(model.get_params()), global_state()
    model.fit(frame, y, sample_weight=weight).predict(frame)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
    assert global_state() == before
    pd.testing.assert_frame_equal(frame, copies[0])
    assert_array_equal(y, copies[1])
    assert_array_equal(weight, copies[2])
    for name, value in model.get_params().items():
        assert value is parameters[name]


@both
@every_way
def test_threads_are_restored_after_an_error(make, settings, table):
    X, y = table
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="infinity"):
        make(**settings).fit(np.full_like(X, np.inf), y)
    assert torch.get_num_threads() == before


@both
@every_way
def test_same_seed_same_bits(make, settings, table):
    one = make(**SHORT, **settings).fit(*table)
    other = make(**SHORT, **settings).fit(*table)
    assert one.loss_curve_ == other.loss_curve_
    assert_array_equal(one.predict(table[0]), other.predict(table[0]))


def test_other_seeds_other_starts(table):
    curves = [
        KANRegressor((2,), max_iter=3, random_state=seed).fit(*table).loss_curve_
        for seed in (0, 1)
    ]
    assert curves[0] != curves[1]


def test_random_state_instance_is_used_and_not_replaced(table):
    """Two fits from one generator differ; from equal generators they agree."""
    shared, equal = np.random.RandomState(0), np.random.RandomState(0)
    first, second, fresh = (
        KANRegressor((2,), max_iter=3, random_state=generator).fit(*table)
        for generator in (shared, shared, equal)
    )
    assert first.loss_curve_ == fresh.loss_curve_ != second.loss_curve_


def last_count(line):
    """Iterations that a progress line has counted at its end; it promises none."""
    assert "%" not in line
    return int(re.findall(r"fit: (\d+)it", line)[-1])


@both
def test_verbose_is_one_line_with_the_figures(make, table, capfd):
    X, y = table
    model = make(verbose=1, grid_schedule=(10,), **SHORT)
    model.fit(X, y, X_val=X, y_val=y)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert last_count(err) == len(model.loss_curve_)
    for figure in ("grid=5", "grid=10", "loss=", "val=", "penalty="):
        assert figure in err


def test_verbose_tells_what_a_search_tries(capfd):
    """A law that it takes hidden nodes for, and one that it takes few of them for."""
    X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    model = KANRegressor(verbose=1, random_state=0).fit(X, X[:, 0] * X[:, 1])
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    steps = (
        "fit, additive model:",
        "fit, 1 x hidden nodes, alpha 1e-01:",
        "fit, second-order network:",
    )
    places = [err.index(step) for step in (*steps, "grid=5")]
    assert places == sorted(places)
    assert last_count(err) == len(model.loss_curve_)


@both
def test_html_repr_is_complete_and_cheap(make, table):
    """It evaluates every property of a fitted estimator."""
    model = make((5,), **SHORT).fit(*table)
    start = time.process_time()
    html = model._repr_html_()
    elapsed = time.process_time() - start
    for name in ("grid_schedule", "network_", "feature_importances_", "loss_curve_"):
        assert name in html
    # Half a second on any machine; 20 ms where it was written.
    assert elapsed < 0.5
    assert "NotFitted" not in make()._repr_html_()


@both
def test_network_is_built_on_access_and_not_kept(make, table):
    model = make((5,), **SHORT).fit(*table)
    before = set(vars(model))
    with torch.no_grad():
        model.network_.layers[0].weight.zero_()
    assert set(vars(model)) == before
    assert np.ptp(model.predict(table[0])) > 0
    assert not any(isinstance(v, torch.nn.Module) for v in vars(model).values())


@both
def test_interrupted_fit_keeps_the_best_model_so_far(make, table, monkeypatch):
    """Ctrl-C in the middle of an iteration."""
    from sklearn.exceptions import ConvergenceWarning

    from skkan.objective._objective import Objective

    X, y = table
    calls, original = [], Objective.value_and_grad

    def interrupted(self, theta, rows=None):
        calls.append(None)
        if len(calls) > 12:
            raise KeyboardInterrupt
        return original(self, theta, rows)

    monkeypatch.setattr(Objective, "value_and_grad", interrupted)
    model = make((5,), solver="lbfgs", random_state=0, n_grid_updates=0)
    with pytest.warns(ConvergenceWarning, match="was interrupted after .* iterations"):
        model.fit(X, y)
    assert 5 <= model.n_iter_ == len(model.loss_curve_) <= 12
    assert np.isfinite(model.predict(X)).all()
    assert torch.get_num_threads() >= 1
