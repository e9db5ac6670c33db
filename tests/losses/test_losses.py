"""Losses: values in closed form, gradients, best constant models."""

from dataclasses import fields, is_dataclass
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.integrate import fixed_quad, quad
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import expit, huber, logit, softmax
from scipy.stats import expon, logistic, norm, pareto
from sklearn.metrics import (
    mean_pinball_loss,
    mean_squared_error,
    mean_tweedie_deviance,
)
from torch.autograd.functional import hessian, jacobian

from skkan.data._scaling import NORMAL_MEDIAN
from skkan.losses._classification import PRIOR_COUNT, BinaryLogLoss, MultinomialLogLoss
from skkan.losses._registry import REGRESSION_LOSSES, regression_loss
from skkan.losses._regression import (
    LARGEST_LOG,
    PoissonDeviance,
    SquaredError,
)
from skkan.losses._robust import (
    HUBER_DELTA,
    MAX_SHIFT,
    MIN_SPREAD,
    NEAR_SHARE,
    NEAR_WIDTH,
    SMOOTHING,
    Huber,
    Pinball,
)

LOSSES = [SquaredError(), BinaryLogLoss(), MultinomialLogLoss()]
NOISY = [make() for make in REGRESSION_LOSSES.values()] + [Pinball(0.9, 0.3)]
LOG_LINKED = [loss for loss in NOISY if loss.has_log_link]
ADAPTIVE = [Huber(), Pinball(), Pinball(0.9)]


def problem(loss, rng, n_samples=30, n_outputs=3):
    """Raw outputs and a target of the kind that the loss takes."""
    raw = torch.from_numpy(2 * rng.standard_normal((n_samples, n_outputs)))
    if isinstance(loss, SquaredError):
        return raw, torch.from_numpy(rng.standard_normal((n_samples, n_outputs)))
    if isinstance(loss, BinaryLogLoss):
        return raw, torch.from_numpy(1.0 * (rng.uniform(size=raw.shape) < 0.3))
    return raw, torch.from_numpy(np.eye(n_outputs)[rng.integers(n_outputs, size=30)])


def by_name(loss):
    return type(loss).__name__


@pytest.mark.parametrize("loss", LOSSES, ids=by_name)
def test_value_is_the_negative_log_likelihood(loss, rng):
    """Of a normal with unit noise (up to a constant), of coins, of one die."""
    raw, target = problem(loss, rng)
    z, t = raw.numpy(), target.numpy()
    expected = {
        "SquaredError": lambda: 0.5 * ((z - t) ** 2).sum(1),
        "BinaryLogLoss": lambda: -np.log(np.where(t == 1, expit(z), expit(-z))).sum(1),
        "MultinomialLogLoss": lambda: -np.log((softmax(z, axis=1) * t).sum(1)),
    }[by_name(loss)]()
    assert_allclose(loss.value(raw, target), expected, rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES, ids=by_name)
def test_gradient_is_prediction_minus_target(loss, rng):
    """All three pair a loss with its canonical link."""
    raw, target = problem(loss, rng)
    raw.requires_grad_()
    (gradient,) = torch.autograd.grad(loss.value(raw, target).sum(), raw)
    expected = (loss.inverse_link(raw) - target).detach()
    assert_allclose(gradient, expected, rtol=0, atol=1e-14)
    assert torch.autograd.gradcheck(lambda z: loss.value(z, target), raw)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("loss", LOSSES, ids=by_name)
def test_given_derivatives_are_autograds(loss, n_outputs, rng):
    """First and second ones, R^T R = H, by which second-order solvers step."""
    raw, target = problem(loss, rng, n_outputs=n_outputs)

    def total(raw):
        return loss.value(raw, target).sum()

    gradient = jacobian(total, raw)
    assert_allclose(loss.gradient(raw, target), gradient, rtol=0, atol=1e-14)
    # Samples have nothing to do with each other: only the blocks of each are not zero.
    expected = torch.einsum("nonp->nop", hessian(total, raw))
    root = loss.curvature_root(raw, target)
    assert_allclose(root.mT @ root, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("size", [1e2, 1e3, 1e150])
@pytest.mark.parametrize("loss", LOSSES[1:], ids=by_name)
def test_given_derivatives_survive_large_outputs(loss, size):
    """Where a class is certain, there is no curvature, but no NaN either."""
    raw = torch.tensor([[size, -size], [-size, size]], dtype=torch.float64)
    right = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert_allclose(loss.gradient(raw, right), np.zeros((2, 2)), atol=1e-40)
    wrong = loss.gradient(raw, right.flip(0))
    assert_allclose(wrong, [[1, -1], [-1, 1]], rtol=1e-15)
    root = loss.curvature_root(raw, right)
    assert_allclose(root.mT @ root, np.zeros((2, 2, 2)), atol=1e-40)


def test_links_are_scipys(rng):
    """Predictions are probabilities of the usual links."""
    raw = torch.from_numpy(5 * rng.standard_normal((20, 3)))
    assert_allclose(BinaryLogLoss().inverse_link(raw), expit(raw.numpy()), rtol=1e-13)
    expected = softmax(raw.numpy(), axis=1)
    assert_allclose(MultinomialLogLoss().inverse_link(raw), expected, rtol=1e-13)
    assert SquaredError().inverse_link(raw) is raw


@pytest.mark.parametrize("size", [1e3, 1e150, 1e300])
@pytest.mark.parametrize("loss", LOSSES[1:], ids=by_name)
def test_log_losses_survive_large_outputs(loss, size):
    """Separable classes drive the raw output up; exp() of it must not overflow."""
    raw = torch.tensor([[size, -size], [-size, size]], dtype=torch.float64)
    right = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert_allclose(loss.value(raw, right), [0, 0], atol=1e-300)
    wrong = loss.value(raw, right.flip(0))
    assert_allclose(wrong, [2 * size, 2 * size], rtol=1e-15)


def test_two_classes_are_one_yes_no_label(rng):
    """softmax(0, z) = (1 - sigmoid(z), sigmoid(z)): the same model in other words."""
    z, label = problem(BinaryLogLoss(), rng, n_outputs=1)
    pair = torch.cat([torch.zeros_like(z), z], dim=1)
    indicator = torch.cat([1 - label, label], dim=1)
    weight = torch.from_numpy(rng.uniform(1, 2, len(z)))
    binary, multinomial = BinaryLogLoss(), MultinomialLogLoss()
    assert_allclose(
        binary.value(z, label), multinomial.value(pair, indicator), rtol=1e-13
    )
    prediction = multinomial.inverse_link(pair)
    assert_allclose(binary.inverse_link(z)[:, 0], prediction[:, 1], rtol=1e-13)
    logs = multinomial.baseline(indicator, weight)
    assert_allclose(binary.baseline(label, weight), [logs[1] - logs[0]], rtol=1e-13)


@pytest.mark.parametrize("loss", LOSSES[1:], ids=by_name)
def test_baseline_is_the_best_constant_model(loss, rng):
    """Of the data with Jeffreys' prior, half a sample of each class, added."""
    _, target = problem(loss, rng)
    weight = torch.from_numpy(rng.uniform(1, 2, len(target)))
    n_outputs = target.shape[1]
    if isinstance(loss, BinaryLogLoss):
        prior = torch.tensor([[0.0] * n_outputs, [1.0] * n_outputs]).double()
    else:
        prior = torch.eye(n_outputs, dtype=torch.float64)
    rows = torch.cat([target, prior])
    counts = torch.cat([weight, weight.new_full((len(prior),), PRIOR_COUNT)])

    def total(constant):
        constant = torch.from_numpy(constant).requires_grad_()
        value = counts @ loss.value(constant.expand_as(rows), rows)
        (gradient,) = torch.autograd.grad(value, constant)
        return value.item(), gradient.numpy()

    best = minimize(total, np.zeros(n_outputs), jac=True, options={"gtol": 1e-10}).x
    baseline = loss.baseline(target, weight)
    # A common shift of all outputs means nothing under the softmax.
    shift = 0.0 if isinstance(loss, BinaryLogLoss) else best.mean() - baseline.mean()
    assert_allclose(baseline + float(shift), best, rtol=0, atol=1e-8)
    _, gradient = total(baseline.numpy())
    assert_allclose(gradient, 0, atol=1e-12)


def test_baseline_of_a_standardised_target_is_zero(rng):
    """Its mean is zero already, up to rounding that would break equal results."""
    target = torch.from_numpy(rng.standard_normal((10, 2)))
    baseline = SquaredError().baseline(target, torch.ones(10).double())
    assert_allclose(baseline, [0.0, 0.0], rtol=0, atol=0)


@pytest.mark.parametrize("loss", LOSSES[1:], ids=by_name)
def test_baseline_of_an_absent_class_is_finite(loss):
    """A batch of a stream, or a fold, may lack a class."""
    target = torch.tensor([[1.0, 0.0]] * 5, dtype=torch.float64)
    baseline = loss.baseline(target, torch.ones(5).double())
    assert_allclose(baseline[0] - baseline[1], np.log(5.5 / 0.5) * _pairs(loss))


def _pairs(loss):
    # Each column of yes-no labels has a logit of its own, softmax shares one.
    return 2 if isinstance(loss, BinaryLogLoss) else 1


@pytest.mark.parametrize("loss", LOSSES[1:], ids=by_name)
def test_baseline_takes_weights_as_repetitions(loss, rng):
    """As everywhere."""
    _, target = problem(loss, rng)
    count = torch.from_numpy(rng.integers(1, 5, len(target)))
    repeated = target.repeat_interleave(count, 0)
    ones = torch.ones(len(repeated)).double()
    expected = loss.baseline(repeated, ones)
    assert_allclose(loss.baseline(target, count.double()), expected, rtol=1e-13)


# Losses of regression, with a noise that is learnt.


@pytest.mark.parametrize("name", REGRESSION_LOSSES)
def test_losses_are_made_by_their_names_from_their_own_parameters(name):
    """An estimator has parameters of other losses, too, which may not be set."""
    kind = REGRESSION_LOSSES[name]
    own = fields(kind) if is_dataclass(kind) else ()
    given = {each.name: each.default for each in own if each.name in kind.parameters}
    loss = regression_loss(name, {"alpha": 1.0, "unknown": None, **given})
    assert type(loss) is kind
    assert vars(loss) == vars(kind())


@pytest.mark.parametrize("loss", LOG_LINKED, ids=by_name)
def test_noise_of_a_deviance_is_in_units_of_a_power_of_the_target(loss, rng):
    """Of targets and means that are multiplied by a factor."""
    raw, target = noisy_problem(loss, rng)
    for factor in (0.01, 30.0):
        scaled = loss.elements(raw + np.log(factor), factor * target)
        expected = factor**loss.noise_power * loss.elements(raw, target)
        assert_allclose(scaled, expected, rtol=1e-9, atol=1e-12)


def noisy_problem(loss, rng, n_samples=40, n_outputs=2):
    """Raw outputs and targets, zeros among them where the loss takes them."""
    raw = torch.from_numpy(2 * rng.standard_normal((n_samples, n_outputs)))
    target = 2 * rng.standard_normal(raw.shape)
    if loss.has_log_link:
        target = rng.gamma(0.7, 2, raw.shape)
        target[::3] *= not loss.takes_zero
    return raw, torch.from_numpy(target)


@pytest.mark.parametrize("loss", NOISY, ids=by_name)
def test_value_of_regression_is_half_the_peers_deviance(loss, rng):
    """scikit-learn's deviances; scipy's Huber loss; a convolution with a kernel."""
    raw, target = noisy_problem(loss, rng, n_samples=8)

    def smoothed(residual):
        scale = loss.width

        def integrand(shift):
            residuals = (residual + shift)[np.newaxis]
            settings = {"alpha": loss.quantile, "multioutput": "raw_values"}
            losses = mean_pinball_loss(residuals, np.zeros_like(residuals), **settings)
            return losses * logistic.pdf(shift, scale=scale)

        ends = -40 * scale, np.clip(-residual, -40 * scale, 40 * scale), 40 * scale
        return sum(fixed_quad(integrand, *pair, n=400)[0] for pair in pairwise(ends))

    peers = {
        "SquaredError": lambda t, z: mean_squared_error([t], [z]) / 2,
        "Huber": lambda t, z: huber(loss.delta, t - z),
        "Pinball": lambda t, z: smoothed(t - z),
    }

    def deviance(t, z):
        return mean_tweedie_deviance([t], [np.exp(z)], power=loss.variance_power) / 2

    peer = np.vectorize(peers.get(by_name(loss), deviance))(target, raw)
    # The quadrature is as precise as this.
    assert_allclose(loss.elements(raw, target), peer, rtol=1e-7, atol=1e-9)
    assert_allclose(loss.value(raw, target), peer.sum(1), rtol=1e-7)


@pytest.mark.parametrize("loss", NOISY, ids=by_name)
def test_gradient_of_regression_is_autograds(loss, rng):
    raw, target = noisy_problem(loss, rng)
    gradient = jacobian(lambda raw: loss.value(raw, target).sum(), raw)
    assert_allclose(loss.gradient(raw, target), gradient, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", [SquaredError(), *LOG_LINKED], ids=by_name)
def test_curvature_of_deviances_is_autograds(loss, rng):
    raw, target = noisy_problem(loss, rng)
    expected = hessian(lambda raw: loss.value(raw, target).sum(), raw)
    root = loss.curvature_root(raw, target)
    expected = torch.einsum("nonp->nop", expected)
    assert_allclose(root.mT @ root, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("loss", [*ADAPTIVE, Pinball(0.7, 0.01)], ids=by_name)
def test_curvature_of_robust_losses_lies_above_them(loss, rng):
    """The parabola touches the loss, so that its minimum lowers the loss; it is tight.

    Half of its curvature more than touches, and lies below the loss somewhere.
    """
    raw, target = noisy_problem(loss, rng)
    value, slope = loss.elements(raw, target), loss.gradient(raw, target)
    curvature = loss.curvature(raw, target)
    root = loss.curvature_root(raw, target)
    assert_allclose(root.mT @ root, torch.diag_embed(curvature), rtol=1e-12)
    steps = torch.linspace(-30, 30, 1201, dtype=torch.float64).view(-1, 1, 1)
    moved = loss.elements(raw + steps, target)

    def least_gap(curvature):
        parabola = value + slope * steps + 0.5 * curvature * steps.square()
        return (parabola - moved).amin(0)

    assert least_gap(curvature).min() > -1e-12
    assert (least_gap(0.5 * curvature) < 0).double().mean() > 0.9


@pytest.mark.parametrize("distance", [0.0, 1e-12, 1e-6, 1e3, 1e150])
def test_curvature_of_quantiles_at_the_target_and_far_away(distance):
    """tanh(x) / x, whose limits are 1 and 1 / x."""
    raw = torch.full((1, 1), distance, dtype=torch.float64)
    curvature = Pinball(0.5, 0.1).curvature(raw, torch.zeros_like(raw))
    expected = 2.5 if distance < 1e-3 else 0.5 / distance
    assert_allclose(curvature, [[expected]], rtol=1e-9)


@pytest.mark.parametrize("size", [60.0, 1e3, 1e100])
@pytest.mark.parametrize("loss", LOG_LINKED, ids=by_name)
def test_log_links_survive_wild_steps(loss, size):
    """A step of a solver may be long; the value must say so, and lead back."""
    target = torch.tensor([[1.0, 3.0]], dtype=torch.float64)
    for raw in (torch.full_like(target, size), torch.full_like(target, -size)):
        value, gradient = loss.value(raw, target), loss.gradient(raw, target)
        assert torch.isfinite(value).all()
        assert value > size / 2
        assert (gradient * raw > 0).all()
        assert torch.isfinite(loss.curvature_root(raw, target)).all()
        prediction = loss.inverse_link(raw)
        assert ((prediction > 0) & torch.isfinite(prediction)).all()


@pytest.mark.parametrize("edge", [-LARGEST_LOG, LARGEST_LOG])
@pytest.mark.parametrize("loss", LOG_LINKED, ids=by_name)
def test_continued_deviances_are_smooth(loss, edge):
    """Where the exponential is left, value and slope go on without a jump."""
    target = torch.tensor([[2.0]], dtype=torch.float64)
    inner, outer = (
        torch.full_like(target, edge * (1 + side)) for side in (-1e-9, 1e-9)
    )
    for part in (loss.value, loss.gradient, loss.curvature):
        assert_allclose(part(outer, target), part(inner, target), rtol=1e-6)
    beyond = torch.full((1, 1), edge * 1.1, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda raw: loss.value(raw, target), beyond.requires_grad_(), rtol=1e-4
    )
    (slope,) = torch.autograd.grad(loss.value(beyond, target).sum(), beyond)
    assert_allclose(loss.gradient(beyond.detach(), target), slope, rtol=1e-12)


def test_large_counts_keep_their_digits():
    """mu - y log(mu) would lose the deviance of counts of 1e12 in rounding."""
    target = torch.full((1, 1), 1e12, dtype=torch.float64)
    raw = target.log() + 1e-6  # one deviation of Poisson's law away
    assert_allclose(PoissonDeviance().value(raw, target), [0.5], rtol=1e-5)


@pytest.mark.parametrize("loss", NOISY, ids=by_name)
def test_baseline_of_regression_is_the_best_constant(loss, rng):
    """By brute force; a weight of 2 is the row twice."""
    _, target = noisy_problem(loss, rng, n_samples=31)
    count = torch.from_numpy(rng.integers(1, 4, len(target)))
    loss = getattr(loss, "exact", loss)
    baseline = loss.baseline(target, count.double())
    repeated = target.repeat_interleave(count, 0)
    ones = torch.ones(len(repeated)).double()
    assert_allclose(loss.baseline(repeated, ones), baseline, rtol=1e-12, atol=1e-14)
    if isinstance(loss, SquaredError):  # its target is standardised
        return

    def total(constant, output):
        raw = torch.full((len(repeated), 1), constant, dtype=torch.float64)
        return float(loss.value(raw, repeated[:, [output]]).sum())

    for output, value in enumerate(baseline.tolist()):
        best = minimize_scalar(total, args=(output,), bounds=(-5, 5)).fun
        # Brute force ends at the root of the rounding of the value.
        assert total(value, output) <= best * (1 + 1e-9)


@pytest.mark.parametrize("loss", NOISY, ids=by_name)
def test_deviances_are_twice_the_loss_but_for_outliers(loss, rng):
    """Which count as if they were four deviations of the noise away."""
    raw, target = noisy_problem(loss, rng)
    target = raw + (target - raw) / 100 if loss.is_adaptive else target
    expected = 2 * loss.elements(raw, target)
    assert_allclose(loss.deviances(raw, target), expected, rtol=1e-14)
    if loss.is_adaptive:
        for side in (-1, 1):
            far = loss.deviances(raw, raw + 1e6 * side)
            near = 2 * loss.exact.elements(raw, raw + 4 * side)
            assert_allclose(far, near, rtol=1e-9)


@pytest.mark.parametrize("loss", ADAPTIVE, ids=by_name)
def test_noise_is_read_off_residuals(loss, rng):
    """Of normal residuals of deviation 0.2 and 5, outliers among them or not."""
    target = torch.from_numpy(rng.standard_normal((4000, 2)) * [0.2, 5])
    target[:40] *= 1e6
    raw, weight = torch.zeros_like(target), torch.ones(4000).double()
    adapted = loss.adapted(raw, target, weight)
    if isinstance(loss, Huber):
        spread = np.array(adapted.delta) / HUBER_DELTA
    else:
        spread = adapted.spread
        assert adapted.quantile == loss.quantile
        near = NEAR_SHARE * min(loss.quantile, 1 - loss.quantile)
        most = MAX_SHIFT / max(abs(logit(loss.quantile)), 1e-9)
        width = min(NEAR_WIDTH, most) * norm.ppf(0.5 + near / 2)
        # The sampling error of a hundred and more rows near zero.
        assert_allclose(adapted.width, width * np.array([0.2, 5]), rtol=0.2)
    # The sampling error of the shortest half, and what 1% of outliers add to it.
    assert_allclose(spread, [0.2, 5], rtol=0.1)
    assert adapted.adapted(raw, 1.1 * target, weight) is adapted  # hardly any change


@pytest.mark.parametrize("quantile", [0.01, 0.99])
def test_smoothing_of_an_extreme_quantile_settles_at_rows_that_are_equal(quantile):
    """The best constant is log((1 - q) / q) widths off; its own shift was its scale."""
    target, weight = torch.zeros(40, 1).double(), torch.ones(40).double()
    loss = Pinball(quantile)
    for n_updates in range(1, 10):
        raw = target + target.new_tensor(loss.width) * logit(quantile)
        assert_allclose(loss.gradient(raw, target), 0, atol=1e-12)
        loss = loss.adapted(raw, target, weight)
        assert_allclose(loss.width, SMOOTHING * MAX_SHIFT**n_updates, rtol=1e-9)


def test_spread_is_that_of_the_shortest_half_wherever_it_is(rng):
    """By brute force over repeated rows, a weight of 2 being the row twice."""
    residual = rng.standard_normal((41, 2)) * [1.0, 7.0] + [0.0, 1e3]
    residual[:15] += [100.0, -1e6]
    count = rng.integers(1, 4, 41)
    rows = torch.from_numpy(residual), torch.from_numpy(count).double()
    adapted = Huber().adapted(torch.zeros_like(rows[0]), *rows)
    repeated = np.sort(np.repeat(residual, count, axis=0), axis=0)
    n_half = (len(repeated) + 1) // 2
    lengths = repeated[n_half - 1 :] - repeated[: len(repeated) - n_half + 1]
    expected = HUBER_DELTA * lengths.min(axis=0) / (2 * NORMAL_MEDIAN)
    assert_allclose(adapted.delta, expected, rtol=1e-12)


@pytest.mark.parametrize("loss", ADAPTIVE, ids=by_name)
def test_noise_of_a_perfect_fit_has_a_floor(loss, rng):
    """An interpolating network must not make the loss a line with a kink."""
    raw = torch.from_numpy(rng.standard_normal((50, 1)))
    adapted = loss.adapted(raw, raw, torch.ones(50).double())
    size = adapted.delta if isinstance(loss, Huber) else adapted.width
    unit = HUBER_DELTA if isinstance(loss, Huber) else SMOOTHING
    assert_allclose(size, [unit * MIN_SPREAD], rtol=1e-12)


def test_other_losses_know_of_no_noise(rng):
    for loss in (SquaredError(), *LOG_LINKED, *LOSSES[1:]):
        raw, target = torch.zeros(3, 2), torch.ones(3, 2)
        assert loss.adapted(raw, target, torch.ones(3)) is loss
        assert loss.exact is loss
        assert not loss.is_adaptive


@pytest.mark.parametrize("quantile", [0.02, 0.1, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("law", [norm, expon, pareto(1.5)])
def test_smoothing_hardly_moves_a_quantile(law, quantile):
    """Not even next to the sharp end of a law, or in its heavy tail.

    The best constant under the settled loss has its share of the rows below it, to a
    fortieth of the smaller part.
    """
    target = torch.from_numpy(law.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None])
    weight, loss = torch.ones(20_000).double(), Pinball(quantile)

    def slope(constant):
        return float(loss.gradient(torch.full_like(target, constant), target).mean())

    for _ in range(10):
        constant = brentq(slope, law.ppf(1e-4) - 2, law.ppf(0.9999))
        loss = loss.adapted(torch.full_like(target, constant), target, weight)
    atol = min(quantile, 1 - quantile) / 40
    assert_allclose(law.cdf(constant), quantile, rtol=0, atol=atol)


def test_noise_of_rows_held_out_is_that_of_normal_errors_without_outliers(rng):
    """A hundredth of wild errors hardly moves it; weights are repetitions."""
    target = torch.from_numpy(rng.normal(size=(20_000, 2)) * [1.0, 3.0])
    target[:200] *= 1e3
    raw, weight = torch.zeros_like(target), torch.ones(20_000, dtype=torch.float64)
    noise = SquaredError().noise_of(raw, target, weight)
    assert_allclose(noise, [1.0, 9.0], rtol=0.08)
    weight = torch.from_numpy(rng.integers(1, 4, 50))
    few = target[200:250]
    repeated = few.repeat_interleave(weight, dim=0)
    ones = torch.ones(len(repeated), dtype=torch.float64)
    assert_allclose(
        SquaredError().noise_of(raw[:50], few, weight.double()),
        SquaredError().noise_of(torch.zeros_like(repeated), repeated, ones),
    )


# Moderation


@pytest.mark.parametrize("std", [0.3, 1.0, 3.0, 9.0])
@pytest.mark.parametrize("raw", [-12.0, -2.0, 0.0, 0.7, 8.0])
def test_moderated_logits_give_the_mean_probability(raw, std):
    """Both probabilities, so that the small one is right where the other is near 1."""
    deviations = torch.full((1, 1, 1), std, dtype=torch.float64)
    logit = torch.tensor([[raw]], dtype=torch.float64)
    moderated = float(BinaryLogLoss().moderated(logit, deviations))
    for sign in (-1, 1):

        def integrand(z, sign=sign):
            return expit(sign * (raw + std * z)) * norm.pdf(z)

        mean, _ = quad(integrand, -10, 10, epsabs=0, epsrel=1e-10, limit=500)
        assert_allclose(expit(sign * moderated), mean, rtol=2e-5)


@pytest.mark.parametrize("std", [0.0, 20.0, 100.0, 1000.0])
def test_moderation_never_changes_the_side(std, rng):
    """However wide the posterior, and however far the logit."""
    raw = torch.tensor([[1e-3], [1.0], [200.0], [1500.0], [1e4]], dtype=torch.float64)
    deviations = torch.full((1, 1, 5), std, dtype=torch.float64)
    for sign in (-1, 1):
        moderated = sign * BinaryLogLoss().moderated(sign * raw, deviations)
        assert (moderated > 0).all()
        assert (moderated <= raw * (1 + 1e-12)).all()


def test_logits_that_do_not_vary_stay_as_they_are():
    raw = torch.tensor([[-1e5], [-700.0], [-3.0], [0.0], [40.0]], dtype=torch.float64)
    moderated = BinaryLogLoss().moderated(raw, torch.zeros(1, 2, 5).double())
    assert_allclose(moderated.numpy(), raw.numpy(), rtol=1e-13, atol=1e-15)


def test_classes_that_tie_are_moderated_without_a_division_by_zero():
    """Their order is kept, and so is that of the others."""
    raw = torch.tensor([[1.0, 1.0, -2.0]], dtype=torch.float64)
    deviations = torch.tensor([[[1.0]], [[-1.0]], [[0.0]]], dtype=torch.float64)
    moderated = MultinomialLogLoss().moderated(raw, deviations)
    near = raw + torch.tensor([[1e-4, 0.0, 0.0]])
    assert_allclose(
        moderated, MultinomialLogLoss().moderated(near, deviations), rtol=1e-3
    )


@pytest.mark.parametrize("make", [BinaryLogLoss, MultinomialLogLoss])
def test_quadrature_points_have_the_covariance_of_the_posterior(make, rng):
    """Of each output where they are independent, else of their differences."""
    loss = make()
    deviations = torch.from_numpy(rng.normal(size=(4, 6, 30)))
    points, share = loss.quadrature_points(deviations)
    assert_allclose(share.sum(), 1.0, rtol=1e-14)
    mean = torch.einsum("p,npa->na", share, points)
    assert_allclose(mean, torch.zeros_like(mean), atol=1e-13)
    if isinstance(loss, BinaryLogLoss):
        variance = torch.einsum("p,npa->na", share, points.square())
        assert_allclose(variance.T, deviations.square().sum(1), rtol=1e-12)
        return
    for one, other in combinations(range(4), 2):
        apart = (points[..., one] - points[..., other]).square() @ share
        expected = (deviations[one] - deviations[other]).square().sum(0)
        assert_allclose(apart, expected, rtol=1e-10)


def test_two_classes_are_moderated_as_their_difference(rng):
    raw = torch.from_numpy(rng.normal(scale=4, size=(50, 2)))
    deviations = torch.from_numpy(rng.normal(size=(2, 5, 50)))
    pair = MultinomialLogLoss().moderated(raw, deviations)
    single = BinaryLogLoss().moderated(
        raw[:, 1:] - raw[:, :1], deviations[1:] - deviations[:1]
    )
    assert_allclose((pair[:, 1:] - pair[:, :1]).numpy(), single.numpy(), rtol=1e-12)


def test_moderation_keeps_the_order_of_classes(rng):
    raw = torch.from_numpy(rng.normal(size=(50, 4)))
    deviations = torch.from_numpy(rng.normal(size=(4, 5, 50)))
    moderated = MultinomialLogLoss().moderated(raw, deviations)
    assert torch.equal(moderated.argsort(1), raw.argsort(1))


def test_losses_with_a_noise_are_not_moderated(rng):
    raw = torch.from_numpy(rng.normal(size=(5, 1)))
    assert SquaredError().moderated(raw, raw.new_ones(1, 3, 5)) is raw
