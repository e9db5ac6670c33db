"""The progress line of `verbose=1`."""

from tqdm import tqdm

from skkan.training._monitor_and_early_stopping import Observer


class ProgressLine(Observer):
    """One line with grid size, train loss, validation loss and penalty.

    While a structure is searched for, it tells what is being tried.
    """

    def __init__(self, n_stages, max_iter):
        self._line = tqdm(total=n_stages * max_iter, desc="fit", unit="it")
        self._max_iter = max_iter
        self._n_stages_done = 0

    def begin_step(self, name):
        self._line.set_description(f"fit, {name}")

    def begin_stage(self, grid_size):
        self._line.set_description("fit")

    def end_iteration(self, report):
        figures = {"grid": report.grid_size, "loss": f"{report.loss:.3e}"}
        if report.validation_loss is not None:
            figures["val"] = f"{report.validation_loss:.3e}"
        figures["penalty"] = f"{report.penalty():.3e}"
        self._line.set_postfix(figures, refresh=False)
        self._line.update()
        return False

    def end_stage(self, network):
        # A stage that converged early takes less than its share of the line.
        self._n_stages_done += 1
        self._line.n = self._n_stages_done * self._max_iter
        self._line.refresh()
        return False

    def close(self):
        self._line.close()
