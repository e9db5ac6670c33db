"""Matrix products of numpy's arrays, by whichever of numpy and torch is faster."""

import numpy as np
import torch

# Up to so many multiplications OpenBLAS uses one thread and torch is slower to call.
MAX_NUMPY_PRODUCT = 2**18
# Like torch, do not warn of overflow: callers check whether the result is finite.
IGNORE_FLOAT_WARNINGS = np.errstate(all="ignore")


def product(left, right, out=None):
    """Matrix product of arrays, by torch where it is large."""
    if left.size * right.shape[1] <= MAX_NUMPY_PRODUCT:
        return np.matmul(left, right, out=out)
    if out is not None:
        out = torch.from_numpy(out)
    return torch.mm(torch.from_numpy(left), torch.from_numpy(right), out=out).numpy()


def sum_with(total, left, right):
    """left @ right, added to the total in place unless that is None."""
    if total is None:
        return product(left, right)
    torch.from_numpy(total).addmm_(torch.from_numpy(left), torch.from_numpy(right))
    return total
