"""Attribution scores of edges and inputs, which `feature_importances_` shows."""

import torch

NODE_STD_FLOOR = 1e-4  # of the KAN 2.0 paper, so that a dead node scores zero
# In units of a standardised target: the root of rounding, to which edge_std is precise.
CONSTANT_OUTPUT_STD = 1e-8


@torch.no_grad()
def edge_scores(network, output, passes, sample_share):
    """Share of each edge in the variation of the outputs.

    Every output node starts with the same score. The score of an edge is that of the
    node that it enters, in proportion to the standard deviation of the edge,
    edge_ij = std(phi_ij) node_i / (std(node_i) + 1e-4).
    The score of a hidden node is the sum over the edges that leave it.

    Parameters
    ----------
    network : KANNetwork
    output, passes
        Result of `network.propagate`.
    sample_share : Tensor of shape (n_samples,)
        Sample weights that sum to one.

    Returns
    -------
    list of Tensor of shape (n_outputs, n_inputs)
        One per layer of `all_layers`, non-negative; zero if the network is constant.
        Edges that partly cancel count in full, so that scores may sum to more than one.

    References
    ----------
    Z. Liu et al., KAN 2.0: Kolmogorov-Arnold Networks Meet Science, 2024,
    section 4.1.
    """
    stds = [
        step.layer.edge_std(step.features, step.weight, sample_share) * step.layer.mask
        for step in passes
    ]
    output_std = _node_std(output, sample_share)
    # Rounding of the edges' deviations would become scores of 1e-4, by the floor of the
    # nodes.
    if output_std.max() < CONSTANT_OUTPUT_STD:
        return [torch.zeros_like(std) for std in stds]
    node = torch.full_like(output_std, 1 / len(output_std))
    node = node / (output_std + NODE_STD_FLOOR)
    through_skip = [] if network.skip is None else [stds.pop() * node.unsqueeze(1)]
    scores = []
    for step, std in reversed(list(zip(passes, stds, strict=False))):
        scores.insert(0, std * node.unsqueeze(1))
        node = scores[0].sum(0)
        if step.layer is not network.layers[0]:
            node = node / (_node_std(step.inputs, sample_share) + NODE_STD_FLOOR)
    return scores + through_skip


def input_scores(network, scores):
    """Attribution of each column of x from the scores of all edges.

    Parameters
    ----------
    network : KANNetwork
    scores : list of Tensor of shape (n_outputs, n_inputs)
        As `edge_scores` returns them.

    Returns
    -------
    Tensor of shape (n_features,)
        The scores sum to one or are all zero. That of an unused column is zero.
    """
    score = scores[0].sum(0)
    if network.skip is not None:
        score = score + scores[-1].sum(0)
    total = score.sum()
    share = score.new_zeros(network.n_features)
    share[network.used_features.to(score.device)] = score / total if total > 0 else 0.0
    return share


def _node_std(values, sample_share):
    """Standard deviation over the samples of every node, Tensor of shape (n_nodes,)."""
    centred = values - sample_share @ values
    return (sample_share @ centred.square()).sqrt()
