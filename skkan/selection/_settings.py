"""The numbers of searches and finer grids, each with its reason.

"Not ablated" means that no benchmark has compared the value with others.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchSpaceSettings:
    """Structures that a search may try, and their limits."""

    # Grid sizes of the additive model; the finest affordable one is taken. The evidence
    # keeps curves on fine grids smooth.
    additive_grid_sizes: tuple = (20, 10, 5)
    # Networks with hidden nodes. Not ablated.
    hidden_layer_sizes: tuple = (10,)
    hidden_grid_size: int = 10
    # Grids follow the samples more than they are even. Not ablated.
    grid_eps: float = 0.2
    # Second-order training is affordable up to so many rows * outputs * parameters^2,
    # some tenths of a second for an iteration, and so many parameters.
    max_products: float = 2.5e9
    max_parameters: int = 1000
    # Rows of a search; more of them make it slower and its choice no better. Not
    # ablated.
    max_rows: int = 4000
    # Features of a search that screens their pairs. Those of 200 take a second for
    # 1,000 rows and one output, four times as long as those of 100.
    max_features_for_pairs: int = 200
    # Rows for networks with hidden nodes: a quarter of fewer validates nothing. Not
    # ablated.
    min_rows_for_hidden: int = 60


@dataclass(frozen=True)
class PairSettings:
    """Screening of the pairs of features that hidden nodes may take."""

    # Rows of a cell of two features on average, and limits of the bins of a feature.
    # Not ablated.
    rows_per_cell: int = 10
    min_bins: int = 3
    max_bins: int = 8
    # What a pair explains, in standard deviations of what noise explains.
    min_z: float = 2.0


@dataclass(frozen=True)
class FinerGridSettings:
    """Grids whose size is open are doubled as long as the evidence gains."""

    # Gain of log evidence that is clear. Laws without noise gain hundreds. On five
    # noisy tables with 2 and 5 nodes, fits to which 10 intervals gave less lost .008 of
    # R2 in the mean, and those to which they gave more won .026.
    min_gain: float = 10.0
    # Error of rows that are held out, in deviations of the noise. Laws that finer grids
    # have learnt have 1 to 4. Fits that meet all rows of a function with steps, and
    # predict others badly, have 8 and more.
    max_ratio_to_noise: float = 5.0
    # Paired t statistic of these rows that is clear whatever the noise. Laws have 6 to
    # 9, also where the noise of finer grids is a fifth to a thirtieth of the error;
    # functions with steps and noisy tables have 1 at most.
    clear_t: float = 3.0
    # Intervals. The error of a smooth law is a hundredth of that on 5. On 40, a steep
    # law (1,000 rows, five nodes) took three times as long, and two of eight fits
    # gained evidence without a lower error.
    max_grid_size: int = 20


@dataclass(frozen=True)
class SearchSettings:
    """Comparisons of a structure search."""

    # Networks with hidden nodes in an ensemble. The variance of their mean falls with
    # one over their number, and the time of a fit grows with it. Not ablated.
    n_members: int = 4
    validation_fraction: float = 0.25
    # Iterations of a second-order network before it is compared. Not ablated.
    max_second_order_iter: int = 40
    # Steps of an additive model to its mode for other rows. Not ablated.
    max_refit_iter: int = 20
    # Rows * outputs * parameters^2 of the last steps of an additive model on all rows,
    # some seconds.
    max_refit_products: float = 5e10
    # Rounds in which the penalty weights of the edges follow the variance of their
    # curves, and the largest ratio of a weight to the mean. Not ablated.
    max_penalty_rounds: int = 3
    max_penalty_ratio: float = 1e6
    # Weights of the hidden nodes beside the additive model: multiples of 1 / 20.
    n_weights: int = 20
    # Paired t statistics: of one network with hidden nodes before others are trained;
    # of their mean to be taken; and for classes, where a confident error costs most in
    # few rows, of which the validation rows may have none. In the four of 64 fits to
    # 22 tables of KEEL where 1 and 2 differ, 2 has the lower log loss (.584 for .684,
    # .441 for .474, .110 for .115, .024 for .028). Between promising and clear, half of
    # the weight is taken for classes, whose loss is convex in the mean: in nine of ten
    # fits to KEEL it has the lower log loss, by .0085 in the mean of the ten; the whole
    # weight has .0048. The others are not ablated.
    promising_t: float = 0.5
    min_t: float = 1.0
    min_t_of_classes: float = 2.0
    # Of one kind of networks, those of all features or those of pairs, beside the mean
    # of both, from which on all further ones are of this kind. Laws of three and six
    # features acting together have 4.6 to 9.6, of one pair up to 2.1, and tables have
    # 0.8 at most. With 3 the mean error of six draws of one pair is 1.27 times as high.
    min_t_of_one_kind: float = 2.0
    # Largest difference of a row, in medians, where there can be outliers. Not ablated.
    max_difference: float = 20.0
    # Of one second-order network to be taken for all others, whose errors no mean evens
    # out. Laws have 2.5 to 4.4 (80 to 300 rows, noise of 0 to .1 deviations). Under a
    # noise of .25 it has 1.1, and gains .006 of R2 (two draws of 400 rows); one table
    # in 14 fits had 1.5, and lost .18 in the corners of correlated features.
    min_t_of_second_order: float = 2.0
    # A second-order network is tried where the validation error is below this fraction
    # of a constant's, and ends the search where it is below this fraction of the
    # ensemble's. Not ablated.
    low_error: float = 0.1
    clearly_lower_error: float = 0.25


@dataclass(frozen=True)
class PathSettings:
    """The regularisation path of networks trained by L-BFGS."""

    # Penalty weights from the first to the last, by two steps a decade. With one step,
    # and 20 iterations, mean R2 of six draws of 700 rows is .740 for .754 (California)
    # and .867 for .879 (bikeshare). Under the first of the additive model next to
    # nothing of it is left. First and last are not ablated.
    first_alpha: float = 0.1
    first_additive_alpha: float = 10.0
    last_alpha: float = 1e-7
    alpha_step: float = 10**0.5
    # Steps in a row without a lower validation loss that end the path. Not ablated.
    n_steps_no_change: int = 3
    # Iterations at each step, and at the last steps on all rows. Stopping early keeps
    # from fitting noise, too. With 20 at each step the mean R2 above is .742 and .868.
    # The last ones are not ablated.
    max_iter: int = 30
    max_last_iter: int = 40
    n_iter_no_change: int = 10  # the default of the estimators
    # Of many rows fewer iterations are taken: rows * iterations, at least so many.
    max_row_iterations: int = 3_000_000
    min_iter: int = 10
    # The rows that take part from the first of the last steps on, and those that the
    # last one sees at most. Not ablated.
    max_rows_at_once: int = 50_000
    max_rows: int = 300_000


PAIRS = PairSettings()
SEARCH_SPACE = SearchSpaceSettings()
FINER_GRIDS = FinerGridSettings()
SEARCH = SearchSettings()
PATH = PathSettings()
