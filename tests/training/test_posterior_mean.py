"""The mean of the posterior of classes, against integrals and what it promises."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from skkan import KANClassifier, KANRegressor
from skkan.inspection import prune
from skkan.losses._classification import BinaryLogLoss, MultinomialLogLoss
from skkan.solvers import DivergenceError
from skkan.training._posterior_mean import ExpectedLoss

every_loss = pytest.mark.parametrize(
    ("loss", "n_outputs"),
    [(BinaryLogLoss(), 1), (BinaryLogLoss(), 3), (MultinomialLogLoss(), 3)],
    ids=["one", "labels", "classes"],
)


def with_points(loss, n_outputs, rng):
    """Raw outputs, a target with quadrature points, and both of them apart."""
    raw, target = torch.from_numpy(rng.normal(size=(2, 20, n_outputs)))
    target = (target > 0).double()
    deviations = torch.from_numpy(rng.normal(size=(n_outputs, 4, 20)))
    points, share = loss.quadrature_points(deviations)
    together = torch.cat([target, points.flatten(1)], dim=1)
    return ExpectedLoss(loss, share), raw, together, target, points


@every_loss
def test_mean_loss_is_the_mean_over_the_points(loss, n_outputs, rng):
    mean, raw, together, target, points = with_points(loss, n_outputs, rng)
    expected = sum(
        share * loss.value(raw + points[:, index], target)
        for index, share in enumerate(mean.weight)
    )
    assert_allclose(mean.value(raw, together), expected, rtol=1e-12)


@every_loss
def test_derivatives_of_the_mean_loss_are_autograds(loss, n_outputs, rng):
    mean, raw, together, _, _ = with_points(loss, n_outputs, rng)
    raw.requires_grad_()
    (slope,) = torch.autograd.grad(mean.value(raw, together).sum(), raw)
    assert_allclose(mean.gradient(raw.detach(), together), slope, atol=1e-13)
    root = mean.curvature_root(raw.detach(), together)
    for row in range(3):

        def value(own, row=row):
            return mean.value(own.unsqueeze(0), together[row : row + 1]).sum()

        hessian = torch.autograd.functional.hessian(value, raw[row].detach())
        assert_allclose(root[row].T @ root[row], hessian, atol=1e-12)


@every_loss
def test_curvature_of_rows_that_are_certain_has_a_root(loss, n_outputs, rng):
    """Of the order of their probability of being wrong, which is far below rounding."""
    mean, raw, together, _, _ = with_points(loss, n_outputs, rng)
    raw = 200 * raw
    root = mean.curvature_root(raw, together)
    assert torch.isfinite(root).all()
    points = raw.unsqueeze(1) + together[:, n_outputs:].view(20, -1, n_outputs)
    hessian = loss.mean_hessian(points, mean.weight)
    largest = hessian.abs().amax((1, 2), keepdim=True)
    assert_allclose((root.mT @ root - hessian) / (largest + 1e-200), 0, atol=1e-11)


def posterior_by_grid(x, y, precision):
    """Mean of the slope of a logistic regression by quadrature."""
    slopes = np.linspace(-5, 60, 20_001)
    logits = np.outer(slopes, x)
    log_density = -np.logaddexp(0, -np.where(y, logits, -logits)).sum(1)
    log_density -= 0.5 * precision * slopes**2
    density = np.exp(log_density - log_density.max())
    return slopes @ density / density.sum(), slopes[density.argmax()]


def test_mean_of_a_skewed_posterior_is_nearer_the_true_one_than_its_mode():
    """A separable table of one edge, whose posterior can be integrated."""
    x = np.repeat([-1.0, 1.0], 15)
    y = x > 0
    model = KANClassifier(
        (),
        grid_size=1,
        spline_order=1,
        base_activation="identity",
        categorical_features=[0],
        solver="lm",
        alpha=[[0.02, 0.0, 0.0]],
    ).fit(x[:, None], y)
    # Two categories with one weight each: the difference of their logits is that of
    # two independent slopes, each with its own rows and the same prior.
    mean, mode = posterior_by_grid(x[x > 0], y[x > 0], precision=0.02 * len(x))
    found = model._raw(np.array([[1.0]]))[0, 0]
    assert abs(found - mean) < 0.25 * (mean - mode)


def test_learnt_alpha_reproduces_the_fit(rng):
    """The penalties that were learnt around the mean, and the mean under them."""
    X = rng.normal(size=(150, 4))
    y = X[:, 0] + X[:, 1] ** 2 > 0.5
    model = KANClassifier((), random_state=0).fit(X, y)
    again = clone(model).set_params(alpha=model.alpha_, tol=1e-9).fit(X, y)
    assert_allclose(again.predict_proba(X), model.predict_proba(X), atol=2e-3)


def test_one_alpha_for_all_edges_asks_for_the_minimum(rng):
    """Of the penalised loss, by whatever solver."""
    X = rng.normal(size=(80, 2))
    y = X[:, 0] + 0.5 * rng.normal(size=80) > 0
    settings = {"alpha": 0.01, "max_iter": 3000, "tol": 0.0, "n_iter_no_change": 3000}
    first, second = (
        KANClassifier((), solver=solver, **settings).fit(X, y)
        for solver in ("lm", "lbfgs")
    )
    assert_allclose(
        first._raw(first._validated(X)), second._raw(second._validated(X)), atol=1e-4
    )


def test_separable_classes_are_told_with_more_certainty_than_by_the_mode(
    change_settings,
):
    """Held out, that is worth it."""
    X, y = load_iris(return_X_y=True)
    model = KANClassifier((), random_state=0)
    loss = {}
    for max_rows in (len(X), 0):
        change_settings("training", "POSTERIOR_MEAN", max_rows=max_rows)
        model.fit(X[::2], y[::2])
        loss[max_rows] = log_loss(y[1::2], model.predict_proba(X[1::2]))
    assert loss[len(X)] < loss[0]


def test_losses_with_a_noise_have_their_mean_at_the_mode(change_settings, rng):
    X = rng.normal(size=(60, 2))
    y = X[:, 0] + 0.1 * rng.normal(size=60)
    first = KANRegressor((), random_state=0).fit(X, y).predict(X)
    change_settings("training", "POSTERIOR_MEAN", max_rows=0)
    assert_array_equal(KANRegressor((), random_state=0).fit(X, y).predict(X), first)


def test_where_the_way_to_the_mean_diverges_the_mode_stays(
    monkeypatch, change_settings, rng
):
    """As it does with more rows than the mean is worth."""
    X = rng.normal(size=(60, 2))
    y = X[:, 0] + 0.5 * rng.normal(size=60) > 0

    def diverge(*_args, **_settings):
        raise DivergenceError

    with monkeypatch.context() as patch:
        patch.setattr("skkan.training._posterior_mean.at_mode", diverge)
        first = KANClassifier((), random_state=0).fit(X, y)
    change_settings("training", "POSTERIOR_MEAN", max_rows=0)
    second = KANClassifier((), random_state=0).fit(X, y)
    assert_array_equal(first.predict_proba(X), second.predict_proba(X))


@pytest.mark.parametrize("threshold", [None, 0.05, "auto"])
def test_an_interrupted_way_to_the_mean_leaves_the_mode(
    threshold, monkeypatch, change_settings, rng
):
    """The training before it is not lost, and no pruning follows."""
    X = rng.normal(size=(60, 2))
    y = X[:, 0] + 0.5 * rng.normal(size=60) > 0

    def interrupt(*_args, **_settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        first = KANClassifier((), random_state=0, prune_threshold=threshold)
        patch.setattr("skkan.training._posterior_mean.at_mode", interrupt)
        with pytest.warns(ConvergenceWarning, match="was interrupted after"):
            first.fit(X, y)
    change_settings("training", "POSTERIOR_MEAN", max_rows=0)
    second = KANClassifier((), random_state=0).fit(X, y)
    assert_array_equal(first.predict_proba(X), second.predict_proba(X))


@pytest.mark.parametrize("sizes", [(), (2,)], ids=str)
@pytest.mark.parametrize("threshold", [0.1, "auto"], ids=str)
def test_hyperparameter_prunes_what_the_function_prunes(sizes, threshold, rng):
    """Where edges go, a fit is a fit without pruning, and then `prune`.

    The latter reads the prior off `alpha_`, which rounds.
    """
    X = rng.normal(size=(300, 4))
    y = X[:, 0] + X[:, 1] ** 2 - 1 + 0.5 * rng.normal(size=300) > 0
    model = KANClassifier(sizes, random_state=0)
    whole = clone(model).fit(X, y)
    at_once = model.set_params(prune_threshold=threshold).fit(X, y)
    after = prune(whole, X, y, threshold=threshold)
    assert at_once.network_.n_edges < whole.network_.n_edges
    assert_allclose(at_once.predict_proba(X), after.predict_proba(X), atol=1e-6)
