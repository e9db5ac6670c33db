"""Matrix products of numpy's arrays, by whichever of numpy and torch is faster."""

import numpy as np
import torch

# Multiplications, up to which OpenBLAS uses one thread, and torch is slower to call.
SMALL_PRODUCT = 2**18
# Infinity and what is no number are seen by those who ask for the result.
AS_SILENT_AS_TORCH = np.errstate(all="ignore")


def product(left, right, out=None):
    """Matrix product of arrays, by torch and its threads where that pays."""
    if left.size * right.shape[1] <= SMALL_PRODUCT:
        return np.matmul(left, right, out=out)
    if out is not None:
        out = torch.from_numpy(out)
    return torch.mm(torch.from_numpy(left), torch.from_numpy(right), out=out).numpy()


def sum_with(total, left, right):
    """A product, or its sum with those before."""
    if total is None:
        return product(left, right)
    torch.from_numpy(total).addmm_(torch.from_numpy(left), torch.from_numpy(right))
    return total
