"""The numbers of training, each with its reason.

"Not ablated" means that no benchmark has compared the value with others.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ScheduleSettings:
    """First-order training and losses that depend on the noise."""

    # Iterations after a grid update before the objective is compared. They refit the
    # coefficients that a moved grid cannot hold. Not ablated.
    max_refit_iter: int = 10
    # Updates of a loss whose scale follows the residuals. The scale settles after a few
    # of them; the limit guards against a cycle. Not ablated.
    max_loss_updates: int = 10
    # Relative decrease that the gradient may promise at a minimum. Where a search ended
    # by `tol`, convex problems had 1e-4 or less, networks with hidden nodes at most
    # 6e-3; without whitening, searches ended at one and more.
    max_promised_decrease: float = 1e-2


@dataclass(frozen=True)
class StreamSettings:
    """Batches of a stream, each of which goes on from the one before."""

    # Steps of "lbfgs" on a batch. Not ablated.
    max_iter: int = 20
    # Steps that must lower the objective by `tol` together. Searches that wanted as
    # much of each step ended at their first, short one, and the stream with them. Other
    # numbers are not ablated.
    n_iter_no_change: int = 5


@dataclass(frozen=True)
class ContinuationSettings:
    """Coarse grids and few rows first."""

    # Intervals of the coarsest grid: fewer hardly bend a cubic curve. Not ablated.
    min_grid_size: int = 4
    # Rows of the first stage: enough to determine the parameters, and never so few that
    # the overhead of a step dominates. Not ablated.
    min_rows: int = 1000
    rows_per_parameter: int = 4
    # Factor of the rows between two stages on the last grids, and the smallest one that
    # is worth a stage of its own. Not ablated.
    row_growth: int = 4
    min_row_growth: int = 2
    # Iterations of each stage: a stage only has to lead near the optimum of the next
    # one. Not ablated.
    max_iter_per_stage: int = 9
    # Rows on which the evidence is maximised. More rows change the penalty weights
    # little; a few steps on all rows refine the weights. `benchmarks/large.py` measures
    # the time.
    max_rows_for_evidence: int = 50_000
    # Noise, as a share of the variance of the target. Below it a coarse grid explains
    # enough to compare starting points. Not ablated.
    clear_noise: float = 0.5


@dataclass(frozen=True)
class RandomStartSettings:
    """Starting points with curves at random."""

    # Ridge, second- and third-difference precision of the prior of the curves: lines,
    # parabolas and cubics in about equal parts.
    prior_shape: tuple = (1.0, 1e-3, 0.0)
    # Starts, and the steps that each is tried by. On five laws, the rank correlation of
    # the objective with the final evidence has a median of .6 after 8 steps, and of .8
    # after 16. For a [4, 2, 1, 1] network on the KAN paper's law, one to four starts of
    # twelve are good.
    max_starts: int = 18
    n_steps: int = 6
    # Rows * outputs * parameters^2 and parameters^3, summed over the trials: some
    # tenths of a second.
    max_products: float = 1e9
    # Gain of log evidence over nearly straight starts that is clear. Where these ended
    # in a poor optimum, it was hundreds, and 60 for Friedman #1 with noise and two
    # nodes. On noisy tables it was within 6, and R2 rose or fell.
    min_gain: float = 10.0


@dataclass(frozen=True)
class SecondOrderSettings:
    """Second-order training by maximising the evidence."""

    # Starting penalty weights (ridge, second-difference, third-difference), each times
    # the number of observations. The first suits noisy tables, where a loose start fits
    # the noise and stays there. The second finds laws that a stiff start takes for
    # noise. The better outcome is kept.
    starting_penalties: tuple = ((1.0, 1.0, 0.0), (1e-2, 1e-3, 0.0))
    # Noise variance of a standardised target to start from. Not ablated.
    starting_noise: float = 0.1
    # Below this noise variance of a standardised target (a deviation of 1%) a
    # third-difference penalty replaces the second-difference one. With more noise, free
    # parabolas cost more than they bring.
    low_noise: float = 1e-4
    # First precision of the third differences, per precision of the second ones. Not
    # ablated.
    third_difference_ratio: float = 0.1
    # Share of the variance that is left of what counts as a law: errors of 3%. Ordinary
    # tables have a tenth and more.
    error_of_laws: float = 1e-3
    # Solver steps between two updates of the hidden grids. Not ablated.
    steps_per_grid_update: int = 2
    # Rows from which a hidden grid is computed: quantiles of more rows differ little.
    max_rows_per_grid_update: int = 100_000
    # Burn-in under the starting prior: its steps, and the relative decrease of the
    # objective between two grid updates that ends it. Not ablated.
    max_burn_in: int = 16
    burn_in_tol: float = 1e-3
    # Solver steps between two updates of the prior. The linearised model stands in for
    # the mode, so that the weights need not converge. Not ablated.
    steps_per_prior_update: int = 3
    # An update of the prior is undone if the log evidence falls by more: differences of
    # one are within the error of the Laplace approximation.
    max_evidence_fall: float = 1.0
    # Smallest fraction of an update that is tried; it falls by 4 after each failure.
    min_update: float = 0.01
    # Solver steps to the mode after the evidence has converged, and the distance of the
    # log posterior from its mode that is near enough: below the 1 above. Not ablated.
    max_steps_to_mode: int = 45
    mode_tol: float = 0.3
    # Iterations without progress that end a descent without a monitor: the default
    # `n_iter_no_change` of the estimators.
    n_iter_no_change: int = 10
    # Updates in a row with less gain of log evidence that end the maximisation. The
    # gain is a tenth of what counts as nothing. Not ablated.
    n_updates_no_change: int = 2
    min_evidence_gain: float = 0.1
    # A start is abandoned if that many more gains as large as the last one would not
    # reach the score of another start. Not ablated.
    max_gains_ahead: int = 10


@dataclass(frozen=True)
class PosteriorMeanSettings:
    """The posterior mean of networks for classes."""

    # More rows make the posterior so narrow that mean and mode agree.
    max_rows: int = 10_000
    # rows * outputs * parameters^2: a second or two on one core.
    max_products: float = 1e10
    # Numbers in the whitened Jacobian of a block of rows: 32 MiB.
    max_block: int = 2**22
    # Solver steps to the mean, and of the evidence maximisation around it. Not ablated.
    max_iter: int = 30
    max_evidence_iter: int = 60
    # Distance of the log posterior from its mode. Smaller than in training, since the
    # quadrature points depend on where it ends.
    mode_tol: float = 1e-3
    # What is added to the curvature of a row, so that it has a Cholesky factor: in
    # roundings of its largest diagonal element, and in smallest positive numbers.
    relative_ridge: float = 2.0**12
    absolute_ridge: float = 2.0**26


@dataclass(frozen=True)
class PruningSettings:
    """Removal of edges, by what the output loses or by the evidence."""

    # Smaller scores are rounding: standard deviations of edges are precise to 1e-8 of
    # the weights, and scores are their squares.
    min_score: float = 1e-16
    # Rows from which means of edges are computed.
    max_rows: int = 100_000
    # Fall of the log evidence by all removals together, which training counts as
    # nothing, and by a single edge to be removed with others.
    max_evidence_fall: float = 1.0
    max_evidence_fall_of_edge: float = 0.1
    # Noise variance of a standardised target, below which a law is exact: errors of
    # 1e-5. Training goes on to 1e-9 and less, but no trial gets as far.
    exact_noise: float = 1e-10
    # Solver steps for one trial by evidence. Not ablated.
    max_iter_per_trial: int = 60
    # Inputs or hidden nodes that are tried in vain, the most dispensable ones first.
    # Each costs a training. Not ablated.
    max_failed_nodes: int = 3


@dataclass(frozen=True)
class ClaimsSettings:
    """Checks of what a finished fit claims."""

    # Share of the loss of a constant that solvers leave open: `tol` of the estimators
    # ends a search that falls by 0.1% in ten iterations, from above where there is
    # nothing to learn.
    tolerance: float = 0.01
    # Loss in scaled units that is none: errors of a thousandth of a deviation of the
    # target, or of the size of a constant target.
    rounding: float = 1e-6
    # Passes of a stream, in one of which it must be better than a constant. "adam"
    # moves a weight by 0.01 a step at most, so that it needs a hundred to take back a
    # start of size 1, or to follow the rows elsewhere.
    passes_of_stream: int = 100
    # Typical error of a row that is left out, in deviations of the noise. Fits of
    # ordinary tables have 1.0 to 1.6; a noise of hardly any rows has a hundred.
    max_ratio_to_noise: float = 3.0
    # Such errors that count as none, in deviations of the target: a law without noise
    # has no other noise than what its curves cannot show.
    min_left_out_error: float = 0.03
    # Rows * parameters^2 of that comparison, some hundredths of a second, and the
    # fewest rows whose median means something.
    max_products: float = 2e8
    min_rows: int = 100
    # Deviation of a curve into an output, in deviations of the target, and the rows by
    # which it is measured. On six tables curves had at most 2.6, with and without
    # penalty, those of learnt priors at most 4.4.
    max_curve_deviation: float = 5.0
    max_rows: int = 10_000
    # Ranges of the target by which predictions may leave it where features combine
    # otherwise, and rows by which it is looked for. Fits of three tables with 5 and 10
    # nodes had 2.1 at most within the ranges of all features, and 3.6 beyond them.
    max_widths_beyond: float = 3.0
    max_rows_elsewhere: int = 1000
    # Factor of scaled inputs that leads beyond all grids.
    far_away: float = 1e3
    # Squared error of all rows but a few, relative to that of their mean, the share of
    # rows that are few, and the fewest rows of which one is few. Additive fits of 16
    # tables had 0.72 at most, of skewed noise (lognormal, sigma 1.5) 1.6. One to 20 of
    # 400 targets that are 1,000 deviations off led to 6 and more in 14 of 15 draws, and
    # to 1.2 in one, which predicted all rows by about their mean.
    max_ratio_to_mean: float = 3.0
    share_outliers: float = 0.05
    min_rows_of_outliers: int = 20


SCHEDULE = ScheduleSettings()
STREAM = StreamSettings()
CONTINUATION = ContinuationSettings()
RANDOM_STARTS = RandomStartSettings()
SECOND_ORDER = SecondOrderSettings()
POSTERIOR_MEAN = PosteriorMeanSettings()
PRUNING = PruningSettings()
CLAIMS = ClaimsSettings()
