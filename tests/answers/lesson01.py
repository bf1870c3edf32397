"""Other right answers to the exercises of lesson 01."""

import itertools
import math

import torch


def step_in_one_product(x, h, W, U, b):
    return torch.tanh(torch.cat([W, U], dim=1) @ torch.cat([x, h]) + b)


def step_by_einsum(x, h, W, U, b):
    return (torch.einsum("ij,j->i", W, x) + torch.einsum("ij,j->i", U, h) + b).tanh()


def step_row_by_row(x, h, W, U, b):
    return torch.stack([torch.tanh(w.dot(x) + u.dot(h) + bias) for w, u, bias in zip(W, U, b, strict=True)])


def step_by_exponentials(x, h, W, U, b):
    s = b.clone()
    s += W.mv(x)
    s += U.mv(h)
    e = torch.exp(-2 * s)
    return (1 - e) / (1 + e)


def step_with_linear(x, h, W, U, b):
    return 2 * torch.sigmoid(2 * (torch.nn.functional.linear(x, W, b) + h @ U.T)) - 1


def conv_by_slices(X, F):
    k = len(F)
    if k > len(X):
        raise ValueError("no window fits")
    return torch.stack([(F * X[i : i + k]).sum() for i in range(len(X) - k + 1)])


def conv_by_unfold(X, F):
    if len(F) > len(X):
        raise ValueError("the filter is wider than the text")
    return torch.einsum("idk,kd->i", X.unfold(0, len(F), 1), F)


def conv_row_by_row(X, F):
    places = len(X) - len(F) + 1
    if places < 1:
        raise ValueError(f"{len(F)} rows do not fit into {len(X)}")
    out = X.new_zeros(places)
    for j, row in enumerate(F):
        out = out + X[j : j + places] @ row
    return out


def conv_into_a_tensor(X, F):
    n, k = X.shape[0], F.shape[0]
    if k > n:
        raise ValueError("k > n")
    out = torch.empty(n - k + 1, dtype=X.dtype, device=X.device)
    for i in range(n - k + 1):
        out[i] = torch.dot(X[i : i + k].reshape(-1), F.reshape(-1))
    return out


def conv_by_diagonals(X, F):
    if len(F) > len(X):
        raise ValueError("too wide")
    products = X @ F.T  # (n, k): number i adds up the diagonal that begins in row i
    return torch.stack([products[i : i + len(F)].diagonal().sum() for i in range(len(X) - len(F) + 1)])


def field_by_the_formula(n_layers, kernel):
    return 1 + n_layers * (kernel - 1)


def field_multiplied_out(n_layers, kernel):
    return n_layers * kernel - n_layers + 1


def field_by_recursion(n_layers, kernel):
    return field_by_recursion(n_layers - 1, kernel) + kernel - 1 if n_layers else 1


def field_by_sets(n_layers, kernel):
    seen = {0}
    for _ in range(n_layers):
        seen = {position + step for position in seen for step in range(kernel)}
    return len(seen)


def dilated_by_the_formula(kernel, dilations):
    return 1 + sum((kernel - 1) * gap for gap in dilations)


def dilated_by_recursion(kernel, dilations):
    return dilated_by_recursion(kernel, dilations[1:]) + (kernel - 1) * dilations[0] if dilations else 1


def dilated_by_ends(kernel, dilations):
    first = last = 0
    for gap in dilations:
        first, last = first - gap * (kernel // 2), last + gap * (kernel - 1 - kernel // 2)
    return last - first + 1


def layers_rounded_up(n, kernel):
    if n == 1:
        return 0
    if kernel == 1:
        raise ValueError("a kernel of 1 sees nothing new")
    return math.ceil((n - 1) / (kernel - 1))


def layers_in_whole_numbers(n, kernel):
    if kernel == 1 and n > 1:
        raise ValueError("never")
    return (n + kernel - 3) // (kernel - 1) if n > 1 else 0


def layers_by_trying(n, kernel):
    if n > 1 and kernel < 2:
        raise ValueError("no number of layers is enough")
    return next(layers for layers in itertools.count() if 1 + layers * (kernel - 1) >= n)


def layers_counted_down(n, kernel):
    layers, left = 0, n - 1
    while left > 0:
        if kernel == 1:
            raise ValueError("it never ends")
        layers, left = layers + 1, left - (kernel - 1)
    return layers


ANSWERS = {
    "rnn_step": [step_in_one_product, step_by_einsum, step_row_by_row, step_by_exponentials, step_with_linear],
    "conv_layer": [conv_by_slices, conv_by_unfold, conv_row_by_row, conv_into_a_tensor, conv_by_diagonals],
    "receptive_field": [field_by_the_formula, field_multiplied_out, field_by_recursion, field_by_sets],
    "dilated_field": [dilated_by_the_formula, dilated_by_recursion, dilated_by_ends],
    "layers_needed": [layers_rounded_up, layers_in_whole_numbers, layers_by_trying, layers_counted_down],
}
