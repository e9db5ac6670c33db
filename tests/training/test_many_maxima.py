"""The evidence of one curve may have several maxima: the best of them is found."""

import numpy as np
import pytest
import torch

from skkan import KANClassifier, KANRegressor
from skkan.inference._evidence_maximization import improved_prior
from skkan.inference._prior import Prior, clamped
from skkan.training import _second_order


def fitted_with_linearisation(model, X, y, monkeypatch):
    """The model, and the linearisation at which its training ended."""
    runs = []

    class Kept(_second_order._SecondOrderRun):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            runs.append(self)

    monkeypatch.setattr(_second_order, "_SecondOrderRun", Kept)
    model.fit(X, y)
    return runs[-1].linearised()


def best_of_starts(line, n_starts, rng):
    """Largest evidence that updates reach from random priors, the slow way."""
    best = -np.inf
    n_edges = len(line.exists)
    for _ in range(n_starts):
        size = rng.uniform(-3, 5, (n_edges, 1))
        second = size + rng.uniform(-7, 2, (n_edges, 1))
        third = size + rng.uniform(-12, 0, (n_edges, 1))
        precision = torch.tensor(10.0 ** np.hstack([size, second, third]))
        precision[:, rng.integers(1, 3)] = 0.0
        prior = Prior(clamped(precision), 10 ** rng.uniform(-4, 0))
        posterior = line.posterior(prior)
        for _ in range(100):
            before = posterior.log_evidence
            prior = improved_prior(line, prior, posterior)
            posterior = line.posterior(prior)
            if posterior.log_evidence - before < 1e-3:
                break
        best = max(best, posterior.log_evidence)
    return best


@pytest.mark.parametrize("noise", [0.1, 1.0])
@pytest.mark.parametrize("n_cycles", [6, 20])
def test_cycles_are_told_from_noise(rng, monkeypatch, noise, n_cycles):
    x = np.linspace(0, 1, 360)
    law = np.sin(2 * np.pi * n_cycles * x)
    y = law + noise * rng.normal(size=360)
    model = KANRegressor((), grid_size=120)
    line = fitted_with_linearisation(model, x[:, None], y, monkeypatch)
    scaled_noise = model.fitted_model_.posterior.shared_noise
    alpha = torch.tensor(model.fitted_model_.posterior.alpha)
    own = line.posterior(Prior.of_alpha(line.network, alpha, scaled_noise, 360))
    assert own.log_evidence > best_of_starts(line, 20, rng) - 1
    error = np.mean((model.predict(x[:, None]) - law) ** 2) / np.var(law)
    # Of a cycle's 360 / n_cycles rows some four coefficients are learnt.
    assert error < 4 * n_cycles / 360 * 2 * noise**2 + 1e-3


def test_each_curve_finds_its_own_strength(rng):
    """A daily cycle beside a straight line, in hourly rows of a month."""
    hour, z = np.arange(720.0), rng.normal(size=720)
    law = np.sin(2 * np.pi * hour / 24) + 0.5 * z
    model = KANRegressor((), grid_size=240)
    model.fit(np.column_stack([hour, z]), law + 0.1 * rng.normal(size=720))
    predicted = model.predict(np.column_stack([hour, z]))
    assert np.mean((predicted - law) ** 2) < 0.005 * np.var(law)


@pytest.mark.parametrize("loss", ["poisson", "huber"])
def test_cycles_are_found_under_other_losses(rng, loss):
    x = rng.uniform(0, 1, 500)
    law = np.exp(1 + np.sin(2 * np.pi * 15 * x))
    y = rng.poisson(law) if loss == "poisson" else law + rng.standard_t(2, size=500)
    model = KANRegressor((), grid_size=60, loss=loss).fit(x[:, None], y)
    error = np.mean((model.predict(x[:, None]) - law) ** 2)
    assert error < 0.1 * np.var(law)


def test_cycles_of_probabilities_are_found(rng):
    x = rng.uniform(0, 1, 600)
    law = 1 / (1 + np.exp(-4 * np.sin(2 * np.pi * 12 * x)))
    model = KANClassifier((), grid_size=60).fit(x[:, None], rng.random(600) < law)
    assert np.mean((model.predict_proba(x[:, None])[:, 1] - law) ** 2) < 0.015
