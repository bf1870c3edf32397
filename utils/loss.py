"""What training makes small: cross-entropy against smoothed targets, summed over real tokens (lessons 07 and 08)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

# Logits that exist at a time, chosen, not measured: a million on a CPU (4 MB in float32), more on a GPU.
SLICE = {"cpu": 2**20}


def smoothed_loss(
    logits: Float[Tensor, "N V"], target: Int[Tensor, " N"], eps: float = 0.1, pad_id: int = 0
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy against 1 - eps on the target and eps/(V-2) on every class that is neither target nor pad.

    logits (N, V) and target (N,) of real tokens only. Returns the sum over tokens, and the sum of the plain
    -log p(target) for reporting. Source: Rethinking the Inception Architecture (arXiv 1512.00567), section 7.
    Lesson 08, "A target that is not quite sure".
    `projected_loss` computes the same from the output layer's input, without the (N, V) logits.
    """
    logp = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)  # (N, V)
    nll = -logp.gather(1, target[:, None])[:, 0]  # (N,)
    others = logp[:, pad_id] - logp.sum(-1) - nll  # -log p summed over the classes that are neither target nor pad
    return (1 - eps) * nll.sum() + eps / (logits.shape[1] - 2) * others.sum(), nll.sum().detach()


class ProjectedLoss(torch.autograd.Function):
    """`projected_loss`: the output layer, the loss and the gradient of both, a slice of tokens at a time.

    Lesson 08, "What `Trainer` does besides (deeper)".

    Let p = softmax(logits) and t the smoothed target; then d loss / d logits = p - t. So the gradient is known as soon
    as the logits are, and a slice of them can be used up before the next is made.
    """

    @staticmethod
    def forward(ctx, hidden, weight, target, eps, pad_id, training):
        device, share = hidden.device.type, eps / (len(weight) - 2)
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        h, w = hidden.to(precision), weight.to(precision)
        wanted = training and any(ctx.needs_input_grad)
        d_hidden, d_weight = (torch.zeros_like(h), torch.zeros_like(weight)) if wanted else (h, weight)
        loss = torch.zeros((), device=hidden.device, dtype=torch.promote_types(precision, torch.float32))
        total = torch.zeros_like(loss)
        rows = max(1, SLICE.get(device, 2**26) // len(weight))
        with torch.autocast(device, enabled=False):
            for start in range(0, len(h), rows):
                here = slice(start, start + rows)
                logp = torch.log_softmax((h[here] @ w.T).to(loss.dtype), dim=-1)  # (n, V)
                nll = -logp.gather(1, target[here, None])[:, 0]  # (n,)
                others = logp[:, pad_id] - logp.sum(-1) - nll
                loss += (1 - eps) * nll.sum() + share * others.sum()
                total += nll.sum()
                if wanted:
                    grad = logp.exp_().sub_(share)  # p - eps/(V-2) everywhere ...
                    grad[:, pad_id] += share  # ... but pad has no share, and the target has 1 - eps
                    grad[torch.arange(len(nll), device=grad.device), target[here]] -= 1 - eps - share
                    grad = grad.to(precision)
                    d_hidden[here] = grad @ w
                    d_weight += grad.T @ h[here]
        ctx.save_for_backward(d_hidden, d_weight)
        ctx.mark_non_differentiable(total)
        return loss, total

    @staticmethod
    def backward(ctx, grad, _):
        d_hidden, d_weight = ctx.saved_tensors
        return grad * d_hidden, grad * d_weight, None, None, None, None


@torch.compiler.disable  # its loop has as many turns as the batch needs: a compiler would make a program for each
def projected_loss(
    hidden: Float[Tensor, "N D"],
    weight: Float[Tensor, "V D"],
    target: Int[Tensor, " N"],
    eps: float = 0.1,
    pad_id: int = 0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """`smoothed_loss(hidden @ weight.T, target, eps, pad_id)`, in memory that does not grow with N x V.

    Lesson 08, "What `Trainer` does besides (deeper)".
    """
    # Inside a Function gradients look wanted even under inference_mode: ask before.
    return ProjectedLoss.apply(hidden, weight, target, eps, pad_id, torch.is_grad_enabled())


def batch_loss(model: nn.Module, batch, eps: float, r_drop: float = 0.0) -> tuple[Tensor, Tensor]:
    """Summed smoothed loss and summed -log p over the real target tokens; padding never reaches the output layer.

    batch: src (B, S), tgt_in (B, T) from <bos> on, tgt_out (B, T) up to <eos>, and real (N,), where in
    tgt_out.flatten() the real tokens stand, as `utils.batching.Batch` has them.
    r_drop: weight of the difference between two passes, see `r_drop_loss`; 0 makes one pass.
    Lesson 08, "Train, live".
    """
    if r_drop:
        return r_drop_loss(model, batch, eps, r_drop)
    y = model.decoder_output(batch.src, batch.tgt_in).flatten(0, 1).index_select(0, batch.real)  # (N, D)
    target = batch.tgt_out.flatten().index_select(0, batch.real)  # (N,)
    return projected_loss(y, model.tgt_embedding.weight, target, eps, model.config.pad_id)


def r_drop_loss(model: nn.Module, batch, eps: float, weight: float) -> tuple[Tensor, Tensor]:
    """Two passes, each with dropout of its own: their mean loss, plus `weight` times how much they differ.

    The difference of the two predictions p and q of a token is (KL(p || q) + KL(q || p)) / 2. Arguments and results as
    those of `batch_loss`. Source: R-Drop (arXiv 2106.14448), equation 4; the paper adds the two losses, so its weight
    of 5 is 2.5 here. Lesson 08, "What `Trainer` does besides (deeper)".
    """
    twice = [torch.cat([ids, ids]) for ids in (batch.src, batch.tgt_in)]
    y = model.decoder_output(*twice).unflatten(0, (2, -1)).flatten(1, 2).index_select(1, batch.real)  # (2, N, D)
    target = batch.tgt_out.flatten().index_select(0, batch.real)  # (N,)
    logits = model.project(y)  # (2, N, V), needed whole for the difference: so the loss takes them, too
    passes = [smoothed_loss(one, target, eps, model.config.pad_id) for one in logits]
    loss, nll = (sum(figures) / 2 for figures in zip(*passes, strict=True))
    log_p, log_q = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    return loss + weight * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum() / 2, nll
