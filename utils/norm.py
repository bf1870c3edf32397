"""The norms that a layer may have: layer norm (lesson 07), and the one that has mostly taken its place (lesson 10)."""

from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x^2) + eps) times a learned gain, over the last axis: no mean taken away, no bias added.

    `nn.RMSNorm`, also where x comes in fewer bits than the gain has (autocast). Source: arXiv 1910.07467. Lesson 10.
    """

    def __init__(self, d: int, eps: float = 1e-5):
        super().__init__(d, eps)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype)).to(x.dtype)


def make_norm(d: int, norm: str = "layer", bias: bool = True) -> nn.Module:
    """The norm of that name, "layer" or "rms", for vectors of d numbers; `bias` is layer norm's. Lesson 10."""
    return nn.LayerNorm(d, bias=bias) if norm == "layer" else RMSNorm(d)
