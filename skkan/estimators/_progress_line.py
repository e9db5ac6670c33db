"""The progress line of `verbose=1`."""

from tqdm import tqdm

from skkan.training._monitor_and_early_stopping import Observer


class ProgressLine(Observer):
    """One line with grid size, train loss, validation loss and penalty.

    While a structure is searched for, it tells what is being tried. It counts the
    iterations in the loss curve. How many there will be is not known: stages end where
    they converge, and whether finer grids or pruning follow is up to the data.
    """

    def __init__(self):
        self._line = tqdm(desc="fit", unit="it")

    def begin_step(self, name):
        self._line.set_description_str(f"fit, {name}")

    def begin_stage(self, grid_size):
        self._line.set_description_str("fit")

    def end_iteration(self, report):
        figures = {"grid": report.grid_size, "loss": f"{report.loss:.3e}"}
        if report.validation_loss is not None:
            figures["val"] = f"{report.validation_loss:.3e}"
        figures["penalty"] = f"{report.penalty():.3e}"
        self._line.set_postfix(figures, refresh=False)
        self._line.update()
        return False

    def close(self):
        self._line.close()
