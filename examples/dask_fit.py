"""
How do a fit and a search use a cluster?
========================================

Rows that lie on the workers of a cluster stay there: a fit sends weights to them and
gets sums back. A search over settings, whose rows fit into memory, sends whole fits to
the workers instead. Does either change the result?
"""

import joblib
import numpy as np
from dask import array
from distributed import Client, LocalCluster
from sklearn.datasets import make_friedman1
from sklearn.model_selection import GridSearchCV

from skkan import KANRegressor


def main():
    # %%
    # Two workers, which are threads here, so that they start at once; elsewhere it is
    # the address of a scheduler that a client takes. The table is cut in chunks of its
    # rows, which `persist` sends out. More than 100,000 rows stay there.

    X, y = make_friedman1(n_samples=105_000, n_features=5, noise=1.0, random_state=0)
    cluster = LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        dashboard_address=":0",
        silence_logs=50,
    )
    with cluster, Client(cluster) as client:
        rows = array.from_array(X, chunks=(15_000, 5)).persist()
        target = array.from_array(y, chunks=15_000).persist()
        model = KANRegressor((), solver="lm", alpha=1e-4, random_state=0)
        on_workers = model.fit(rows, target).predict(X)
        print(f"workers: {len(client.scheduler_info()['workers'])}")

        # %%
        # The same in memory.

        difference = np.abs(on_workers - model.fit(X, y).predict(X)).max()
        print(f"largest difference to a fit in memory: {difference / y.std():.1e}")

        # %%
        # A search, one fit a task; `backend="ray"` serves in the same way, after
        # `ray.util.joblib.register_ray()`.

        search = GridSearchCV(
            KANRegressor(hidden_layer_sizes=(), solver="lm", random_state=0),
            {"grid_size": [5, 10]},
            cv=2,
        )
        with joblib.parallel_config(backend="dask"):
            search.fit(X[:500], y[:500])
        print(f"best of the search: {search.best_params_}")

    # %%
    # Sums over the rows are made in the same pieces and the same order by the workers
    # as in memory, so that the models agree to the bit, or to rounding where machines
    # differ.


if __name__ == "__main__":  # as workers that are processes import this file
    main()
