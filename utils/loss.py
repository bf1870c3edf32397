"""What training makes small: cross-entropy against smoothed targets, summed over real tokens (lessons 07 and 08)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from utils.batching import Batch
from utils.tokenizer import PAD


class SmoothedLoss(torch.autograd.Function):
    """`smoothed_loss` with its gradient written out: one pass over the (N, V) logits each way, in place.

    Let p = softmax(logits) and t the smoothed target; then d loss / d logits = p - t. Autograd would get there by way
    of four more tensors of N x V, which for a vocabulary of thousands costs as much as a layer of the model.
    """

    @staticmethod
    def forward(ctx, logits, target, eps, pad_id):
        logp = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)  # (N, V)
        nll = -logp.gather(1, target[:, None])[:, 0]  # (N,)
        others = logp[:, pad_id] - logp.sum(-1) - nll  # -log p summed over classes neither target nor pad
        ctx.save_for_backward(logp, target)
        ctx.share, ctx.eps, ctx.pad_id, ctx.dtype = eps / (logp.shape[1] - 2), eps, pad_id, logits.dtype
        total = nll.sum()
        ctx.mark_non_differentiable(total)
        return (1 - eps) * total + ctx.share * others.sum(), total

    @staticmethod
    def backward(ctx, grad, _):
        logp, target = ctx.saved_tensors
        grads = logp.exp().sub_(ctx.share)  # p - eps/(V-2) everywhere ...
        grads[:, ctx.pad_id] += ctx.share  # ... but pad has no share,
        grads[torch.arange(len(target), device=target.device), target] -= 1 - ctx.eps - ctx.share  # the target 1 - eps
        return grads.mul_(grad).to(ctx.dtype), None, None, None


def smoothed_loss(
    logits: Float[Tensor, "N V"], target: Int[Tensor, " N"], eps: float = 0.1, pad_id: int = PAD
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy against 1 - eps on the target and eps/(V-2) on every class that is neither target nor pad.

    logits (N, V) and target (N,) of real tokens only. Returns the sum over tokens, and the sum of the plain
    -log p(target) for reporting. Source: Rethinking the Inception Architecture (arXiv 1512.00567), section 7.
    """
    return SmoothedLoss.apply(logits, target, eps, pad_id)


def batch_loss(model: nn.Module, batch: Batch, eps: float) -> tuple[Tensor, Tensor]:
    """Summed smoothed loss and summed -log p over the real target tokens; padding never reaches the output layer."""
    real = batch.tgt_out != PAD
    return smoothed_loss(model.project(model.hidden(batch.src, batch.tgt_in)[real]), batch.tgt_out[real], eps)
