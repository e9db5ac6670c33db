"""Every solver on small objectives whose minimum is known.

A new solver is tested by adding it to `SOLVERS`, with the precision it promises.
"""

from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from sklearn.base import clone
from torch.autograd.functional import hessian, jacobian

from skkan import KANRegressor, solvers
from skkan.objective._gauss_newton import QuadraticModel
from skkan.solvers import LBFGS, Adam, LevenbergMarquardt, Solver, SolverResult
from skkan.solvers._base import STUCK, DivergenceError
from skkan.solvers._levenberg_marquardt import damped_step


@dataclass(frozen=True)
class Promise:
    """A solver, and how near to a minimum it comes in how many iterations."""

    solver: Solver
    max_iter: int
    atol: float


SOLVERS = [
    # Line searches end where the differences of the objective drown in rounding: at
    # the root of 1e-16.
    Promise(LBFGS(), max_iter=200, atol=1e-7),
    # A constant learning rate circles around the minimum, and Rosenbrock's valley has
    # a condition number of 2500.
    Promise(Adam(learning_rate=0.05, batch_size=12), max_iter=2200, atol=1e-3),
    # Without noise the decrease is a share of the objective until that is zero.
    Promise(LevenbergMarquardt(), max_iter=60, atol=1e-7),
]


def solver_name(promise):
    return type(promise.solver).__name__


every_solver = pytest.mark.parametrize("promise", SOLVERS, ids=solver_name)


class Unwhitened:
    """Whitening of an objective that is round enough as it is."""

    def weights(self, whitened):
        return whitened

    def gradient(self, gradient):
        return gradient


class Function:
    """Objective of a function of the parameters and of a batch of rows.

    The curvature is the Hessian, which should be positive definite, or that which is
    given as a function of the parameters.
    """

    def __init__(self, function, start, n_rows=1, curvature=None):
        self._function = function
        self._curvature = curvature
        self.start = torch.tensor(start, dtype=torch.float64)
        self.n_rows = n_rows
        self.n_evaluations = 0
        self.n_values = 0  # asked for without a gradient

    def value(self, theta, rows=None):
        self.n_values += 1
        rows = torch.arange(self.n_rows) if rows is None else rows
        return self._function(theta, rows).item()

    def gauss_newton(self, theta):
        value, gradient = self.value_and_grad(theta)
        curvature = self._curvature
        if curvature is None:
            rows = torch.arange(self.n_rows)
            curvature = partial(hessian, lambda t: self._function(t, rows))
        free = theta.new_zeros(0, len(theta))
        return QuadraticModel(value, gradient, curvature(theta), free)

    def whitening(self, theta):
        return Unwhitened()

    def value_and_grad(self, theta, rows=None):
        self.n_evaluations += 1
        rows = torch.arange(self.n_rows) if rows is None else rows
        theta = theta.detach().requires_grad_()
        value = self._function(theta, rows)
        (gradient,) = torch.autograd.grad(value, theta)
        return value.item(), gradient


def quadratic():
    """Condition number 100, minimum at (1, -2, 3)."""
    centre = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    scale = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    function = Function(
        lambda theta, rows: 0.5 * (scale * (theta - centre) ** 2).sum(), [0.0] * 3
    )
    return function, centre


def linear_least_squares():
    """Rows without noise, so that every batch has the same minimum."""
    rng = np.random.default_rng(0)
    design = torch.from_numpy(rng.standard_normal((24, 4)))
    best = torch.from_numpy(rng.standard_normal(4))
    target = design @ best
    function = Function(
        lambda theta, rows: (design[rows] @ theta - target[rows]).square().mean(),
        [0.0] * 4,
        n_rows=24,
    )
    return function, best


def rosenbrock():
    """The curved valley, from its classical start; minimum at (1, 1)."""

    def residuals(x):
        return torch.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])

    def gauss_newton_matrix(x):
        derivative = jacobian(residuals, x)
        return 2 * derivative.T @ derivative

    function = Function(
        lambda x, rows: residuals(x).square().sum(),
        [-1.2, 1.0],
        curvature=gauss_newton_matrix,
    )
    return function, torch.ones(2, dtype=torch.float64)


def run(solver, objective, *, max_iter=100, monitor=None, state=None, generator=None):
    return solver.minimize(
        objective,
        objective.start,
        max_iter=max_iter,
        monitor=monitor or (lambda theta, value: False),
        generator=generator or torch.Generator().manual_seed(0),
        state=state,
    )


def test_every_public_solver_has_a_promise():
    """A new solver that is not listed here would go untested."""
    public = {
        part
        for part in vars(solvers).values()
        if isinstance(part, type) and issubclass(part, Solver) and part is not Solver
    }
    assert public == {type(promise.solver) for promise in SOLVERS}


@every_solver
@pytest.mark.parametrize("problem", [quadratic, linear_least_squares, rosenbrock])
def test_minimum_is_found(promise, problem):
    """To the precision that the solver promises."""
    objective, best = problem()
    result = run(promise.solver, objective, max_iter=promise.max_iter)
    assert_allclose(result.theta, best, rtol=0, atol=promise.atol)


@every_solver
def test_start_is_left_alone(promise):
    """The caller's tensor is an argument, not working space."""
    objective, _ = quadratic()
    start = objective.start.clone()
    run(promise.solver, objective, max_iter=3)
    assert_array_equal(objective.start, start)


@every_solver
@pytest.mark.parametrize("max_iter", [0, 1, 7])
def test_budget_is_respected(promise, max_iter):
    """An iteration is a call of the monitor, and there are no more than allowed."""
    objective, _ = rosenbrock()
    seen = []
    result = run(
        promise.solver,
        objective,
        max_iter=max_iter,
        monitor=lambda theta, value: seen.append((theta, value)),
    )
    assert result.n_iter == len(seen) == max_iter
    assert not result.converged
    last = seen[-1][0] if seen else objective.start
    assert_array_equal(result.theta, last)


@every_solver
def test_monitor_ends_the_search(promise):
    """At once, and the result says so."""
    objective, _ = rosenbrock()
    seen = []

    def monitor(theta, value):
        seen.append(theta)
        return len(seen) == 3

    result = run(promise.solver, objective, max_iter=50, monitor=monitor)
    assert result.n_iter == len(seen) == 3
    assert result.converged
    assert "callback" in result.message or "monitor" in result.message
    assert_array_equal(result.theta, seen[-1])


@every_solver
def test_iterates_are_not_overwritten(promise):
    """The monitor keeps networks of past iterations."""
    objective, _ = rosenbrock()
    seen, copies = [], []

    def monitor(theta, value):
        seen.append(theta)
        copies.append(theta.clone())

    run(promise.solver, objective, max_iter=10, monitor=monitor)
    for theta, copy in zip(seen, copies, strict=True):
        assert_array_equal(theta, copy)
    assert len({tuple(theta.tolist()) for theta in seen}) == 10


@every_solver
def test_same_generator_same_result(promise):
    """Bit for bit, whatever ran before: a solver object keeps nothing."""
    results = []
    for _ in range(2):
        objective, _ = linear_least_squares()
        results.append(run(promise.solver, objective, max_iter=20).theta)
    assert_array_equal(*results)


def walled(beyond):
    """Steep parabola with its minimum close to a wall, behind which is no value.

    A first step of length one, as all solvers try here, ends behind the wall: second
    derivatives are given too small.
    """

    def function(x, rows):
        value = 50 * (x - 0.3).square().sum()
        return beyond * value if x[0] > 0.6 else value

    return Function(
        function, [0.0], curvature=lambda x: 30 * torch.eye(1, dtype=torch.float64)
    )


WALL_SOLVERS = [LBFGS(), Adam(learning_rate=1.0), LevenbergMarquardt()]


@pytest.mark.parametrize("beyond", [np.inf, np.nan])
@pytest.mark.parametrize("solver", WALL_SOLVERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("max_iter", [1, 2, 60])
def test_solver_backs_off_from_non_finite_values(solver, beyond, max_iter):
    """It ends on the side of the wall where it began, lower than it began."""
    objective = walled(beyond)
    seen = []
    result = run(
        solver,
        objective,
        max_iter=max_iter,
        monitor=lambda theta, value: seen.append((theta, value)),
    )
    start, _ = objective.value_and_grad(objective.start)
    end, _ = objective.value_and_grad(result.theta)
    assert end < start
    assert len(seen) == max_iter or result.converged
    for theta, value in seen:
        assert np.isfinite(value)
        assert np.isfinite(objective.value_and_grad(theta)[0])


def test_walls_are_tried_on_every_solver():
    """The list above keeps up with the registry."""
    assert {type(s) for s in WALL_SOLVERS} == {type(p.solver) for p in SOLVERS}


@every_solver
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_objective_without_finite_values_is_an_error(promise, value):
    """There is nothing to go back to."""
    objective = Function(lambda theta, rows: value * theta.square().sum(), [1.0, 2.0])
    with pytest.raises(DivergenceError, match="the objective is not finite"):
        run(promise.solver, objective)


@every_solver
def test_non_finite_gradient_is_an_error(promise):
    """As of a root at zero; the value alone looks harmless."""
    objective = Function(lambda theta, rows: theta.abs().sqrt().sum(), [0.0])
    with pytest.raises(DivergenceError, match="the objective is not finite"):
        run(promise.solver, objective)


@pytest.mark.parametrize("max_backoff", [0, 3])
def test_number_of_retreats_is_the_solvers(max_backoff):
    """Each costs an evaluation at least."""
    for solver in (LBFGS(max_backoff=max_backoff), Adam(max_backoff=max_backoff)):
        objective = Function(lambda theta, rows: np.nan * theta.sum(), [1.0])
        with pytest.raises(DivergenceError, match="not finite"):
            run(solver, objective)
        assert objective.n_evaluations >= max_backoff + 1


# Solvers are values


@every_solver
def test_solver_is_a_value(promise):
    """Frozen, hashable, comparable: fit for clone and for a parameter grid."""
    solver = promise.solver
    assert is_dataclass(solver)
    same = type(solver)(**vars(solver))
    assert same == solver
    assert hash(same) == hash(solver)
    field = fields(solver)[-1].name
    assert type(solver)(**{field: 3}) != solver
    assert clone(KANRegressor(solver=solver)).solver == solver
    with pytest.raises(FrozenInstanceError, match=field):
        setattr(solver, field, 3)


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (Adam, "learning_rate", 0.0),
        (Adam, "learning_rate", -1.0),
        (Adam, "learning_rate", np.inf),
        (Adam, "learning_rate", np.nan),
        (Adam, "learning_rate", "fast"),
        (Adam, "batch_size", 0),
        (Adam, "batch_size", 2.5),
        (Adam, "beta_1", -0.1),
        (Adam, "beta_1", 1.0),
        (Adam, "beta_2", 1.0),
        (Adam, "epsilon", 0.0),
        (Adam, "max_backoff", -1),
        (LBFGS, "history_size", 0),
        (LBFGS, "history_size", 2.5),
        (LBFGS, "max_line_search", 0),
        (LBFGS, "max_backoff", -1),
        (LevenbergMarquardt, "damping", -0.1),
        (LevenbergMarquardt, "damping", np.inf),
        (LevenbergMarquardt, "damping", np.nan),
        (LevenbergMarquardt, "damping", "little"),
        (LevenbergMarquardt, "max_rejections", 0),
        (LevenbergMarquardt, "max_rejections", 2.5),
        (LevenbergMarquardt, "decrease_tolerance", -1e-9),
        (LevenbergMarquardt, "decrease_tolerance", np.nan),
    ],
)
def test_unusable_field_is_named(kind, field, value):
    """As scikit-learn words it, with the range and what was given."""
    message = f"The '{field}' parameter of {kind.__name__} must be .* Got {value!r}"
    with pytest.raises(ValueError, match=message):
        kind(**{field: value})


def test_result_says_why():
    """A message for the warning, the state only where there is one."""
    objective, _ = quadratic()
    outcome = run(LBFGS(), objective, max_iter=200)
    assert isinstance(outcome, SolverResult)
    assert outcome.converged
    assert outcome.message
    assert outcome.state is None
    assert run(Adam(), objective, max_iter=2).message == "budget spent"
    assert run(LBFGS(), objective, max_iter=0).message == "budget spent"


# L-BFGS


def test_lbfgs_never_rises():
    """Its last iterate is its best one, which is what a fit returns."""
    objective, _ = rosenbrock()
    values = []
    run(LBFGS(), objective, monitor=lambda theta, value: values.append(value))
    assert len(values) > 10
    assert (np.diff(values) <= 0).all()


@pytest.mark.parametrize("whitens", [False, True])
def test_lbfgs_shortens_its_first_step(whitens):
    """Ten times each time, from length one or, in whitened weights, the gradient's."""
    tried = []

    def walled_bowl(theta, rows):
        tried.append(theta.detach())
        distance = (theta - start).square().sum()
        return 5 * theta.square().sum() + (np.inf if distance > 0.01 else 0.0)

    start = torch.tensor([3.0, 4.0], dtype=torch.float64)
    objective = Function(walled_bowl, [3.0, 4.0])
    run(LBFGS(n_unwhitened_iter=0 if whitens else 10), objective, max_iter=1)
    lengths = [float((theta - start).norm()) for theta in tried]
    first = 50.0 if whitens else 1.0
    expected = [0.0, *(first / 10**n for n in range(4 if whitens else 3))]
    assert_allclose(lengths[: len(expected)], expected, atol=1e-14)


def log_loss():
    """Of two classes, with a ridge penalty: convex, and no parabola."""
    rng = np.random.default_rng(0)
    design = torch.from_numpy(rng.standard_normal((200, 30)))
    target = torch.from_numpy(np.sign(rng.standard_normal(200) + design[:, 0].numpy()))

    def function(theta, rows):
        margin = -target * (design @ theta)
        return torch.nn.functional.softplus(margin).mean() + 5e-3 * theta @ theta

    return Function(function, [0.0] * 30)


def stretched_bowl():
    """A quartic with curvatures from 1 to 1,000 at its minimum."""
    scale = torch.logspace(0, 3, 20, dtype=torch.float64)
    centre = torch.linspace(-1, 1, 20, dtype=torch.float64)

    def function(theta, rows):
        along = theta - centre
        return 0.5 * (scale * along.square()).sum() + along.square().sum().square()

    return Function(function, [0.0] * 20)


def by_scipy(objective, **options):
    """Result of scipy's L-BFGS-B, and its iterates."""
    iterates = []
    result = minimize(
        lambda theta: objective.value_and_grad(torch.from_numpy(theta)),
        objective.start.numpy(),
        jac=True,
        method="L-BFGS-B",
        callback=lambda theta: iterates.append(theta.copy()),
        options={"maxcor": 20, "ftol": 0.0, "gtol": 1e-7, **options},
    )
    return result, iterates


def test_lbfgs_takes_the_steps_of_scipys():
    """As long as both take their first trial points."""
    objective, iterates = log_loss(), []
    result, expected = by_scipy(objective, maxiter=7)
    assert result.nfev == 1 + result.nit
    objective.n_evaluations = 0
    run(
        LBFGS(),
        objective,
        max_iter=7,
        monitor=lambda theta, value: iterates.append(theta.numpy()),
    )
    assert objective.n_evaluations == 1 + 7
    assert_allclose(iterates, expected, rtol=1e-9)


@pytest.mark.parametrize("problem", [log_loss, stretched_bowl])
def test_lbfgs_is_as_good_as_scipys(problem):
    """On convex functions it reaches the same minimum by no more evaluations."""
    objective = problem()
    result, _ = by_scipy(objective)
    assert result.success
    gap, objective.n_evaluations = 1e-12 * abs(result.fun), 0
    outcome = run(
        LBFGS(n_unwhitened_iter=500),
        objective,
        max_iter=500,
        monitor=lambda theta, value: value <= result.fun + gap,
    )
    assert outcome.message == "stopped by the monitor"
    assert objective.n_evaluations <= 1.05 * result.nfev
    assert_allclose(outcome.theta, result.x, atol=1e-6)


def test_lbfgs_takes_the_newton_step_in_whitened_weights():
    """Where the whitening is that of the whole problem: in one iteration."""
    objective, best = linear_least_squares()
    root = torch.linalg.inv(
        torch.linalg.cholesky(objective.gauss_newton(best).curvature)
    )

    class Whitened(Unwhitened):
        def weights(self, whitened):
            return root.T @ whitened

        def gradient(self, gradient):
            return root @ gradient

    objective.whitening = lambda theta: Whitened()
    result = run(LBFGS(n_unwhitened_iter=0), objective, max_iter=1)
    assert_allclose(result.theta, best, rtol=1e-10)


def test_lbfgs_reports_the_value_of_its_iterate():
    """The loss curve belongs to the networks of the same iterations."""
    objective, _ = rosenbrock()
    seen = []
    run(LBFGS(), objective, monitor=lambda theta, value: seen.append((theta, value)))
    for theta, value in seen:
        assert objective.value_and_grad(theta)[0] == value


def kinked_valley():
    """Its floor is a kink, from which no step along the gradient leads down."""
    return Function(
        lambda x, rows: 10 * (x[1] - x[0] ** 2).abs() + (1 - x[0]) ** 2, [-1.2, 1.0]
    )


class Uphill(Function):
    """The gradient has the wrong sign, so that line searches fail."""

    def value_and_grad(self, theta, rows=None):
        value, gradient = super().value_and_grad(theta, rows)
        return value, -gradient


@pytest.mark.parametrize(
    "objective",
    [kinked_valley(), Uphill(lambda x, rows: (x**2).sum(), [1.0, 2.0])],
    ids=["kink", "wrong gradient"],
)
def test_lbfgs_has_not_converged_where_its_line_search_fails(objective):
    """Above the minimum at zero, and long before the budget is spent."""
    outcome = run(LBFGS(), objective, max_iter=500)
    assert outcome.n_iter < 500
    assert objective.value(outcome.theta) > 0.01
    assert not outcome.converged
    assert outcome.message == STUCK


@pytest.mark.parametrize("constant", [0.0, 1e-6, 1.0, -1e6])
@pytest.mark.parametrize("problem", [quadratic, linear_least_squares, rosenbrock])
def test_lbfgs_has_converged_where_rounding_hides_all_progress(problem, constant):
    """A line search then fails, too, but the gradient is as small as rounding."""
    objective, best = problem()
    function = objective._function
    objective._function = lambda theta, rows: function(theta, rows) + constant
    outcome = run(LBFGS(), objective, max_iter=500)
    assert outcome.converged
    assert outcome.message == "no step lowers the objective"
    # The root of the rounding, over that of the smallest curvature.
    atol = 1e-7 + np.sqrt(1e-14 * abs(constant))
    assert_allclose(outcome.theta, best, atol=atol)


# Adam


def textbook_adam(objective, n_steps, batches, *, lr, beta_1, beta_2, epsilon):
    """Algorithm 1 of the paper, line by line."""
    theta = objective.start.numpy().copy()
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t, rows in zip(range(1, n_steps + 1), batches, strict=False):
        g = objective.value_and_grad(torch.from_numpy(theta), rows)[1].numpy()
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        m_hat = m / (1 - beta_1**t)
        v_hat = v / (1 - beta_2**t)
        theta = theta - lr * m_hat / (np.sqrt(v_hat) + epsilon)
    return theta


def test_adam_is_the_textbook_algorithm_on_batches():
    """One iteration is one pass over shuffled batches, the last one smaller."""
    objective, _ = linear_least_squares()
    generator = torch.Generator().manual_seed(7)
    batches = [
        rows
        for _ in range(4)
        for rows in torch.randperm(24, generator=generator).split(10)
    ]
    fields = {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-6}
    expected = textbook_adam(objective, 12, batches, lr=0.1, **fields)
    result = run(
        Adam(learning_rate=0.1, batch_size=10, **fields),
        objective,
        max_iter=4,
        generator=torch.Generator().manual_seed(7),
    )
    assert_allclose(result.theta, expected, rtol=1e-12)
    assert result.state["n_steps"] == 12


@pytest.mark.parametrize("problem", [quadratic, linear_least_squares, rosenbrock])
def test_adam_equals_torchs_on_all_rows(problem):
    """The trusted peer, with its defaults."""
    objective, _ = problem()
    theta = objective.start.clone().requires_grad_()
    peer = torch.optim.Adam([theta], lr=0.01)
    for _ in range(50):
        _, theta.grad = objective.value_and_grad(theta)
        peer.step()
    result = run(Adam(learning_rate=0.01), objective, max_iter=50)
    assert_allclose(result.theta, theta.detach(), rtol=1e-12)


def test_adam_reports_the_mean_objective_of_its_pass():
    """Free of charge; with one batch it is the value before the step."""
    objective, _ = quadratic()
    seen = []
    run(
        Adam(),
        objective,
        max_iter=5,
        monitor=lambda theta, value: seen.append((theta, value)),
    )
    before = [objective.start, *(theta for theta, _ in seen[:-1])]
    expected = [objective.value_and_grad(theta)[0] for theta in before]
    assert_allclose([value for _, value in seen], expected, rtol=1e-14)


def test_adam_goes_on_where_it_stopped():
    """10 iterations are 4 and 6 more with the state handed on, bit for bit."""
    solver = Adam(learning_rate=0.05, batch_size=5)
    objective, _ = linear_least_squares()
    whole = run(solver, objective, max_iter=10)
    generator = torch.Generator().manual_seed(0)
    first = run(solver, objective, max_iter=4, generator=generator)
    objective.start = first.theta
    rest = run(solver, objective, max_iter=6, generator=generator, state=first.state)
    assert_array_equal(rest.theta, whole.theta)
    assert rest.state["n_steps"] == whole.state["n_steps"]
    for name in ("mean", "square"):
        assert isinstance(rest.state[name], np.ndarray)
        assert_array_equal(rest.state[name], whole.state[name])


def test_adam_leaves_a_given_state_alone():
    """A fit that fails must not have changed the estimator's state."""
    objective, _ = quadratic()
    state = run(Adam(), objective, max_iter=3).state
    kept = {name: np.copy(value) for name, value in state.items()}
    run(Adam(), objective, max_iter=3, state=state)
    for name, value in kept.items():
        assert_array_equal(state[name], value)


@pytest.mark.parametrize(
    ("n_rows", "expected"), [(10, 10), (300, 256), (32_000, 500), (10**6, 4096)]
)
def test_automatic_batches_grow_with_the_rows(n_rows, expected):
    """A 64th of the rows within bounds; a pass sees each row once."""
    sizes = []  # of the batches

    class Counter:
        def __init__(self):
            self.n_rows, self.start = n_rows, torch.zeros(1)

        def value_and_grad(self, theta, rows):
            sizes.append(len(rows))
            return 0.0, torch.zeros_like(theta)

        def value(self, theta, rows):  # after the last step
            return 0.0

    run(Adam(), Counter(), max_iter=1)
    assert sizes[0] == expected
    assert sum(sizes) == n_rows


# Levenberg-Marquardt


def random_model(rng, n_parameters=6, n_constraints=0):
    """Quadratic model whose curvature is positive definite."""
    root = torch.from_numpy(rng.standard_normal((2 * n_parameters, n_parameters)))
    return QuadraticModel(
        1.0,
        torch.from_numpy(rng.standard_normal(n_parameters)),
        root.T @ root,
        torch.from_numpy(rng.standard_normal((n_constraints, n_parameters))),
    )


@pytest.mark.parametrize("n_constraints", [0, 2])
@pytest.mark.parametrize("damping", [0.0, 0.3, 1e4])
def test_damped_step_is_marquardts(damping, n_constraints, rng):
    """-(H + damping diag(H))^-1 g, where H has the gauge constraints in it."""
    model = random_model(rng, n_constraints=n_constraints)
    matrix = (
        model.curvature + model.gauge_constraints.T @ model.gauge_constraints
    ).numpy()
    damped = matrix + damping * np.diag(np.diag(matrix))
    expected = -np.linalg.solve(damped, model.gradient.numpy())
    step = damped_step(model.gradient, model.constrained_curvature(), damping)
    assert_allclose(step, expected, rtol=1e-10)


def test_steps_do_not_move_along_stiff_constraints(rng):
    """But take all of the others into account."""
    model = random_model(rng, n_constraints=2)
    stiff = model._replace(gauge_constraints=1e4 * model.gauge_constraints)
    step = damped_step(stiff.gradient, stiff.constrained_curvature(), 0.0)
    assert_allclose(model.gauge_constraints @ step, 0, atol=1e-7)
    free = np.linalg.svd(model.gauge_constraints.numpy())[2][2:].T
    reduced = free.T @ model.curvature.numpy() @ free
    expected = -free @ np.linalg.solve(reduced, free.T @ model.gradient.numpy())
    # The constraints give way by 1e-8, the square of their stiffness.
    assert_allclose(step, expected, rtol=0, atol=1e-6)


def test_no_step_without_a_positive_definite_matrix(rng):
    """There is no minimum to go to; more damping may make one."""
    model = random_model(rng)
    saddle = torch.diag(torch.tensor([1.0] * 6).double())
    saddle[0, 1] = saddle[1, 0] = 2.0
    model = model._replace(curvature=saddle)
    assert damped_step(model.gradient, model.constrained_curvature(), 0.0) is None
    damped = saddle.numpy() + 3 * np.eye(6)
    expected = -np.linalg.solve(damped, model.gradient.numpy())
    step = damped_step(model.gradient, model.constrained_curvature(), 3.0)
    assert_allclose(step, expected, rtol=1e-10)


@pytest.mark.parametrize("problem", [quadratic, linear_least_squares])
def test_one_undamped_step_solves_a_quadratic_problem(problem):
    """As it does for a network without hidden layers."""
    objective, best = problem()
    result = run(LevenbergMarquardt(damping=0.0), objective, max_iter=1)
    assert result.n_iter == 1
    assert_allclose(result.theta, best, rtol=1e-11, atol=1e-11)


def test_exact_prediction_ends_the_damping():
    """A quadratic problem is recognised after its first, damped, step."""
    objective, best = linear_least_squares()
    result = run(LevenbergMarquardt(damping=1e-4), objective, max_iter=2)
    assert result.state["damping"] == 0.0
    assert_allclose(result.theta, best, rtol=1e-11, atol=1e-11)


def test_what_nothing_depends_on_stays_where_it_is():
    """As the weights of removed edges, bit for bit."""
    centre = torch.tensor([1.0, -2.0], dtype=torch.float64)
    objective = Function(
        lambda theta, rows: (theta[:2] - centre).square().sum(), [0.0, 0.0, 0.7]
    )
    result = run(LevenbergMarquardt(), objective)
    assert_allclose(result.theta[:2], centre, rtol=1e-7)
    assert result.theta[2] == 0.7


def curved_valley(stiffness):
    """A parabola's valley whose floor falls a little; the curvature is Gauss-Newton."""

    def residuals(theta):
        return torch.stack([stiffness * (theta[1] - theta[0] ** 2), 1 - theta[0]])

    def curvature(theta):
        slopes = jacobian(residuals, theta)
        return slopes.T @ slopes

    return Function(
        lambda theta, rows: 0.5 * residuals(theta).square().sum(),
        [0.5, 0.25],
        curvature=curvature,
    )


@pytest.mark.parametrize("stiffness", [1e2, 1e4, 1e6])
def test_damping_is_near_the_best_of_all_in_a_curved_valley(stiffness):
    """Twenty steps get as far as ten with the best of many dampings each."""
    objective, dampings = curved_valley(stiffness), np.logspace(-16, 0, 65)
    theta = objective.start
    for _ in range(10):
        model = objective.gauss_newton(theta)
        metric = model.constrained_curvature()
        steps = [damped_step(model.gradient, metric, each) for each in dampings]
        theta = min((theta + step for step in steps), key=objective.value)
    result = run(LevenbergMarquardt(decrease_tolerance=0.0), objective, max_iter=20)
    best, own = ((end - objective.start)[0] for end in (theta, result.theta))
    assert own > best


def flattering():
    """Steep parabola whose curvature is given as a hundredth of what it is."""
    return Function(
        lambda x, rows: 50 * x.square().sum(),
        [1.0, -1.0],
        curvature=lambda x: torch.eye(2, dtype=torch.float64),
    )


def test_rejected_steps_raise_the_damping_and_never_the_value():
    """Steps 50 times too long are taken back until one is not."""
    objective, values = flattering(), []
    result = run(
        LevenbergMarquardt(),
        objective,
        max_iter=20,
        monitor=lambda theta, value: values.append(value),
    )
    before = objective.value(objective.start)
    assert (np.diff([before, *values]) < 0).all()
    assert result.state["damping"] > 10
    assert_allclose(result.theta, 0, atol=1e-5)


@pytest.mark.parametrize("max_rejections", [1, 5])
def test_search_is_over_after_too_many_rejections(max_rejections):
    """Nothing is changed by it, and the result says why."""
    start = torch.tensor([1.0, 2.0], dtype=torch.float64)

    def only_here(theta, rows):
        value = theta.square().sum()
        return value if torch.equal(theta.detach(), start) else np.inf * value

    objective = Function(only_here, start.tolist())
    objective.n_values = 0
    solver = LevenbergMarquardt(max_rejections=max_rejections)
    result = run(solver, objective)
    assert objective.n_values == max_rejections + 1
    assert_array_equal(result.theta, start)
    assert result.n_iter == 0
    assert result.converged
    assert result.message == "no step lowers the objective"


def test_levenberg_marquardt_never_rises():
    """Its last iterate is its best one, and its value is the one reported."""
    objective, _ = rosenbrock()
    seen = []
    run(
        LevenbergMarquardt(decrease_tolerance=0.0),
        objective,
        monitor=lambda theta, value: seen.append((theta, value)),
    )
    values = [value for _, value in seen]
    assert len(values) > 5
    assert (np.diff(values) < 0).all()
    assert values == [objective.value(theta) for theta, _ in seen]


def test_levenberg_marquardt_goes_on_where_it_stopped():
    """12 iterations are 5 and 7 more with the damping handed on, bit for bit."""
    solver = LevenbergMarquardt(decrease_tolerance=0.0)
    whole = run(solver, flattering(), max_iter=12)
    objective = flattering()
    first = run(solver, objective, max_iter=5)
    objective.start = first.theta
    rest = run(solver, objective, max_iter=7, state=first.state)
    assert first.n_iter == 5
    assert_array_equal(rest.theta, whole.theta)
    assert rest.state == whole.state


def test_decrease_tolerance_ends_the_search():
    """At the first well predicted step that gains less than this share."""
    seen = []
    result = run(
        LevenbergMarquardt(decrease_tolerance=0.5),
        Function(lambda x, rows: 1 + x.square().sum(), [1.0]),
        monitor=lambda theta, value: seen.append(value),
    )
    assert result.converged
    assert result.message == "relative decrease below the tolerance"
    gains = [1 - after / before for before, after in pairwise([2.0, *seen])]
    assert gains[-1] <= 0.5
    assert all(gain > 0.5 for gain in gains[:-1])
