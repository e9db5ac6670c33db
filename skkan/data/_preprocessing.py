"""The way from the user's rows to tensors of the core, and back.

A `Frame` is what a prediction needs besides the network. It is the one place where
units, class codes and the raw output to start from are kept together.
"""

from dataclasses import dataclass

import numpy as np
import torch

from skkan.data._dask_chunks import Chunks
from skkan.data._dask_dataset import DaskDataset
from skkan.data._dataset import Dataset
from skkan.data._scaling import AffineScaling


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """Scaling of inputs and target, baseline, and how the target is coded."""

    x_scaling: AffineScaling
    y_scaling: AffineScaling
    baseline: np.ndarray  # (n_outputs,) raw output to which the network adds
    coding: dict  # fitted attributes such as classes_

    @property
    def attributes(self):
        """The frame as fitted attributes of an estimator."""
        return {
            "_x_centre": self.x_scaling.centre,
            "_x_scale": self.x_scaling.scale,
            "_y_centre": self.y_scaling.centre,
            "_y_scale": self.y_scaling.scale,
            "_baseline": self.baseline,
            **self.coding,
        }

    @classmethod
    def of(cls, estimator, coding):
        """The frame that a fitted estimator holds."""
        return cls(
            AffineScaling(estimator._x_centre, estimator._x_scale),
            AffineScaling(estimator._y_centre, estimator._y_scale),
            estimator._baseline,
            coding,
        )

    def tensors(self, rows, device):
        """Rows (X, encoded target, sample weight) as Dataset on a device.

        Chunks become DaskDataset, on their cluster.
        """
        X, target, weight = rows
        if isinstance(X, Chunks):
            return DaskDataset(
                X.transformed(self.x_scaling.transform),
                torch.from_numpy(self.y_scaling.transform(target)),
                torch.from_numpy(weight),
                torch.from_numpy(self.baseline),
            )
        return Dataset(
            *(
                torch.tensor(part, device=device)
                for part in (
                    self.x_scaling.transform(X),
                    self.y_scaling.transform(target),
                    weight,
                    self.baseline,
                )
            )
        )
