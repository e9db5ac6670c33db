"""Functions of autograd that give the values of a basis, differentiable once.

torch has two forms of such functions. The form for `torch.func` and for forward mode
takes 40 us more for every call. Only these use it.
"""

import torch


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
    values = applied(_Evaluation, x, basis)
    return _Transformed.apply(x, basis.knots, basis)[0] if values is None else values


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
    values, slopes = _Transformed.apply(x, basis.knots, basis)
    return values, _Once.apply(slopes, x)


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


class _Evaluation(torch.autograd.Function):
    """Basis values whose backward pass uses the derivatives computed beside them."""

    @staticmethod
    def forward(ctx, x, basis):
        needed = ctx.needs_input_grad[0]
        values, slopes = basis.values_and_derivatives(x, with_derivatives=needed)
        if needed:
            ctx.save_for_backward(x, slopes)
        return values

    @staticmethod
    def backward(ctx, grad):
        x, slopes = ctx.saved_tensors
        if torch.is_grad_enabled():  # a graph is made, in which they are not constant
            slopes = _Once.apply(slopes, x)
        return through_functions(grad, slopes), None


class _Transformed(torch.autograd.Function):
    """Basis values in the form for `torch.func`, and derivatives as a second output."""

    @staticmethod
    def forward(x, knots, basis):
        return basis.values_and_derivatives(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, slopes = inputs[0], output[1]
        ctx.mark_non_differentiable(slopes)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, slopes)
        ctx.save_for_forward(x, slopes)

    @staticmethod
    def backward(ctx, grad, _):
        _Transformed._check_knots(constant=not ctx.needs_input_grad[1])
        x, slopes = ctx.saved_tensors
        return through_functions(grad, _Once.apply(slopes, x)), None, None

    @staticmethod
    def jvp(ctx, direction, of_knots, _):
        _Transformed._check_knots(constant=of_knots is None)
        x, slopes = ctx.saved_tensors
        return direction.unsqueeze(2) * _Once.apply(slopes, x), None

    @staticmethod
    def vmap(info, in_dims, x, knots, basis):
        _Transformed._check_knots(constant=in_dims[1] is None)
        x = x.movedim(in_dims[0], 0)
        both = _Transformed.apply(x.flatten(0, 1), knots, basis)
        return tuple(part.unflatten(0, x.shape[:2]) for part in both), (0, 0)

    @staticmethod
    def _check_knots(*, constant):
        if not constant:
            raise ValueError(
                "Knots must be the same for all that torch maps over, and constant in "
                "what it differentiates, got others: transform functions of samples "
                "and weights, and leave the buffers of the basis out."
            )


class _Once(torch.autograd.Function):
    """Derivatives at some samples that have none themselves with respect to these."""

    generate_vmap_rule = True

    @staticmethod
    def forward(slopes, x):
        return slopes.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        _Once._refuse()

    @staticmethod
    def jvp(ctx, *directions):
        _Once._refuse()

    @staticmethod
    def _refuse():
        raise RuntimeError(
            "Layers are differentiable once with respect to their inputs, got a "
            "request for second derivatives: differences of first derivatives "
            "approximate them."
        )
