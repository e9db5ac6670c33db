"""partial_fit: what a stream learns from all of its rows, and does not forget."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris, make_friedman1

from skkan import KANClassifier, KANRegressor
from skkan.data import _remembered_rows
from skkan.selection._solver_choice import alpha_of_stream

SEED = {"random_state": 0}
CENTRES = 0.4 * (np.arange(5) - 2)
LINE = np.linspace(-1, 1, 500)


def peaks(x):
    return np.exp(-300 * (x[:, None] - CENTRES) ** 2).sum(1)


def streamed(model, X, y, n_batches):
    for rows in np.array_split(np.arange(len(X)), n_batches):
        model.partial_fit(X[rows], y[rows])
    return model


@pytest.mark.parametrize("start", ["one peak", "zeros", "a fit"])
def test_peaks_that_come_one_after_another_are_kept(start):
    """The example of continual learning of the KAN paper, on its fine grid.

    References
    ----------
    Z. Liu et al., KAN: Kolmogorov-Arnold Networks, 2024, section 3.5.
    """
    model = KANRegressor((), grid_size=200, **SEED)
    parts = [centre + np.linspace(-0.2, 0.2, 100) for centre in CENTRES]
    if start == "zeros":
        everywhere = np.concatenate(parts)
        model.partial_fit(everywhere[:, None], 0 * everywhere)
    elif start == "a fit":
        first, *parts = parts
        model.fit(first[:, None], peaks(first))
    n_calls = 10 if start == "zeros" else 1
    for x in parts:
        for _ in range(n_calls):
            model.partial_fit(x[:, None], peaks(x))
    assert model.score(LINE[:, None], peaks(LINE)) > 0.97


@pytest.mark.parametrize("hidden_layer_sizes", [(), (5,)])
def test_sorted_rows_are_learnt_as_shuffled_ones(hidden_layer_sizes):
    """Each batch has another range of the column by which they are sorted."""
    X, y = make_friedman1(1000, noise=1.0, **SEED)
    fresh = make_friedman1(1000, random_state=1)
    order = X[:, 3].argsort()
    model = KANRegressor(hidden_layer_sizes, **SEED)
    streamed(model, X[order], y[order], 10)
    shuffled = streamed(KANRegressor(hidden_layer_sizes, **SEED), X, y, 10)
    assert model.score(*fresh) > shuffled.score(*fresh) - 0.03


def test_many_passes_are_one_fit():
    """They neither fit the noise nor weaken the penalty."""
    X, y = make_friedman1(300, noise=1.0, **SEED)
    fresh = make_friedman1(1000, random_state=1)
    model = KANRegressor((5,), grid_size=5, **SEED)
    for _ in range(10):
        streamed(model, X, y, 3)
    alpha = alpha_of_stream(55, len(X), 5)
    whole = KANRegressor((5,), solver="lbfgs", alpha=alpha, grid_size=5, **SEED)
    assert abs(model.score(*fresh) - whole.fit(X, y).score(*fresh)) < 0.02


def test_one_row_moves_a_fit_by_a_row(rng):
    """Although a fit does not keep its rows: categories and gaps, too."""
    X = np.column_stack([rng.normal(size=(300, 2)), rng.integers(0, 3, 300)])
    X[::10, 1] = np.nan
    y = np.sin(2 * X[:, 0]) + X[:, 2]
    for shape in ((), (2,)):
        model = KANRegressor(shape, categorical_features=[2], **SEED).fit(X, y)
        before = model.predict(X)
        for row in range(5):
            model.partial_fit(X[[row]], y[[row]])
        assert np.std(model.predict(X) - before) < 0.05 * np.std(y)


def test_classes_that_come_one_after_another_are_kept():
    X, y = load_iris(return_X_y=True)
    model = KANClassifier((), **SEED)
    for label in range(3):
        model.partial_fit(X[y == label], y[y == label], classes=range(3))
    assert model.score(X, y) > 0.95


def test_adam_remembers_rows(rng):
    """In every pass it meets those of earlier batches."""
    x = rng.uniform(-1, 1, 200)
    x.sort()
    y, X = np.sin(3 * x), x[:, None]
    model = KANRegressor((), solver="adam", alpha=1e-4, **SEED)
    for rows in np.array_split(np.arange(200), 4):
        for _ in range(60):
            model.partial_fit(X[rows], y[rows])
    assert model.score(X, y) > 0.95


def test_remembered_rows_stand_for_all(monkeypatch):
    """Samples of samples have no bias: weights of a part sum to those of its rows."""
    monkeypatch.setattr(_remembered_rows, "N_REMEMBERED", 20)
    weight = np.arange(1.0, 61.0)
    X, sums = np.arange(60.0)[:, None], []
    for seed in range(400):
        generator = torch.Generator().manual_seed(seed)
        rows = X[:30], X[:30], weight[:30]
        rows = _remembered_rows.remembered(rows, generator)
        rows = _remembered_rows.joined(rows, (X[30:], X[30:], weight[30:]))
        kept, _, weights = _remembered_rows.remembered(rows, generator)
        assert len(kept) == 20
        sums.append([weights[kept[:, 0] < 15].sum(), weights.sum()])
    error = np.std(sums, axis=0) / np.sqrt(400)
    expected = [weight[:15].sum(), weight.sum()]
    assert (np.abs(np.mean(sums, axis=0) - expected) < 3 * error).all()
