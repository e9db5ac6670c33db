"""scikit-learn's callbacks (1.9 and later): fit, grid stage, iteration as task tree."""

from skkan.training._monitor_and_early_stopping import Observer

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:
        """Stands in where scikit-learn has no callbacks."""

    def with_callbacks(method):
        """Return the method as it is."""
        return method


class CallbackObserver(Observer):
    """Hands the events of a fit on to the callbacks that were set on an estimator.

    Parameters
    ----------
    estimator : KANRegressor or KANClassifier
    data : dict
        The `X`, `y` and `metadata` of the fit.
    attributes : callable
        Fitted attributes of an estimator that has a given network.
    n_stages : int or None
        Largest number of grid stages, where it is known.
    max_iter : int
        Largest number of iterations in each.
    """

    def __init__(self, estimator, data, attributes, n_stages, max_iter):
        self._estimator = estimator
        self._data = data
        self._attributes = attributes
        self._max_iter = max_iter
        self._root = estimator._init_callback_context(max_subtasks=n_stages)
        self._root.call_on_fit_task_begin(estimator=estimator, **data)

    @classmethod
    def create(cls, estimator, *args):
        """The observer in a list, or an empty list without callback support."""
        if hasattr(estimator, "_init_callback_context"):
            return [cls(estimator, *args)]
        return []

    def begin_stage(self, grid_size):
        self._stage = self._root.subcontext(
            task_name=f"grid {grid_size}", max_subtasks=self._max_iter
        )
        self._stage.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def end_iteration(self, report):
        if not getattr(self._estimator, "_skl_callbacks", None):
            return False
        task = self._stage.subcontext(task_name="iteration")
        task.call_on_fit_task_begin(estimator=self._estimator, **self._data)
        return self._end(task, report.network)

    def end_stage(self, network):
        return self._end(self._stage, lambda: network)

    def end_fit(self, network):
        """Called once, after everything else."""
        self._end(self._root, lambda: network)

    def _end(self, task, network):
        return task.call_on_fit_task_end(
            estimator=self._estimator,
            **self._data,
            reconstruction_attributes=lambda: self._attributes(network()),
        )
