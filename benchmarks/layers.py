"""How fast is one layer? Forward and backward passes of public KAN layers in turns.

    python benchmarks/layers.py [--dtype float32] [--shapes 1000,2,5,5,3 ...]
        [--repeats 15] [--only uniform pykan ...] [--keep-memory] [--network]

A shape is rows, inputs, outputs, grid intervals, degree. Whatever layers are installed
take part, each at its own fastest settings, and the three matrix products of a dense
layer as the floor. Gradients are those of all coefficients and of the inputs. One core,
whose CPU time is counted; all take turns, and medians are printed: read ratios within a
column. The error is that
of the output against scipy, relative to the largest output; functions that are no
splines of that degree have none. With --keep-memory, glibc returns no memory to the
system, so that no time goes into page faults. With --network, a first-order fit's
evaluation is timed instead.
"""

import argparse
import ctypes
import importlib
import random
import statistics
import time
import warnings

import numpy as np
import torch
from scipy.interpolate import BSpline

from skkan import BSplineBasis, KANLayer, KANNetwork
from skkan.data._dataset import Dataset
from skkan.losses._regression import SquaredError
from skkan.objective._objective import Objective

SHAPES = [
    "1000,2,5,5,3",
    "3000,2,1,100,3",
    "10000,8,8,10,3",
    "10000,64,64,5,3",
    "50000,16,16,20,3",
    "4096,256,128,8,3",
    "1024,784,64,5,3",
]
SLOW = 0.5  # seconds, from which on a layer has fewer turns
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1  # of glibc's mallopt
UNEVEN = 0.3  # of an interval, by which inner knots are moved off equal distances


class Layer:
    """A layer of some package, and the splines it stands for.

    `module(x)` gives outputs; `splines` gives knots (n_inputs, n_knots), coefficients
    (n_outputs, n_inputs, n_splines) and base weights, or is None.
    """

    def __init__(self, module, splines=None):
        self.module, self.splines = module, splines

    def __call__(self, x):
        return self.module(x)

    def parameters(self):
        return [p for p in self.module.parameters() if p.requires_grad]


def skkan_layer(is_uniform, by_basis=False):
    def make(n_inputs, n_outputs, grid_size, k):
        grid = torch.linspace(-1, 1, grid_size + 1).expand(n_inputs, -1).clone()
        if not is_uniform:
            noise = torch.rand(n_inputs, grid_size - 1) - 0.5
            grid[:, 1:-1] += UNEVEN * noise * 2 / grid_size
        basis = BSplineBasis(grid, k, base_activation="silu")
        module = KANLayer(basis, torch.randn(n_outputs, n_inputs, basis.n_functions))

        def splines():
            return basis.knots, module.spline_coef, module.base_weight

        layer = Layer(module, splines)
        if by_basis:
            layer.__class__ = _ByBasis
        return layer

    return make


class _ByBasis(Layer):
    """The same by dense basis values and autograd."""

    def __call__(self, x):
        return self.module.combine(self.module.basis(x), self.module.weight)


def cubic_layer(package, **settings):
    """Of inkan or flashkan, which have cubic splines only."""

    def make(n_inputs, n_outputs, grid_size, k):
        layers = importlib.import_module(package)
        module = layers.KANLayer(n_inputs, n_outputs, grid_size=grid_size, **settings)

        def splines():
            start, step = module.grid_starts, 1 / module.inv_h
            last = start[-1:] + step * torch.arange(1, k + 2)
            knots = torch.cat([start, last.to(start)]).expand(n_inputs, -1)
            return knots, module.spline_weight, module.base_weight

        return Layer(module, splines)

    return make


def efficient_kan_layer(n_inputs, n_outputs, grid_size, k):
    layers = importlib.import_module("efficient_kan")
    module = layers.KANLinear(n_inputs, n_outputs, grid_size, k)

    def splines():
        return module.grid, module.scaled_spline_weight, module.base_weight

    return Layer(module, splines)


def pykan_layer(n_inputs, n_outputs, grid_size, k):
    layers = importlib.import_module("kan.KANLayer")
    module = layers.KANLayer(n_inputs, n_outputs, grid_size, k)

    def splines():
        coef = (module.coef * module.scale_sp.unsqueeze(2)).transpose(0, 1)
        return module.grid, coef, module.scale_base.T

    layer = Layer(module, splines)
    layer.__class__ = _FirstOfMany
    return layer


class _FirstOfMany(Layer):
    """pykan returns the values on all edges, too."""

    def __call__(self, x):
        return self.module(x)[0]


def fast_kan_layer(n_inputs, n_outputs, grid_size, k):
    layers = importlib.import_module("fastkan")
    module = layers.FastKANLayer(
        n_inputs, n_outputs, -1.0, 1.0, grid_size + k, use_layernorm=False
    )
    return Layer(module)


def kanditioned_layer(n_inputs, n_outputs, grid_size, k):
    layers = importlib.import_module("KANditioned")
    module = layers.KANLayer(
        n_inputs, n_outputs, "random_normal", grid_size + k, 2.0, impl="embedding"
    )
    return Layer(module)


MAKERS = {
    "skkan, equidistant knots": skkan_layer(is_uniform=True),
    "skkan, any knots": skkan_layer(is_uniform=False),
    "skkan, by basis values": skkan_layer(is_uniform=True, by_basis=True),
    "flashkan, compiled": cubic_layer("flashkan"),
    "inkan, compiled": cubic_layer("inkan"),
    "inkan, eager": cubic_layer("inkan", compile_basis=False),
    "kanditioned (linear)": kanditioned_layer,
    "fast-kan (Gaussians)": fast_kan_layer,
    "efficient-kan, any knots": efficient_kan_layer,
    "pykan, any knots": pykan_layer,
}


def error_against_scipy(layer, x, n_rows=200):
    """Largest error of an output, in units of the largest output."""
    if layer.splines is None:
        return None
    x = x[:n_rows].detach()
    knots, coef, base = (part.detach().double().numpy() for part in layer.splines())
    n_splines = coef.shape[2]
    order = knots.shape[1] - n_splines - 1
    X = x.double().numpy()
    expected = X / (1 + np.exp(-X)) @ base.T
    for each, of_input in enumerate(knots):
        curves = BSpline(of_input, coef[:, each].T, order)
        expected += curves(X[:, each])
    result = layer(x).detach().numpy()
    return np.abs(result - expected).max() / np.abs(expected).max()


def floor(x, layer_shape, dtype):
    """The three matrix products of a layer whose basis values are known."""
    _, n_inputs, n_outputs, grid_size, k = layer_shape
    values = torch.rand(len(x), n_inputs * (grid_size + k + 1), dtype=dtype)
    weight = torch.rand(n_outputs, values.shape[1], dtype=dtype)
    slope = torch.rand(len(x), n_outputs, dtype=dtype)

    def forward():
        return values @ weight.T

    def both():
        forward()
        return slope.T @ values, slope @ weight

    return forward, both


def passes(layer, x):
    """Functions that run the forward pass, and both."""
    slope = torch.randn_like(layer(x).detach())
    leaves = [*layer.parameters(), x]

    def both():
        for leaf in leaves:
            leaf.grad = None
        layer(x).backward(slope)

    return lambda: layer(x), both


def take_turns(functions, repeats):
    """Median seconds of each; slow ones have fewer turns.

    Small layers run by what their predecessor left in the caches, so that the order is
    another one in every turn.
    """
    times, order = {name: [] for name in functions}, list(functions.items())
    shuffle = random.Random(0).shuffle
    for function in functions.values():
        function()  # warm
    for turn in range(repeats):
        shuffle(order)
        for name, function in order:
            if turn >= 2 and times[name][0] > SLOW and turn % 5:
                continue
            start = time.process_time()
            function()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(of_one) for name, of_one in times.items()}


def measure(layer_shape, dtype, repeats, only):
    """Milliseconds of both passes, of the forward pass, and the error of each layer."""
    torch.manual_seed(0)
    n_rows, *shape = layer_shape
    x = torch.rand(n_rows, shape[0], dtype=dtype) * 2 - 1
    forward, both, errors = {}, {}, {}
    name = "floor: matrix products"
    forward[name], both[name] = floor(x, layer_shape, dtype)
    errors[name] = None
    x.requires_grad_()
    for name, make in MAKERS.items():
        if only and not any(part in name for part in only):
            continue
        try:
            layer = make(*shape)
            layer.module.to(dtype)
            forward[name], both[name] = passes(layer, x)
            errors[name] = error_against_scipy(layer, x)
        except (ImportError, RuntimeError) as error:  # absent, or no compiler
            forward.pop(name, None)
            both.pop(name, None)
            print(f"without {name}: {str(error).splitlines()[0]}")
    seconds = take_turns(both, repeats), take_turns(forward, repeats)
    return {name: (*(s[name] * 1e3 for s in seconds), errors[name]) for name in both}


def print_tables(results):
    """One table for each quantity, rows are layers, columns are shapes."""
    names = list(
        dict.fromkeys(name for of_shape in results.values() for name in of_shape)
    )
    titles = ["forward + backward, ms", "forward, ms", "error against scipy"]
    for column, title in enumerate(titles):
        print(f"\n| {title} | " + " | ".join(results) + " |")
        print("|---" * (len(results) + 1) + "|")
        for name in names:
            cells = [
                of_shape.get(name, (None,) * 3)[column] for of_shape in results.values()
            ]
            form = ".2f" if column < 2 else ".0e"
            cells = ["-" if cell is None else format(cell, form) for cell in cells]
            print(f"| {name} | " + " | ".join(cells) + " |")


def keep_memory():
    """Let glibc keep what is freed, for all layers alike."""
    libc = ctypes.CDLL("libc.so.6")
    libc.mallopt(M_MMAP_THRESHOLD, 2**30)
    libc.mallopt(M_TRIM_THRESHOLD, 2**30)


def time_evaluation(repeats):
    """Value and gradient of a small network, as a first-order solver asks for them."""
    torch.manual_seed(0)
    X = torch.rand(1000, 2, dtype=torch.float64) * 2 - 1
    network = KANNetwork.from_samples([2, 5, 1], X, margin=0.1)
    ones, zero = torch.ones(len(X), dtype=X.dtype), torch.zeros(1, dtype=X.dtype)
    target = torch.sin(3 * X[:, :1]) * X[:, 1:]
    data = Dataset(X, target, ones, zero)
    objective = Objective(network, SquaredError(), [], data)
    theta = objective.start

    def by_autograd():
        network.zero_grad()
        (network(X) - target).square().mean().backward()

    functions = {
        "value and gradient of a fit": lambda: objective.value_and_grad(theta),
        "the network by autograd": by_autograd,
    }
    for name, seconds in take_turns(functions, 20 * repeats).items():
        print(f"[2, 5, 1], G=5, 1,000 rows, float64, {name}: {seconds * 1e3:.2f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", nargs="+", help="parts of the names of layers")
    parser.add_argument("--keep-memory", action="store_true")
    parser.add_argument("--network", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if arguments.keep_memory:
        keep_memory()
    if arguments.network:
        time_evaluation(arguments.repeats)
        return
    dtype = getattr(torch, arguments.dtype)
    torch.set_default_dtype(dtype)  # grids, too, are made of such numbers
    results = {
        shape: measure(
            [int(n) for n in shape.split(",")], dtype, arguments.repeats, arguments.only
        )
        for shape in arguments.shapes
    }
    print_tables(results)


if __name__ == "__main__":
    main()
