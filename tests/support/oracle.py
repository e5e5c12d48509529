"""CAT and L-CAT computed node by node and edge by edge, from the formulas alone: the tests' own oracle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attention_layer(layer, x, edges: Tensor, edge_attr=None, edge_weight=None, keep=None) -> Tensor:
    """What an attention layer of lcat should return for ``x`` a tensor (one node set) or a pair (bipartite).

    Works for flow="source_to_target", add_self_loops on or off, float fill values, learned and fixed scalars. ``keep``
    says which edges of the attention edge dropout leaves, in the layer's order.
    """
    one_set = isinstance(x, Tensor)
    x_source, x_target = (x, x) if one_set else x
    heads, channels = layer.heads, layer.out_channels
    v2 = hasattr(layer, "lin_l")
    lin_s, lin_t = _linears(layer, v2)

    def project(linear, rows):
        return linear(rows).view(-1, heads, channels)

    h_source, h_target = project(lin_s, x_source), project(lin_t, x_target)
    value_map = getattr(layer, "lin_value", None)
    values = h_source if value_map is None else project(value_map, x_source)
    lambda1 = float(torch.as_tensor(getattr(layer, "lambda1", 1.0)).detach())
    lambda2 = float(torch.as_tensor(getattr(layer, "lambda2", 0.0)).detach())

    edge_list = edges.t().tolist()
    aligned = one_set or layer.add_self_loops
    neighbors = [[j for j, i in edge_list if i == node and not (aligned and j == i)] for node in range(len(x_target))]

    def average(own, others, node):
        total = sum((others[j] for j in neighbors[node]), torch.zeros_like(own))
        return (own + lambda2 * total) / (1 + lambda2 * len(neighbors[node]))

    if one_set:
        k = [average(h_source[i], h_source, i) for i in range(len(x_source))]
        q = [average(h_target[i], h_target, i) for i in range(len(x_target))]
    else:
        k = list(h_source)
        q = [average(h_target[i], h_source, i) for i in range(len(x_target))]

    messages = [[] for _ in range(len(x_target))]  # (source, edge features or None, weight, number)
    number = 0
    for e, (j, i) in enumerate(edge_list):
        if layer.add_self_loops and j == i:
            continue
        attr = None if edge_attr is None else edge_attr[e]
        messages[i].append((j, attr, 1.0 if edge_weight is None else edge_weight[e], number))
        number += 1
    if layer.add_self_loops:
        for i in range(min(len(x_source), len(x_target))):
            attr = None if edge_attr is None else edge_attr.new_full((edge_attr.shape[1],), layer.fill_value)
            messages[i].append((i, attr, 1.0, number))
            number += 1

    if layer.symmetric_norm:  # alpha_ij becomes n_i alpha_ij times GCN's w_ij / sqrt(d_i d_j)
        degree = [sum(w for _, _, w, _ in incoming) for incoming in messages]
        if one_set:
            degree_of_source = degree
        else:
            sent = [(j, w) for incoming in messages for j, _, w, _ in incoming]
            degree_of_source = [sum(w for k_, w in sent if k_ == j) for j in range(len(x_source))]

        def factor(i, j, w):
            return len(messages[i]) * w / (degree[i] * degree_of_source[j]) ** 0.5 if degree_of_source[j] else 0.0

        messages = [
            [(j, attr, factor(i, j, w), n) for j, attr, w, n in incoming] for i, incoming in enumerate(messages)
        ]
    if keep is not None:
        messages = [[message for message in incoming if keep[message[3]]] for incoming in messages]

    rows = []
    for i, incoming in enumerate(messages):
        row = torch.zeros(heads, channels, dtype=values.dtype)
        for head in range(heads):
            scores = [_score(layer, v2, k[j][head], q[i][head], attr, head) for j, attr, _, _ in incoming]
            if scores:
                alpha = torch.softmax(lambda1 * torch.stack(scores), dim=0)
                row[head] = sum(a * w * values[j][head] for a, (j, _, w, _) in zip(alpha, incoming, strict=True))
        rows.append(row)
    out = torch.stack(rows)
    out = out.flatten(1) if layer.concat else out.mean(dim=1)
    if layer.separate_self:
        own = values if one_set else h_target
        own = own.flatten(1) if layer.concat else own.mean(dim=1)
        out = torch.cat([own, out], dim=1) @ layer.lin_mix.weight.T
    if layer.res is not None:
        out = out + layer.res(x_target)
    return out if layer.bias is None else out + layer.bias


def _linears(layer, v2: bool):
    if v2:
        return layer.lin_l, layer.lin_r
    return (layer.lin, layer.lin) if layer.lin is not None else (layer.lin_src, layer.lin_dst)


def _score(layer, v2: bool, k: Tensor, q: Tensor, attr, head: int) -> Tensor:
    edge = None
    if attr is not None:
        edge = layer.lin_edge(attr.view(1, -1)).view(layer.heads, layer.out_channels)[head]
    if v2:
        hidden = k + q if edge is None else k + q + edge
        return layer.att[0, head] @ F.leaky_relu(hidden, layer.negative_slope)
    score = layer.att_src[0, head] @ k + layer.att_dst[0, head] @ q
    if edge is not None:
        score = score + layer.att_edge[0, head] @ edge
    return F.leaky_relu(score, layer.negative_slope)
