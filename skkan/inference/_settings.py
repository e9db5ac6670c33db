"""The numbers of inference, each with its reason.

"Not ablated" means that no benchmark has compared the value with others.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class EvidenceSettings:
    """Updates by which the evidence is maximised, and limits of what they reach."""

    # Limits of a precision in scaled units: at the lower one there is hardly any prior,
    # at the upper one an edge is a constant. Not ablated.
    min_precision: float = 1e-10
    max_precision: float = 1e14
    # Factors by which a precision and the noise may change in one update. The updates
    # are fixed-point steps, which overshoot far from the maximum. The noise may fall
    # fast where a law is precise. Not ablated.
    max_precision_factor: float = 10.0
    max_noise_factor: float = 1e4
    # Halvings of an update that lowers the evidence: the last step is below 1% of the
    # first. Not ablated.
    max_halvings: int = 8
    # Noise variance of a standardised target: the square of its rounding.
    min_noise: float = 1e-26
    # Degrees of freedom of the residuals, as a share of the observations, so that a
    # saturated model keeps some noise. Not ablated.
    min_freedom: float = 0.05
    # Strengths of a prior that all edges share, as powers of ten (first, end, step), in
    # units of the noise: from hardly any prior to hardly any curve.
    log_strengths: tuple = (-8.0, 8.0, 0.25)
    # Ridge, second-difference and third-difference precision of priors that all edges
    # try together. The last two suit some ten and a hundred cycles across the grid.
    common_shapes: tuple = ((1.0, 1.0, 0.0), (1.0, 1e-3, 0.0), (1.0, 1e-6, 0.0))
    # Deviance that may be rounding, as a share of that of a constant.
    rounding: float = 1e-10
    # Gain of log evidence for which the prior of one edge is exchanged.
    min_gain_of_edge: float = 0.1
    # Posterior variance as a share of the prior one: below, it is rounding.
    min_variance_share: float = 1e-14
    # One minus the leverage of a row, where it is left out of its own prediction. At
    # 1 nothing but the row determines its prediction. Not ablated.
    min_leverage_rest: float = 1e-6
    # Fall of the log posterior from its mode that counts: smaller ones are within the
    # error of the Laplace approximation.
    min_decrement: float = 1.0
    # Rows whose basis values are held at a time, to bound the memory.
    block_rows: int = 2**14


@dataclass(frozen=True)
class HyperpriorSettings:
    """Density of the precisions where no noise is learnt, and its maximum."""

    # Standard deviation of the logarithm of a ridge precision around the mean of its
    # group. Not ablated.
    log_ridge_std: float = 2.0
    # Rate of an exponential density of the other precisions, which keeps them finite
    # where the evidence would raise them without bound. Not ablated.
    roughness_rate: float = 0.003
    # Newton steps, largest change of a logarithm in a step, and change that ends them.
    # An update takes five to ten.
    max_newton_steps: int = 30
    max_log_step: float = math.log(10.0)
    tolerance: float = 1e-3


EVIDENCE = EvidenceSettings()
HYPERPRIOR = HyperpriorSettings()
