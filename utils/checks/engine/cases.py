"""Small random cases: how they are drawn, copied, varied and printed."""

from collections.abc import Callable

import torch
from torch import Tensor


class Draw:
    """Random numbers with a seed of their own: the learner's random numbers stay as they are."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def small(self, *shape: int) -> Tensor:
        """Whole numbers from -2 to 2, as floats: a case to redo by hand."""
        return torch.randint(-2, 3, shape, generator=self.generator).float()

    def normal(self, *shape: int) -> Tensor:
        """Normally distributed, rounded to two decimals, so that what is printed is what was computed with."""
        return (torch.randn(shape, generator=self.generator) * 100).round() / 100

    def integer(self, low: int, high: int) -> int:
        """A whole number, low <= n <= high."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def integers(self, low: int, high: int, n: int) -> list[int]:
        return [self.integer(low, high) for _ in range(n)]


def each_tensor(value, change: Callable[[Tensor], Tensor]):
    """The value with each of its tensors changed; lists and tuples are gone through."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)(each_tensor(item, change) for item in value)
    return value


def copy(value):
    return each_tensor(value, lambda x: x.detach().clone().requires_grad_(x.requires_grad))


def strided(x: Tensor) -> Tensor:
    """The same numbers, stored in another order or with gaps: what a transpose or a slice gives."""
    return x.mT.contiguous().mT if x.dim() > 1 else torch.stack([x, x], dim=-1)[..., 0]


def needs_gradient(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_() if x.is_floating_point() else x


def show(value, digits: int = 4) -> str:
    """A value as a learner would write it: tensors as nested lists; four digits, or all that stand before the point."""
    if isinstance(value, Tensor):
        return show(value.detach().tolist(), digits)
    if isinstance(value, (list, tuple)):
        return ("[{}]" if isinstance(value, list) else "({})").format(", ".join(show(x, digits) for x in value))
    if not isinstance(value, float):
        return repr(value)
    if 10**digits <= abs(value) < 10**7:
        digits = len(str(int(abs(value))))  # 30001, not 3e+04
    return f"{value + 0.0:.{digits}g}"  # + 0.0: no -0
