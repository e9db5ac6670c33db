"""What does second-order training cost? Seconds of a step, and steps until a law fits.

    python benchmarks/second_order.py --cost [--rows 1000 1000000] [--repeats 3]
    python benchmarks/second_order.py --curve [--alphas auto 1e-6] [--grids 8 16]

`--cost`: seconds of one iteration on one thread, that is of the normal equations at a
new point, of one damped step and of the objective after it. Peak memory is that of the
process, so that a figure counts only where it rises above the line before it.

`--curve`: error by `max_iter` on a smooth law of five inputs with a steep wall in it,
without noise. Errors are RMSE on further rows relative to the range of the target;
medians over seeds, which draw the starting weights only. Larger budgets are left out
once fits end by themselves or take too long. Compare within a run.
"""

import argparse
import itertools
import resource
import statistics
import sys
import time
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from skkan import KANRegressor
from skkan.estimators._problem_from_rows import make_fit_problem
from skkan.estimators._row_validation import validated_rows
from skkan.numerics._threads import single_thread
from skkan.objective._objective import make_objective
from skkan.solvers import LevenbergMarquardt
from skkan.solvers._levenberg_marquardt import damped_step
from skkan.strategies._strategy_choice import choose_strategy

N_INPUTS, HIDDEN, GRID = 10, 3, 5  # of the table by rows
FEW_ROWS = 1000  # of the table by parameters
SIZES = [(1, 1), (1, 5), (2, 5), (3, 5), (6, 5), (10, 5), (18, 5), (30, 5)]
N_ROWS = 10_000  # of the law, to fit and to test
BUDGETS = [8, 12, 16, 20, 30, 40, 80, 160]
MOST_SECONDS = 10.0  # median fit time beyond which larger budgets are left out
JITTER = 1e-3  # of the weights, between repeats


def print_row(*cells):
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def print_head(*names):
    print_row(*names)
    print_row(*["---:"] * len(names))


def peak_memory():
    """Peak resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


@single_thread
def seconds_of_iteration(n_rows, hidden, grid, repeats):
    """Parameters, and medians of the seconds of each part of an iteration."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (n_rows, N_INPUTS))
    y = np.sin(3 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.standard_normal(n_rows)
    model = KANRegressor((hidden,), grid_size=grid, solver="lm", random_state=0)
    rows = validated_rows(model, X, y, None)
    target = model._make_target(rows[1], None)
    problem = make_fit_problem(model, rows, target, None)
    strategy = choose_strategy(problem)
    objective = make_objective(strategy.networks[0], problem.data, strategy.plan)
    seconds = []
    for _ in range(repeats + 1):  # the first one warms up
        theta = objective.start
        noise = torch.randn(theta.shape, generator=problem.generator, dtype=theta.dtype)
        theta = theta + JITTER * noise
        times = [time.perf_counter()]
        quadratic = objective.gauss_newton(theta)
        times.append(time.perf_counter())
        damping = LevenbergMarquardt().damping
        step = damped_step(
            quadratic.gradient, quadratic.constrained_curvature(), damping
        )
        times.append(time.perf_counter())
        objective.value(theta + step)
        times.append(time.perf_counter())
        seconds.append(np.diff(times))
    return objective.network.n_parameters, np.median(seconds[1:], axis=0)


def print_cost(arguments):
    names = "normal equations", "step", "value", "s per iteration"
    before = peak_memory()
    print(f"{N_INPUTS} inputs, {HIDDEN} hidden nodes, grid {GRID}; ", end="")
    print(f"peak memory before: {before:.0f} MB\n")
    print_head("rows", "parameters", *names, "peak MB")
    for n_rows in arguments.rows:
        repeats = arguments.repeats if n_rows < 1_000_000 else 1
        n_parameters, parts = seconds_of_iteration(n_rows, HIDDEN, GRID, repeats)
        figures = [f"{value:.4f}" for value in (*parts, parts.sum())]
        print_row(n_rows, n_parameters, *figures, f"{peak_memory():.0f}")
    print(f"\n{FEW_ROWS} rows, {N_INPUTS} inputs\n")
    print_head("hidden", "grid", "parameters", *names)
    for hidden, grid in SIZES:
        n_parameters, parts = seconds_of_iteration(
            FEW_ROWS, hidden, grid, arguments.repeats
        )
        figures = [f"{value:.4f}" for value in (*parts, parts.sum())]
        print_row(hidden, grid, n_parameters, *figures)


def make_law(seed):
    """Rows to fit and to test, without noise."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(2 * N_ROWS, 5))
    x1, x2, x3, x4, x5 = X.T

    def wall(height, place):
        angle = np.arctan(20 * (x1 - 0.5 + place) * np.exp(x5)) + np.pi / 2
        return (2 + 2 * height) / (3 * np.pi) * angle

    y = wall(x3, x2 / 6) + wall(x4, -x2 / 6)
    return X[:N_ROWS], y[:N_ROWS], X[N_ROWS:], y[N_ROWS:]


def fit_and_score(hidden, grid, alpha, max_iter, seed):
    """Relative error, seconds and iterations of one fit."""
    X, y, X_test, y_test = make_law(0)
    model = KANRegressor(
        (hidden,),
        grid_size=grid,
        alpha=alpha,
        max_iter=max_iter,
        solver="lm",
        random_state=seed,
    )
    start = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - start
    rmse = np.sqrt(np.mean((model.predict(X_test) - y_test) ** 2))
    return rmse / np.ptp(y_test), seconds, model.n_iter_


def print_curve(arguments):
    print(f"{N_ROWS} rows, {arguments.seeds} seeds\n")
    names = "alpha", "hidden", "grid"
    print_head(*names, "max_iter", "n_iter", "error", "worst", "seconds")
    options = arguments.alphas, arguments.hidden, arguments.grids
    for alpha, hidden, grid in itertools.product(*options):
        for max_iter in arguments.budgets:
            runs = [
                fit_and_score(hidden, grid, alpha, max_iter, seed)
                for seed in range(arguments.seeds)
            ]
            errors, seconds, n_iters = zip(*runs, strict=True)
            error, median = statistics.median(errors), statistics.median(seconds)
            n_iter = int(statistics.median(n_iters))
            figures = f"{error:.2e}", f"{max(errors):.2e}", f"{median:.2f}"
            print_row(alpha, hidden, grid, max_iter, n_iter, *figures)
            if median > MOST_SECONDS or max(n_iters) < max_iter:
                break


def alpha_of(text):
    return text if text == "auto" else float(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--curve", action="store_true")
    rows = [1000, 10_000, 100_000, 1_000_000]
    parser.add_argument("--rows", type=int, nargs="+", default=rows)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hidden", type=int, nargs="+", default=[6])
    parser.add_argument("--grids", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS)
    parser.add_argument("--alphas", type=alpha_of, nargs="+", default=["auto"])
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    if not (arguments.cost or arguments.curve):
        parser.error("choose --cost, --curve or both")
    warnings.simplefilter("ignore", ConvergenceWarning)
    if arguments.cost:
        print_cost(arguments)
    if arguments.curve:
        print_curve(arguments)


if __name__ == "__main__":
    main()
