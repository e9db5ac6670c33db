"""Random data, weights and parameters: every fit is sane, warns, or is refused.

The cases are those of benchmarks/fuzz.py, which runs larger ones.
"""

import runpy
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

N_BLOCKS, N_FITS = 8, 25  # of each block


def fuzz_module():
    path = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"
    spec = spec_from_file_location("fuzz", path)
    module = module_from_spec(spec)
    sys.modules["fuzz"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


fuzz = fuzz_module()


@pytest.mark.parametrize("block", range(N_BLOCKS))
def test_every_fit_is_sane_or_says_why_not(block):
    """What has been warned of may lie far beyond the range of y."""
    findings = {}
    for seed in range(block * N_FITS, (block + 1) * N_FITS):
        outcome = fuzz.run(fuzz.Case.drawn(seed, max_rows=40, max_iter=20))
        kinds = [one for one in outcome.findings if not one.endswith("warned")]
        if kinds:
            findings[seed] = outcome
    assert findings == {}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("seed", [17, 29, 61])
def test_a_case_is_the_code_that_it_shows(seed, tmp_path):
    """Users paste it."""
    case = fuzz.Case.drawn(seed)
    X, y, weight = case.data()
    model = case.fit(case.model(), X, y, weight)
    path = tmp_path / "case.py"
    path.write_text(case.code())
    shown = runpy.run_path(str(path))
    assert_array_equal(shown["X"], X)
    assert_array_equal(shown["y"], y)
    assert_array_equal(shown["model"].predict(X), model.predict(X))


def case_of(*, streams=False, **parameters):
    return fuzz.Case(
        seed=0,
        n_rows=20,
        columns=[(fuzz.gaussian, 1.0, 0.0)],
        missing=0.0,
        target=fuzz.law,
        weight=None,
        scale=1.0,
        shift=0.0,
        make=fuzz.KANRegressor,
        parameters=parameters,
        streams=streams,
    )


def test_streams_that_parameters_forbid_are_refused():
    """By scikit-learn's convention there is then no `partial_fit`."""
    case = case_of(streams=True, loss="squared_error", early_stopping=True)
    assert fuzz.run(case) == fuzz.Outcome("refused", {})


@pytest.mark.parametrize(
    ("predict", "kinds"),
    [
        (lambda y: y, []),
        (lambda y: 2 * y.mean() - y, ["worse than a constant (squared_error)"]),
        (lambda y: np.append(y, y + 9 * np.ptp(y)), ["far beyond the range of y"]),
        (lambda y: y * np.nan, ["predict is not finite"]),
    ],
)
def test_insane_predictions_are_found(predict, kinds):
    case = case_of(loss="squared_error")
    data = case.data()
    found = fuzz.insanities(case, None, data, {"predict": predict(data[1])})
    assert [kind for kind, _ in found] == kinds
