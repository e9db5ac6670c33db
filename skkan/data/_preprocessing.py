"""Scaling of X and y, from the user's units to the core and back.

A `Preprocessing` is what a prediction needs besides the network. It is the one place
where the units and the constant to which the network adds are kept together.
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
    """Scaling of the features and the target, and the raw output of a constant model.

    Attributes
    ----------
    input_scaling : AffineScaling
        Of the features; a category keeps its codes.
    target_scaling : AffineScaling
        Of the encoded target.
    baseline : ndarray of shape (n_outputs,)
        Raw output to which the network adds.
    """

    input_scaling: AffineScaling
    target_scaling: AffineScaling
    baseline: np.ndarray

    def dataset(self, rows, device):
        """Rows (X, encoded target, sample weight) in scaled units, on a device.

        A fourth part may say how many observations each row stands for.

        Returns
        -------
        Dataset, or DaskDataset where X is in chunks
        """
        X, target, weight, *counts = rows
        counts = counts[0] if counts else None
        if isinstance(X, Chunks):
            return DaskDataset(
                X.transformed(self.input_scaling.transform),
                torch.from_numpy(self.target_scaling.transform(target)),
                torch.from_numpy(weight),
                torch.from_numpy(self.baseline),
            )
        return Dataset(
            *(
                torch.tensor(part, device=device)
                for part in (
                    self.input_scaling.transform(X),
                    self.target_scaling.transform(target),
                    weight,
                    self.baseline,
                )
            ),
            counts=None if counts is None else torch.tensor(counts, device=device),
        )
