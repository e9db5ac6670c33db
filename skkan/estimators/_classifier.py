"""KANClassifier."""

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from skkan.data._dask_tables import over_chunks
from skkan.estimators._base import BaseKAN
from skkan.estimators._error_context import fit_context
from skkan.fitted._target import ClassTarget, IndicatorTarget, LabelTarget
from skkan.numerics._threads import single_thread


class KANClassifier(ClassifierMixin, BaseKAN):
    """Kolmogorov-Arnold network for classification.

    Every edge of the network carries a learnable curve
    phi(x) = scale_base * b(x) + scale_spline * sum_m c_m B_m(x) of B-splines B_m and a
    base function b; nodes only add. The outputs are logits: one for two classes, one
    per class for more, one per label for an indicator matrix of labels. Inputs are
    scaled inside by median and interquartile range, so that they can come in any units.

    The fit minimises sum(w l) / sum(w) + (alpha / 2) c^T S c + penalty, where l is the
    negative log-likelihood of a row, w are the sample weights times the class weights
    and c^T S c is the size and curvature of the curves. With "lm", every edge has its
    own strengths in place of alpha.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, int, "auto" or "additive", default="auto"
        Number of nodes of each hidden layer. Without hidden layers, (), the model is
        additive: a sum of one curve per feature. "additive" is that, too, with the
        finer grids that "auto" takes for it. "auto" lets the data choose, see
        Notes: where `solver` or a float `alpha` is set, between () and (5,) only. With
        `penalty`, `prune_threshold`, `grid_schedule` or an array `alpha` it is (5,). A
        search over these compares like with like if it fixes `hidden_layer_sizes`.
    n_multiplications : int or array-like of int, default=0
        Number of nodes of each hidden layer, in addition to `hidden_layer_sizes`, that
        multiply two sums of curves, as in the KAN 2.0 paper. A layer of products alone
        is (0,). One such node is (f(x0) + c) (g(x1) + d), for which sums of curves take
        four that cancel. It costs the edges of two nodes. Set it where quantities act
        by their product or ratio, above all in laws and formulas. Needs
        `hidden_layer_sizes` that are set.
    grid_size : "auto" or int, default="auto"
        Number of grid intervals of every edge. "auto" is 5, unless the structure is
        chosen by the data.
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
    loss : {"log_loss"}, default="log_loss"
        Negative log-likelihood of a row, summed over the labels.
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
        "adam". In a search for the structure it bounds the additive model; networks
        that are averaged take up to 30 under each penalty, or `max_iter` if that is
        less. Where training has converged, the way to the mean of the posterior, see
        Notes, takes up to 150 steps more.
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
    class_weight : dict, "balanced" or None, default=None
        Weight of each class, by which sample weights are multiplied. "balanced" gives
        all classes the same total weight. Not for indicator matrices.

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
        pass), grid updates and, with "lm", the choice among starts, growing subsamples
        and the steps from the mode of the posterior to its mean left out; `alpha` may
        change from one to the next, in nats per row.
    loss_ : float
        The last value of `loss_curve_`, at the mode of the posterior; see Notes.
    validation_loss_curve_ : list of float or None
        Validation loss after each iteration, without penalties.
    validation_scores_ : list of float or None
        Accuracy on the validation rows after each iteration.
    best_validation_score_ : float or None
        Its value for the network that was kept, with `early_stopping`.
    n_iter_ : int
        Total number of iterations, those that settle grid updates included.
    stage_ends_ : list of int
        Length of `loss_curve_` at the end of each grid stage; each training after
        pruning is one more.
    alpha_ : ndarray of shape (n_edges, 3)
        With "lm": strengths of the penalty on size, curvature and change of curvature
        of every edge (by layer, output, input; edges of a skip come last). Between the
        nodes that pruning has left, removed edges are counted, too.
    log_evidence_ : float
        With "lm": log marginal likelihood of the training targets, by
        Laplace's method; minus infinity if `alpha` is 0. It compares fits of the same
        rows. Sample weights count by their ratios, see `fit`.
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
    classes_ : ndarray of shape (n_classes,)
        Class labels; for an indicator matrix the numbers of its columns.
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
    KANRegressor : The same network for continuous targets.
    skkan.solvers : Solvers and their own parameters.

    Notes
    -----
    Equal rows are merged and sorted before a fit of up to 100,000 rows, so that neither
    the order of the rows nor the way in which weights are given changes the result.
    Each network is trained by one thread; fit several models at a time with `n_jobs`.
    Networks that are averaged, and predictions of many rows, use the threads that torch
    is allowed to.

    With "lm" the posterior of the weights is Gaussian, by Laplace's method. Where
    classes are nearly separable the true one is skewed; with up to 10,000 rows, rows *
    outputs * parameters^2 up to 1e10, and alpha "auto" or an array, the fitted weights
    are therefore not its mode but its mean, by the variational correction of van
    Niekerk and Rue, and "auto" is learnt once more around that; with `early_stopping`
    they are what validates best. The sizes of curves that enter the same node are taken
    to be alike: the logarithms of their strengths are normal around their mean, with a
    deviation of 2.

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
    has any weight (of 10 nodes, with `early_stopping`). Half of their weight is taken
    where this mean is better by a t statistic of 0.5 to 2.
    Of more than 50,000 rows the last of these trainings see ever more, up to 300,000.
    "lm" goes to its end on 50,000, and takes a few steps on more and on all of them.

    Where `solver` or a float `alpha` is set, the additive model and from 60 rows on a
    network (5,), on grids of 5 intervals, are trained as they say on the rows not held
    out. If the network predicts the others clearly better, it is fitted to all rows,
    otherwise the additive model, as if this structure had been given with its
    `grid_size` and `grid_eps`, which are up to 20 and 0.2 for the additive model.

    `loss_curve_` has the last of these trainings only, of a weighted mean its
    objective. `warm_start` and pruning go on under the same penalties, and
    `partial_fit`, which sees one batch at a time, begins with (5,).

    References
    ----------
    Z. Liu et al., KAN: Kolmogorov-Arnold Networks, 2024; KAN 2.0: Kolmogorov-Arnold
    Networks Meet Science, 2024. J. van Niekerk and H. Rue, Low-rank Variational Bayes
    Correction to the Laplace Method, 2024.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from skkan import KANClassifier
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> model = KANClassifier(random_state=0).fit(X_train, y_train)
    >>> model.score(X_test, y_test) > 0.9
    True
    """

    __module__ = "skkan"

    _parameter_constraints: dict = {
        **BaseKAN._parameter_constraints,
        "loss": [StrOptions({"log_loss"})],
        "class_weight": [StrOptions({"balanced"}), dict, None],
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
        loss="log_loss",
        class_weight=None,
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
        self.class_weight = class_weight
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
        tags.classifier_tags.multi_label = True
        return tags

    @over_chunks
    @single_thread
    def decision_function(self, X):
        """Logits of the predicted probabilities.

        After a fit with solver "lm" they are moderated; see `predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes one column, positive for the second of `classes_`;
            otherwise one column per class or label.
        """
        raw = self._moderated(X)
        return self.fitted_model_.target.shaped(raw)

    @over_chunks
    @single_thread
    def predict(self, X):
        """Predict the most probable class, or all labels of probability above 1/2.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_labels) of 0 and 1
        """
        raw = self._raw(X)
        return self.fitted_model_.target.decode(raw)

    @over_chunks
    @single_thread
    def predict_proba(self, X):
        """Predict probabilities.

        After a fit with solver "lm" the raw outputs are moderated: with their posterior
        variance v they give the mean of the logistic function over the normal
        distribution of the logit, by quadrature. With several classes that is done
        with the lead of the most probable class of a row over the next one, and all
        outputs shrink by the factor by which its logit does, so that the order of the
        classes stays. After other solvers the raw outputs are taken as they are.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Rows sum to one, in the order of `classes_`; with several labels, the
            probability of each.

        References
        ----------
        D. MacKay, The Evidence Framework Applied to Classification Networks, 1992.
        """
        raw = self._moderated(X)
        return self.fitted_model_.target.probabilities(raw)

    @over_chunks
    @single_thread
    def predict_log_proba(self, X):
        """Predict logarithms of probabilities, exact also where they are tiny.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        raw = self._moderated(X)
        return self.fitted_model_.target.log_probabilities(raw)

    def _moderated(self, X):
        """Raw output, drawn towards indecision where the posterior is wide."""
        X, model = self._validated(X), self.fitted_model_
        return model.moderated_output(X, self._device_for_reading())

    @available_if(BaseKAN._can_stream)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Learn from a batch of rows of a stream.

        The estimator keeps a sample of up to 2,000 of all rows of the stream, in the
        user's units, and trains on these and the batch together: some steps of "lbfgs"
        (also where `solver` is "auto"), or one pass of "adam". Sorted rows therefore do
        not make it forget, a row that comes again counts once more, and many passes
        over some rows end where `fit` with these weights would. After `fit`, which
        keeps no rows, the batch meets 2,000 rows that are spread as those of the fit
        were, column by column, and whose targets are its predictions.

        The first call fixes the classes and the scaling of the inputs; make its batch
        representative. Later batches of a new range extend the grids, as with
        `warm_start`. Categories that only later batches hold are not known.

        Where `alpha` is "auto" the penalty counts once over the stream: its strength is
        0.003 for up to 1,000 different rows, and falls with the number of further ones;
        on grids that are finer than by default that of curvature is lower, by the
        fourth power of the ratio. What a fit before has learnt may be lower still.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
        classes : array-like of shape (n_classes,), default=None
            All classes that may come; required in the first call, except for
            indicator matrices.
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
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' cannot be known from one batch in "
                "partial_fit: pass a dict of weights, or sample_weight."
            )
        with fit_context(self):
            self._partial_fit(X, y, sample_weight, classes)
        return self

    def _checked_target(self, y):
        return IndicatorTarget.checked(y)

    def _make_target(self, y, previous, *, classes=None, streaming=False):
        if streaming and classes is None:
            if previous is not None:
                return previous
            if y.ndim == 1:
                raise ValueError(
                    "classes must be passed on the first call to partial_fit: later "
                    "batches may hold classes that this one lacks."
                )
        if y.ndim == 2:
            target = LabelTarget(y.shape[1])
        else:
            target = ClassTarget(np.unique(y if classes is None else classes))
        if y.ndim == 1 and len(target.classes) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 classes in y, got 1 class: "
                f"{target.classes.tolist()}. Check how y was made, or leave this fit "
                "out."
            )
        if previous is not None:
            target.check_continues(previous)
        return target

    def _row_weigher(self, target, rows):
        if self.class_weight is None:
            return super()._row_weigher(target, rows)
        return target.row_weigher(rows, self.class_weight)
