"""The capstone's last parts: the learner's Transformer learns to write numbers backwards, and then does."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.checks.capstone.oracles import greedy
from utils.checks.capstone.parts import Mine, Missing, Wrong, part, plain
from utils.checks.engine import difference, say, show
from utils.checks.engine.running import Allowance

STEPS = 2000  # at most: training ends as soon as the task is learned
SECONDS, WALL = 300.0, 1800.0  # for one that never ends: training itself is limited by its steps
PAD, BOS, EOS, DIGITS = 0, 1, 2, range(3, 13)
LONGEST = 5
ENOUGH, GOOD = 0.9, 0.97  # share of numbers that must be right; above the second one, training ends


def numbers(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """n random numbers of 2 to 5 digits, padded: as they are, backwards after <bos>, and backwards before <eos>."""
    digits, lengths = torch.randint(DIGITS[0], DIGITS[-1] + 1, (n, LONGEST)), torch.randint(2, LONGEST + 1, (n,))
    real = torch.arange(LONGEST) < lengths[:, None]
    turned = digits.gather(1, (lengths[:, None] - 1 - torch.arange(LONGEST)).clamp(min=0)).masked_fill(~real, PAD)
    labels = F.pad(turned, (0, 1), value=PAD)
    labels[torch.arange(n), lengths] = EOS
    return digits.masked_fill(~real, PAD), F.pad(turned, (1, 0), value=BOS), labels


def train(model: nn.Module, steps: int) -> float:
    """Adam on fresh numbers, teacher forcing, until nearly all of 200 others are right. Returns the last loss."""
    optimizer, loss = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98), fused=True), torch.tensor(torch.inf)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 50)
        src, heard, labels = numbers(64)
        loss = F.cross_entropy(model(src, heard).flatten(0, 1), labels.flatten(), ignore_index=PAD)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 24 and right(model) > GOOD:
            break
    return loss.item()


@torch.no_grad()
def right(model: nn.Module, n: int = 200) -> float:
    """The share of numbers that are right to the last digit, with the right beginning before each."""
    training = model.training
    src, heard, labels = numbers(n)
    best = model.eval()(src, heard).argmax(-1)
    model.train(training)
    return ((best == labels) | (labels == PAD)).all(1).float().mean().item()


@part(
    "train it. There is nothing more to write: checks.capstone, without steps=0, does it.",
    needs=("Transformer", "greedy"),
    name="training",
)
def examine_training(mine: Mine, seed: int) -> None:
    if not mine.steps:
        raise Missing("left out (steps=0)")
    torch.manual_seed(0)  # every check trains the same model on the same numbers
    mine.allowance = Allowance(SECONDS, WALL)
    model = mine.make("Transformer", DIGITS[-1] + 1, DIGITS[-1] + 1, 32, 4, 2, 64).train()
    what = say("the training run")
    loss = mine.run(lambda: train(model, mine.steps), what=what, forbidden=frozenset())
    share = mine.run(lambda: right(model.eval(), 500), what=what, forbidden=frozenset())
    if not share >= ENOUGH:
        raise Wrong(
            "it does not learn to write numbers backwards. After the training run {share:.0%} of new numbers are "
            "right under teacher forcing, and the loss is {loss:.2f}; guessing costs about 2.1. Each part is right by "
            "itself, so look at sizes: how large are the embeddings at first?",
            share=share,
            loss=loss,
        )
    mine.model = model


@part("let it write. There is nothing more to write for you.", needs=("training",), name="generation")
def examine_generation(mine: Mine, seed: int) -> None:
    src, _, labels = numbers(25)
    arguments = (mine.model, src, BOS, EOS, LONGEST + 3)
    said = plain(mine.run(lambda: mine.get("greedy")(*arguments), what="greedy", forbidden=frozenset()))
    best = mine.run(lambda: torch.no_grad()(greedy.oracle)(*arguments), what=say("your model"), forbidden=frozenset())
    for row, (words, wanted) in enumerate(zip(src.tolist(), best, strict=True)):
        if problem := difference(wanted, said[row] if isinstance(said, list) and row < len(said) else None):
            raise Wrong(
                "greedy says something else than the most probable token at every step, one sentence at a time: "
                "{problem}\nfor\n  src[{row}] = {words}",
                problem=problem,
                row=row,
                words=show(words),
            )
    answers = [[i for i in row if i not in (PAD, EOS)] for row in labels.tolist()]
    share = sum(one == other for one, other in zip(said, answers, strict=True)) / len(answers)
    if share < ENOUGH - 0.1:
        raise Wrong(
            "with the right beginning before it the model is right; alone, only {share:.0%} of its numbers are. It has "
            "heard something in training that it does not hear now.",
            share=share,
        )
