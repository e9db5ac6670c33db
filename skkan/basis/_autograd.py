"""Functions of autograd that give the values of a basis and their derivatives.

torch has two forms of such functions. The form for `torch.func` and for forward mode
takes 40 us more for every call. Only these use it.
"""

import torch
from torch.autograd import forward_ad


def evaluated(x, basis):
    """Values of all functions of a basis.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_inputs)
    basis : Basis

    Returns
    -------
    Tensor of shape (n_samples, n_inputs, n_functions)
    """
    checked_samples(x, basis.n_inputs)
    if is_recorded():
        return basis.recorded_values(x)
    values = applied(_Evaluation, x, basis)
    return _Derivatives.apply(x, basis.knots, basis, 0)[0] if values is None else values


def is_recorded():
    """Whether `torch.export` records the operations for a graph without Python."""
    if torch.jit.is_tracing():
        raise RuntimeError(
            "torch.jit.trace would take the values of splines for constants: use "
            "torch.export.export, or to_onnx of skkan.export for a fitted estimator."
        )
    return torch.compiler.is_exporting()


def checked_samples(x, n_inputs):
    """Samples, if they are a Tensor of shape (n_samples, n_inputs)."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(
            f"x must be a torch.Tensor, got {type(x).__name__}: take torch.as_tensor."
        )
    if x.ndim != 2 or x.shape[1] != n_inputs:
        raise ValueError(
            f"x must have shape (n_samples, {n_inputs}), got {tuple(x.shape)}: pass "
            "one column for each input, and rows along the first dimension only."
        )
    return x


def values_and_slopes(x, basis):
    """Values and derivatives by operations that `torch.func` can transform."""
    knots = basis.knots
    values, slopes = _Derivatives.apply(x, knots, basis, 0)
    return values, _Known.apply(slopes, x, knots, basis, 1)


def applied(step, *args):
    """Result of a function of the fast form; None where the other form is needed."""
    try:
        return step.apply(*args)
    except RuntimeError as error:
        # No public function tells beforehand. Forward mode has a class of error.
        if isinstance(error, NotImplementedError) or "functorch" in str(error):
            return None
        raise


def through_functions(grad, slopes):
    """Gradient of the samples from that of the values of the functions.

    Parameters
    ----------
    grad, slopes : Tensor of shape (n_samples, n_inputs, n_functions)

    Returns
    -------
    Tensor of shape (n_samples, n_inputs)
    """
    # A product of matrices, since einsum does not take batches of gradients.
    n_functions, shape = slopes.shape[2], slopes.shape[:2]
    rows, columns = grad.reshape(-1, 1, n_functions), slopes.reshape(-1, n_functions, 1)
    return torch.bmm(rows, columns).view(shape)


def _along(direction, ctx, slopes):
    """Derivatives along a direction, which other directions differentiate again."""
    # Here torch has switched forward mode off, also that of transforms around this one,
    # whose derivatives would be zero.
    with forward_ad._set_fwd_grad_enabled(True):
        x = forward_ad.unpack_dual(ctx.saved_tensors[0]).primal
        return direction.unsqueeze(2) * slopes(ctx, x)


class _Evaluation(torch.autograd.Function):
    """Basis values whose backward pass uses the derivatives computed beside them."""

    @staticmethod
    def forward(ctx, x, basis):
        needed = ctx.needs_input_grad[0]
        values, slopes = basis.values_and_derivatives(x, with_derivatives=needed)
        if needed:
            ctx.basis = basis
            ctx.save_for_backward(x, slopes)
        return values

    @staticmethod
    def backward(ctx, grad):
        x, slopes = ctx.saved_tensors
        if torch.is_grad_enabled():  # a graph is made, in which they are not constant
            slopes = _Known.apply(slopes, x, ctx.basis.knots, ctx.basis, 1)
        return through_functions(grad, slopes), None


class _Derivatives(torch.autograd.Function):
    """Derivatives of two successive orders in the form for `torch.func`.

    Only those of the lower order are differentiable, by those of the higher.
    """

    @staticmethod
    def forward(x, knots, basis, order):
        if order == 0:
            return basis.values_and_derivatives(x)
        return tuple(basis.higher_derivatives(x, order))

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, knots, ctx.basis, ctx.order = inputs
        slopes = output[1]
        ctx.mark_non_differentiable(slopes)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, knots, slopes)
        ctx.save_for_forward(x, knots, slopes)

    @staticmethod
    def backward(ctx, grad, _):
        _Derivatives._check_knots(constant=not ctx.needs_input_grad[1])
        of_x = None
        if grad is not None:
            slopes = _Derivatives._slopes(ctx, ctx.saved_tensors[0])
            of_x = through_functions(grad, slopes)
        return of_x, None, None, None

    @staticmethod
    def jvp(ctx, direction, of_knots, *_):
        _Derivatives._check_knots(constant=of_knots is None)
        return _along(direction, ctx, _Derivatives._slopes), None

    @staticmethod
    def vmap(info, in_dims, x, knots, basis, order):
        _Derivatives._check_knots(constant=in_dims[1] is None)
        x = x.movedim(in_dims[0], 0)
        both = _Derivatives.apply(x.flatten(0, 1), knots, basis, order)
        return tuple(part.unflatten(0, x.shape[:2]) for part in both), (0, 0)

    @staticmethod
    def _slopes(ctx, x):
        _, knots, slopes = ctx.saved_tensors
        return _Known.apply(slopes, x, knots, ctx.basis, ctx.order + 1)

    @staticmethod
    def _check_knots(*, constant):
        if not constant:
            raise ValueError(
                "Knots must be the same for all that torch maps over, and constant in "
                "what it differentiates, got others: transform functions of samples "
                "and weights, and leave the buffers of the basis out."
            )


class _Known(torch.autograd.Function):
    """Derivatives of one order that are known at some samples, as functions of these.

    The next order is computed when it is needed.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(values, x, knots, basis, order):
        return values.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, x, knots, ctx.basis, ctx.order = inputs
        ctx.save_for_backward(x, knots)
        ctx.save_for_forward(x, knots)

    @staticmethod
    def backward(ctx, grad):
        slopes = _Known._slopes(ctx, ctx.saved_tensors[0])
        return None, through_functions(grad, slopes), None, None, None

    @staticmethod
    def jvp(ctx, _, direction, *__):
        return _along(direction, ctx, _Known._slopes)

    @staticmethod
    def _slopes(ctx, x):
        knots = ctx.saved_tensors[1]
        return _Derivatives.apply(x, knots, ctx.basis, ctx.order + 1)[0]
