"""What the evidence and the weights of a network become without some edges."""

import torch

from skkan.inference._settings import EVIDENCE


def removal_gains(model, prior, posterior, groups=None):
    """Change of the log evidence by the removal of edges, one or several at a time.

    With the prior N(0, P^-1) and the posterior N(m, S) of the weights of an edge it is
    log N(0; m, S) - log N(0; 0, P^-1), the ratio of Savage and Dickey.

    Parameters
    ----------
    model : LinearisedModel
    prior : Prior
    posterior : LinearisedPosterior
        Under that prior.
    groups : Tensor of int of shape (n_groups, n_members), default=None
        Positions of the edges of each group; None makes a group of each edge.

    Returns
    -------
    Tensor of shape (n_groups,)

    References
    ----------
    J. Dickey, The Weighted Likelihood Ratio, Linear Hypotheses on Normal Location
    Parameters, 1971.
    """
    if groups is None:
        groups = torch.arange(len(prior.precision)).unsqueeze(1)
    root = posterior.prior_precision.sqrt()
    scale = (root * posterior.scale).unsqueeze(1)
    shrunk = scale * torch.cholesky_inverse(posterior.factor) * scale.T
    gains = root.new_empty(len(groups))
    for chosen, members in model.kinds.groups(groups):
        blocks = shrunk[members.unsqueeze(2), members.unsqueeze(1)]
        share, directions = torch.linalg.eigh(blocks)  # of the prior's variances
        share = share.clamp(min=EVIDENCE.min_variance_share)
        weights = (root * posterior.weights)[members].unsqueeze(1) @ directions
        squares = weights.squeeze(1).square() / share
        gains[chosen.to(root.device)] = -0.5 * (share.log() + squares).sum(1)
    if not model.has_noise:
        groups = groups.to(root.device)
        gains = gains + model.hyperprior.removal_gains(prior.precision, groups)
    return gains


def weights_without(model, posterior, edges):
    """Weights where some edges are zero and the others compensate for them.

    With the scaled posterior precision A = L L^T and u = weights / scale at the
    point of expansion, they are u_r + A_rr^-1 A_rg u_g, where g are the removed
    weights and r the rest. If the point is the mode, they are the mode of the
    smaller network. Otherwise they stay near the point, where the linearisation
    holds.

    Parameters
    ----------
    model : LinearisedModel
    posterior : LinearisedPosterior
    edges : Tensor of int
        Positions of these edges.

    Returns
    -------
    Tensor of shape (n_parameters,), in the order of the weights of the network

    References
    ----------
    B. Hassibi and D. Stork, Second Order Derivatives for Network Pruning: Optimal
    Brain Surgeon, 1993.
    """
    gone = torch.zeros_like(model.exists)
    gone[edges] = True
    gone = model.kinds.of_edges(gone.flatten())
    matrix = posterior.factor @ posterior.factor.T
    scaled = model.theta / posterior.scale
    pull = matrix[~gone][:, gone] @ scaled[gone]
    factor = torch.linalg.cholesky(matrix[~gone][:, ~gone])
    scaled[~gone] += torch.cholesky_solve(pull.unsqueeze(1), factor).squeeze(1)
    scaled[gone] = 0.0
    return model.kinds.back(posterior.scale * scaled)
