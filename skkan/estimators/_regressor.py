"""KANRegressor."""

from numbers import Real

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skkan.data._dask_tables import over_chunks
from skkan.estimators._base import BaseKAN
from skkan.estimators._error_context import fit_context
from skkan.fitted._target import RegressionTarget
from skkan.losses._registry import REGRESSION_LOSSES, regression_loss
from skkan.numerics._threads import single_thread


class KANRegressor(RegressorMixin, BaseKAN):
    """Kolmogorov-Arnold network for regression.

    Every edge of the network carries a learnable curve
    phi(x) = scale_base * b(x) + scale_spline * sum_m c_m B_m(x) of B-splines B_m and a
    base function b; nodes only add. Inputs and target are scaled inside, so that they
    can come in any units: inputs by median and interquartile range, the target by mean
    and standard deviation.

    The fit minimises sum(w l) / sum(w) + (alpha / 2) c^T S c + penalty, where l is half
    the squared error of the standardised target, or another `loss`, w are the sample
    weights and c^T S c is the size and curvature of the curves. With "lm", every edge
    has its own strengths in place of alpha.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, int, "auto" or "additive", default="auto"
        Number of nodes of each hidden layer. Without hidden layers, (), the model is
        additive: a sum of one curve per feature. "additive" is that, too, with the
        finer grids that "auto" takes for it. "auto" lets the data choose, see
        Notes: where `solver` or a float `alpha` is set, between () and (5,) only. With
        `penalty`, `prune_threshold`, `grid_schedule` or an array `alpha` it is (5,). A
        search over these compares like with like if it fixes `hidden_layer_sizes`.
        With "lm", training of small networks also tries up to 18 starting points at
        random where the usual two leave more noise than a hundredth of y's deviation.
        They are taken if the evidence clearly gains.
    n_multiplications : int or array-like of int, default=0
        Number of nodes of each hidden layer, in addition to `hidden_layer_sizes`, that
        multiply two sums of curves, as in the KAN 2.0 paper. A layer of products alone
        is (0,). One such node is (f(x0) + c) (g(x1) + d), for which sums of curves take
        four that cancel. It costs the edges of two nodes. Set it where quantities act
        by their product or ratio, above all in laws and formulas. For tables it hardly
        matters: on diabetes, concrete and California housing (700 rows) one product in
        place of a node or two changed R2 by -.01 to .03. Needs `hidden_layer_sizes`
        that are set.
    grid_size : "auto" or int, default="auto"
        Number of grid intervals of every edge. "auto" begins with 5, unless the data
        choose the structure. Where "lm" learns `alpha`, without `early_stopping` and
        `grid_schedule`, it is doubled up to 20 as long as the evidence clearly gains
        and a quarter of the rows, held out, agrees. Steep and exact laws need finer
        grids, at some 2 to 5 times the time; most other fits take a fifth more.
    spline_order : int, default=3
        Polynomial degree of the splines; 3 is cubic.
    grid_eps : "auto" or float, default="auto"
        Mix of the grids, grid_eps * uniform + (1 - grid_eps) * adaptive: 1 divides the
        range of the samples evenly, 0 follows their quantiles. "auto" is 1, or 0.2
        where the structure is chosen by the data. Below 1 the first grids reach farther
        into long tails, and those of the uniform mix are even in logarithms beyond
        three robust deviations from the median.
    grid_schedule : array-like of int, default=None
        Strictly increasing grid sizes, visited after `grid_size`. Each stage starts
        from the curves of the one before it.
    categorical_features : "from_dtype", None or array-like, default="from_dtype"
        Which features are categories: those of a categorical data type of a data frame
        (pandas' "category", polars' Categorical and Enum), none, or those of a mask, of
        column numbers or of names. Such a feature has one learnt value for each
        category that appears in training, without order or base function, shrunk
        towards zero by `alpha`; zero is the value of categories that are not known.
        They are told apart as strings or as numbers, whole ones of any size.
    n_grid_updates : int, default=5
        How often the grids of hidden layers follow their activations. "lm" moves those
        that their nodes have outgrown. Other solvers move all of them in the first half
        of each stage; ten iterations settle an update, and if the objective is then not
        below what it was before, all of it is undone.
    base_activation : {"silu", "identity"}, default="silu"
        Base function b of every edge.
    extrapolation : {"constant", "linear"}, default="constant"
        How edges continue outside of their grid: by their value at its end, or by
        their tangent.
    additive_skip : bool, default=False
        Whether to add edges from every input straight to every output. No effect
        without hidden layers.
    interaction_cst : {"pairwise", "no_interactions"}, sequence of groups or None, \
default=None
        Which features may act together, as in HistGradientBoosting: hidden nodes take
        the features of one group each, beside an additive skip. Groups hold numbers or
        names of features; those that are in none form one more. With "pairwise" each
        node takes two features, of pairs that explain most of what curves of one
        feature leave; the model is then a sum of curves and surfaces. With
        "no_interactions" it is additive. Without hidden nodes it has no effect. A
        constraint makes a model easier to read, and costs accuracy where more features
        act together.
    loss : {"squared_error", "poisson", "gamma", "tweedie", "huber", "quantile"}, \
default="squared_error"
        Loss of a row, summed over the outputs. "poisson", for counts and rates of at
        least 0, "gamma", for positive targets, and "tweedie", for amounts many of which
        may be 0, are half deviances under a log link: the network adds up to the
        logarithm of the mean. "huber" counts errors beyond
        1.345 robust standard deviations linearly, so that outliers in y hardly matter
        as long as they are fewer than half of the rows.
        "quantile" is the pinball loss of `quantile`; see Notes.
    quantile : float, default=None
        Which quantile to predict with ``loss="quantile"``, between 0 and 1. Other
        losses do not use it.
    power : float, default=1.5
        Power of the mean to which the variance is proportional with
        ``loss="tweedie"``, between 1, where its deviance is that of "poisson", and 2,
        where it is that of "gamma". Other losses do not use it.
    solver : {"auto", "lm", "lbfgs", "adam"} or Solver, default="auto"
        "lm" (Levenberg-Marquardt) uses second derivatives and learns `alpha`; it begins
        on coarser grids and on subsamples of the rows. "lbfgs" uses all rows in every
        step, "adam" mini-batches. "auto" is "lm" where
        `alpha` is not a float, there is no `penalty`, the network has up to 800
        parameters and rows * outputs * parameters^2 is at most 5e11, or up to 1,200 and
        it is at most 5e9; otherwise "lbfgs" up to 20,000 rows and "adam" above. Where
        these limits hold on coarser grids, "lm" learns `alpha` there, and the other
        solver goes on from its curves. An object from `skkan.solvers` sets the solver's
        own parameters. What is set here narrows the choice of `hidden_layer_sizes`.
    alpha : "auto", float or array-like of shape (n_edges, 3), default="auto"
        Strength of the quadratic penalty on the curves. With "lm", "auto" learns it
        from the training data, for every edge its own, by maximising the evidence;
        other solvers then take 0.003, or what "lm" has learnt on coarser grids (see
        `solver`). A float is the strength on size, and 0.01 of it that on curvature, of
        all edges; 0 turns the penalty off. An array holds strengths on size, curvature
        and change of curvature of each edge, as `alpha_`. What is set here narrows the
        choice of `hidden_layer_sizes`.
    penalty : SparsityPenalty, default=None
        Further penalty, which drives unneeded edges to zero.
    prune_threshold : float, "auto" or None, default=None
        Whether to remove edges after the training, and to train what is left on from
        where it stands. A float is a share of the variance of the output: edges are
        removed that lose less if their means replace them, each alone and all of a
        round together, and with them the nodes and features that no edge needs any
        more, until there is none left; 0 removes edges that are constant only, 0.01 is
        a good start. "auto", which needs "lm" and ``alpha="auto"``, removes edges,
        and whole nodes and features, as long as the log evidence of the retrained
        network does not fall by more than 1. Where no edge is left, the model predicts
        a constant, and warns. `partial_fit` does not prune.
    max_iter : int, default=500
        Largest number of iterations in each stage: steps of "lm", those on coarser
        grids and on subsamples included, steps of "lbfgs", passes over the rows of
        "adam". In a search for the structure it bounds the additive model and the last
        training of what is found. Networks that are averaged take up to 30 under each
        penalty, or `max_iter` if that is less; a single one takes up to 40 before it is
        compared.
        Trials of further starting points, see `hidden_layer_sizes`, come on top, and
        are not in `n_iter_`: up to 160 steps and one training, on coarse grids and once
        more on the last ones.
    tol : float, default=1e-3
        A search ends when the objective (with `early_stopping`, the validation loss)
        has not fallen by this fraction within `n_iter_no_change` iterations. A fit by
        "lbfgs" warns if its gradient then promises a further fall of more than 1%.
    early_stopping : bool, default=False
        Whether to keep the network with the best loss on validation rows: `X_val` of
        `fit`, or a share of the training rows (stratified by class where possible).
    validation_fraction : float, default=0.1
        Share of the rows that validate when `early_stopping` is set without `X_val`.
    n_iter_no_change : int, default=10
        See `tol`.
    warm_start : bool, default=False
        Whether `fit` goes on from the earlier fit, with its scaling and grids. With a
        larger `grid_size` the fitted curves are first carried over to finer grids. Rows
        of a new range extend the grids: each further interval adds 1 / `grid_size` of
        the range so far, and the curves stay as they are where they were. The columns
        must have the same names, and no categories that it does not know.
    random_state : int, RandomState instance or None, default=None
        Source of the starting weights, of a validation split and of mini-batches. An
        int makes fits identical bit by bit.
    verbose : int, default=0
        1 shows one progress line: what is tried while a structure is searched for, then
        the iterations so far, grid size, loss, validation loss and penalty.
    device : str or torch.device, default="cpu"
        Where to fit, and where the uncertainty of predictions is computed. The
        predictions themselves are made on the CPU. Fitted models move between devices
        freely.

    Attributes
    ----------
    network_ : KANNetwork
        The fitted network as a torch module in scaled units, built on access.
    fitted_model_ : FittedModel
        The network with scaling, coding of the target and posterior: all that
        predictions, displays, formulas and exports read. It is not to be changed.
    feature_importances_ : ndarray of shape (n_features_in_,)
        Mean squared change of the raw output (log odds for classes, the logarithm of
        the mean under a log link) if the values of a feature are permuted among up to
        1,000 training rows with their weights, divided by the sum over all features.
        All zero if the network is constant. After `partial_fit`, that over the last
        batch and the rows that it remembers.
    loss_curve_ : list of float
        Penalised training loss after each iteration (for "adam" its mean during the
        pass), grid updates and, with "lm", the choice among starts and growing
        subsamples left out; `alpha`, and with "huber" and "quantile" the loss, may
        change from one to the next. In units of the variance of y with
        "squared_error", of the mean Poisson deviance around the mean of y with
        "poisson".
    loss_ : float
        The last value of `loss_curve_`.
    validation_loss_curve_ : list of float or None
        Validation loss after each iteration, without penalties.
    validation_scores_ : list of float or None
        R2 score on the validation rows after each iteration; with other losses than
        the squared error D2, the share of the loss of the best constant that is
        explained.
    best_validation_score_ : float or None
        Its value for the network that was kept, with `early_stopping`.
    n_iter_ : int
        Total number of iterations, those that settle grid updates included. Trials of
        curves at random, which come on top of `max_iter`, are left out.
    stage_ends_ : list of int
        Length of `loss_curve_` at the end of each grid stage; each training after
        pruning is one more.
    alpha_ : ndarray of shape (n_edges, 3)
        With "lm": strengths of the penalty on size, curvature and change of curvature
        of every edge (by layer, output, input; edges of a skip come last). Between the
        nodes that pruning has left, removed edges are counted, too.
    noise_std_ : float or ndarray of shape (n_outputs,)
        With "lm" or "auto", and the squared error: standard deviation of the target
        around the model, in its units; see Notes.
    dispersion_ : float or ndarray of shape (n_outputs,)
        With "lm": variance of the target around the model in units of its mean with
        "poisson" (at least 1 for whole numbers), of its squared mean with "gamma", of
        its mean to the `power` with "tweedie".
    log_evidence_ : float
        With "lm": log marginal likelihood of the training targets in their units, by
        Laplace's method; minus infinity if `alpha` is 0. It compares fits of the same
        rows under the same loss. Of other losses than the squared error it is that of
        a quasi-likelihood with a learnt dispersion, up to a constant of the targets.
        Sample weights count by their ratios, see `fit`.
    n_effective_parameters_ : float
        With "lm": number of weights that the data determines rather than the penalty.
    search_results_ : dict of masked and other ndarrays
        Only where this fit has searched for a structure, see Notes: what it has
        trained, to be read by pandas.DataFrame, with an entry for each candidate.
        "param_hidden_layer_sizes", "param_grid_size", "param_solver" and "param_alpha"
        (masked where learnt) tell the candidates apart, which are means of "n_networks"
        networks. "validation_score" is minus their mean loss on the rows held out,
        without penalties: higher is better, NaN where none were. Its ranks are in
        "rank_validation_score". "weight" is the share of a candidate in the prediction,
        and "reason" says why. "n_iter" and "fit_time", in seconds, are those of the
        search; a single network is then trained on all rows, which comes on top. Where
        an additive model goes along a path of penalties, its edges have weights of
        their own relative to "param_alpha".
    grid_size_ : int
        Number of grid intervals of the fitted network, those included that new ranges
        have added to the first one.
    hidden_layer_sizes_ : tuple of int
        Number of nodes of each hidden layer of the fitted network, without products.
    n_multiplications_ : tuple of int
        Number of products of each hidden layer.
    n_outputs_ : int
        Number of outputs of the network.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had names that are all strings.
    is_categorical_ : ndarray of bool of shape (n_features_in_,) or None
        Which features are categories; None if there are none.
    categories_ : list of (ndarray or None) of length n_features_in_, or None
        The known categories of each feature, in the order of their codes; None for
        numbers.

    See Also
    --------
    KANClassifier : The same network for class labels.
    skkan.solvers : Solvers and their own parameters.

    Notes
    -----
    Equal rows are merged and sorted before a fit of up to 100,000 rows, so that neither
    the order of the rows nor the way in which weights are given changes the result.
    Each network is trained by one thread; fit several models at a time with `n_jobs`.
    Networks that are averaged, and predictions of many rows, use the threads that torch
    is allowed to.

    "huber" and "quantile" depend on the noise. Training begins with the spread of y in
    its place, and goes on with that of its own residuals until this is settled, or ten
    times. "huber" takes the length of the shortest interval with half of them, so that
    up to half of the rows may be outliers; a share e of them on one side moves the fit
    by a few deviations at most, by 0.7 for e = 0.25 and 2 for e = 0.4. "quantile" is
    smoothed by a logistic kernel, whose width goes by the residuals next to the
    quantile alone: 0.4 of the distance within which there are as many of them as 0.4 of
    those beyond it. That is 0.1 deviations at the median of normal noise and ever less
    towards the tails, where noise is skewed or where it is small for some of the rows.
    It is less than what conquer takes, ((log n + p) / n)^0.4 deviations.
    The deviances of "poisson" and "tweedie" are divided by that around the mean of y,
    so that `alpha` means the same in all units.

    Cells of X may be missing (NaN). Every edge that leaves a feature with missing cells
    in the training rows learns its value there, as a deviation from its mean over the
    cells that are known. Where a feature had none in training, missing cells count as
    that mean.

    With `hidden_layer_sizes="auto"` the data choose the structure. An additive model
    comes first, on grids of up to 20 intervals, with penalties that are learnt by "lm".
    A quarter of the rows (of up to 4,000) is held out. Where the additive model has too
    many weights for "lm" (more than 1,000, or fewer with many rows and outputs), it has
    grids of 5 intervals, and rows held out choose its `alpha`: one for all edges, and
    then one that is larger the less the curve of an edge varies.

    From 60 rows on, four networks with a hidden layer of 10 nodes, on grids of 10
    intervals or as few as the additive model, are trained on the rows not held out by
    "lbfgs", a few steps each under one `alpha` that falls as long as their mean
    predicts the rows held out better. The nodes of two of them take all features, those
    of the others one pair each beside an additive skip, as with
    `interaction_cst="pairwise"`. (All of them take what `interaction_cst` says where it
    is set, and all features where these are two or more than 200.) One of each kind
    comes first: where one predicts the rows held out better than the mean of both, with
    a t statistic above 2, all are of its kind. Otherwise both have the same weight,
    unless others predict these rows clearly better; a kind without weight is left out.
    If a weighted mean of all and the additive model predicts them clearly better than
    the latter alone, they are trained on all rows, and what is fitted is that weighted
    mean: one network of up to 40 nodes, whose skip has the additive model where that
    has any weight (of 10 nodes, with `early_stopping`).
    Of more than 50,000 rows the last of these trainings see ever more, up to 300,000.
    "lm" goes to its end on 50,000, and takes a few steps on more and on all of them.

    Where a tenth of the variance or less is left, a single network of 5 nodes by "lm"
    is tried as well, and taken if its t statistic is above 2. `loss_curve_` has the
    last of these trainings only, of a weighted mean its objective. `warm_start` and
    pruning go on under the same penalties, and `partial_fit`, which sees one batch at a
    time, begins with (5,).

    Where `solver` or a float `alpha` is set, the additive model and from 60 rows on a
    network (5,), on grids of 5 intervals, are trained as they say on the rows not held
    out. If the network predicts the others clearly better, it is fitted to all rows,
    otherwise the additive model, as if this structure had been given with its
    `grid_size` and `grid_eps`, which are up to 20 and 0.2 for the additive model.

    Of a weighted mean, `noise_std_` is the deviation of normal errors, nine tenths of
    which are as small as nine tenths of the errors on the rows held out, less what the
    uncertainty of the curves has in them, and
    `return_std` counts only the curves that enter the output as uncertain. It is made
    for intervals: where most errors are small and a few are large, as with targets most
    of which are zero, the standard deviation of the errors is larger. There is no
    evidence then, nor `alpha_`. Some ten rows alone do not tell the noise: take no
    interval from so few.

    References
    ----------
    Z. Liu et al., KAN: Kolmogorov-Arnold Networks, 2024; KAN 2.0: Kolmogorov-Arnold
    Networks Meet Science, 2024. X. He et al., Smoothed Quantile Regression with
    Large-Scale Inference (conquer), 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import train_test_split
    >>> from skkan import KANRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> model = KANRegressor(hidden_layer_sizes=(), alpha=0.1, random_state=0)
    >>> model.fit(X_train, y_train).score(X_test, y_test) > 0.3
    True

    What a search for the structure has chosen, and why:

    >>> results = KANRegressor(random_state=0).fit(X_train, y_train).search_results_
    >>> chosen = results["weight"].argmax()
    >>> results["param_hidden_layer_sizes"][chosen], results["reason"][chosen]
    ((), 'chosen: 100% of the prediction; no other structure is clearly better')
    """

    __module__ = "skkan"

    _parameter_constraints: dict = {
        **BaseKAN._parameter_constraints,
        "loss": [StrOptions(set(REGRESSION_LOSSES))],
        "quantile": [Interval(Real, 0, 1, closed="neither"), None],
        "power": [Interval(Real, 1, 2, closed="neither")],
    }

    def __init__(
        self,
        hidden_layer_sizes="auto",
        *,
        n_multiplications=0,
        grid_size="auto",
        spline_order=3,
        grid_eps="auto",
        grid_schedule=None,
        categorical_features="from_dtype",
        n_grid_updates=5,
        base_activation="silu",
        extrapolation="constant",
        additive_skip=False,
        interaction_cst=None,
        loss="squared_error",
        quantile=None,
        power=1.5,
        solver="auto",
        alpha="auto",
        penalty=None,
        prune_threshold=None,
        max_iter=500,
        tol=1e-3,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        warm_start=False,
        random_state=None,
        verbose=0,
        device="cpu",
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_multiplications = n_multiplications
        self.grid_size = grid_size
        self.spline_order = spline_order
        self.grid_eps = grid_eps
        self.grid_schedule = grid_schedule
        self.categorical_features = categorical_features
        self.n_grid_updates = n_grid_updates
        self.base_activation = base_activation
        self.extrapolation = extrapolation
        self.additive_skip = additive_skip
        self.interaction_cst = interaction_cst
        self.loss = loss
        self.quantile = quantile
        self.power = power
        self.solver = solver
        self.alpha = alpha
        self.penalty = penalty
        self.prune_threshold = prune_threshold
        self.max_iter = max_iter
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        loss = REGRESSION_LOSSES.get(self.loss)
        tags.target_tags.positive_only = getattr(loss, "positive_only", False)
        return tags

    @over_chunks
    @single_thread
    def predict(self, X, return_std=False):
        """Predict the target.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        return_std : bool, default=False
            Whether to return the standard deviation of the target, too. It adds the
            noise (`noise_std_`) to the uncertainty of the network, taken from the
            Laplace posterior of its weights (the Gauss-Newton matrix at the optimum),
            or of those that enter the output; see Notes. Grids and penalties count as
            known, and beyond the grids curves and uncertainty are continued like the
            network. Needs the squared error, and a fit with solver "lm" or one that has
            chosen the structure.

        Returns
        -------
        y_mean : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            In the units of y, in the shape that y had: the mean of y, with "quantile"
            that quantile. With a log link it is positive and finite.
        y_std : ndarray of the same shape
            Only with `return_std`.

        Raises
        ------
        ValueError
            If `return_std` is set and the loss is not the squared error, or the fit has
            left no posterior.
        """
        if return_std:
            check_is_fitted(self)
            self._check_posterior()
        X, model = self._validated(X), self.fitted_model_
        raw = model.raw_output(X)
        y = model.target.decode(model.output_scaling.inverse_transform(raw))
        if not return_std:
            return y
        variance = np.empty_like(raw)
        device = self._device_for_reading()
        for rows, deviations in model.whitened_jacobians(X, device):
            explained = np.square(deviations).sum(1).T
            variance[rows] = model.posterior.noise * (1 + explained)
        std = np.sqrt(variance) * model.output_scaling.scale
        return y, model.target.shaped(std)

    def _check_posterior(self):
        """Raise a ValueError if the last fit has left no posterior."""
        model = self.fitted_model_
        loss = model.target.loss_name
        if not model.target.loss.is_normal:
            raise ValueError(
                "return_std is the deviation of normal errors, which is not defined "
                f"for a fit with loss={loss!r}: set loss='squared_error', or fit "
                "quantiles with loss='quantile'."
            )
        if model.posterior is None or model.posterior.factor is None:
            raise ValueError(
                f"return_std needs a {type(self).__name__} whose last fit has left a "
                f"posterior, got solver={self.solver!r}, alpha={self.alpha!r}, "
                f"penalty={self.penalty!r}: fit with solver='lm', or with "
                "hidden_layer_sizes, solver and alpha 'auto'."
            )

    @available_if(BaseKAN._can_stream)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Learn from a batch of rows of a stream.

        The estimator keeps a sample of up to 2,000 of all rows of the stream, in the
        user's units, and trains on these and the batch together: some steps of "lbfgs"
        (also where `solver` is "auto"), or one pass of "adam". Sorted rows therefore do
        not make it forget, a row that comes again counts once more, and many passes
        over some rows end where `fit` with these weights would. After `fit`, which
        keeps no rows, the batch meets 2,000 rows that are spread as those of the fit
        were, column by column, and whose targets are its predictions.

        The first call fixes the scaling of inputs and target; make its batch
        representative. Later batches of a new range extend the grids, as with
        `warm_start`. Categories that only later batches hold are not known.

        Where `alpha` is "auto" the penalty counts once over the stream: its strength is
        0.003 for up to 1,000 different rows, and falls with the number of further ones;
        on grids that are finer than by default that of curvature is lower, by the
        fourth power of the ratio. What a fit before has learnt may be lower still.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        self : object
            The estimator after the batch.

        Raises
        ------
        ValueError
            If a parameter or the data are not as described.
        """
        with fit_context(self):
            self._partial_fit(X, y, sample_weight)
        return self

    def _checked_target(self, y):
        loss = regression_loss(self.loss, vars(self))
        return loss.checked_target(RegressionTarget.checked(y))

    def _make_target(self, y, previous, *, classes=None, streaming=False):
        names = REGRESSION_LOSSES[self.loss].parameters
        target = RegressionTarget(
            is_vector=y.ndim == 1,
            loss_name=self.loss,
            loss_parameters={name: getattr(self, name) for name in names},
        )
        if previous is not None:
            target.check_continues(previous)
        return target
