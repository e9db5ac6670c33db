"""Probabilities moderated by the posterior: their mean over uncertain logits."""

import torch
from torch.nn import functional

# Trapezoidal rule for the mean of a logistic function of a normal variable: its
# outermost node, in standard deviations, and the number of nodes.
LAST_NODE, N_EVEN_NODES = 8.0, 101


def even_nodes():
    """Nodes of a trapezoidal rule for the standard normal, and their log weights."""
    nodes = torch.linspace(-LAST_NODE, LAST_NODE, N_EVEN_NODES, dtype=torch.float64)
    return nodes, torch.log_softmax(-0.5 * nodes.square(), dim=0)


def logit_of_mean(raw, variance):
    """Logit of the mean probability, where logits are normal around `raw`.

    The trapezoidal rule has a relative error of 2e-5 for standard deviations of the
    logit up to 9. It computes the logarithm of the smaller one of the two
    probabilities, so that nothing cancels. A probability below 1e-15 may come out too
    small, as its mass lies beyond the outermost node.
    """
    nodes, log_share = (each.to(raw) for each in even_nodes())
    logits = raw.abs().unsqueeze(-1) + variance.sqrt().unsqueeze(-1) * nodes
    log_less = torch.logsumexp(functional.logsigmoid(-logits) + log_share, -1)
    lead = (torch.log1p(-log_less.exp()) - log_less).clamp(min=0.0)
    return torch.where(raw < 0, -lead, lead)
