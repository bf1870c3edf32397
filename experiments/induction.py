"""A head that finds what came after the last time: grown, found by where it looks, and taken away (lesson 10).

Random tokens, then the same ones again: in the second half the next token can be known, by whoever finds the place
where the present token stood before and looks one further. The half's length changes, so no fixed distance helps.
Language models of one and of two layers, two heads each; and one layer with twice the columns and the heads, which has
more weights than the two: is it depth, or size? A row holds the training curve, the share of right tokens in the second
half, and for each head: how much of its attention goes to the token after the last time (induction), how much to the
token before (previous) and to the places around the last time, and the share of right tokens without it.
Writes data/experiments/induction.json.

python -m experiments.induction
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from experiments import record, rows_left
from utils.config import ROOT, ModelConfig
from utils.decoder_only import DecoderOnly

MARKS, VOCABULARY = 4, 24
ARMS = {"one layer": (1, 32), "two layers": (2, 32), "one layer, twice as wide": (1, 64)}  # n_layers, d_model
SHORTEST, LONGEST = 4, 10  # tokens of a half
AROUND = range(-3, 5)  # places counted from where the present token stood before: 0 is itself, 1 what came after it


def twice(batch: int, n: int) -> torch.Tensor:
    """Random tokens, and the same once more: (batch, 2 n)."""
    half = torch.rand(batch, VOCABULARY - MARKS).argsort(dim=1)[:, :n] + MARKS  # different ones: one place to find
    return torch.cat([half, half], dim=1)


def make(arm: str) -> DecoderOnly:
    """A small language model; its heads have 16 columns each."""
    n_layers, d = ARMS[arm]
    sizes = {"d_model": d, "n_heads": d // 16, "n_layers": n_layers, "d_ff": 2 * d, "dropout": 0.0}
    return DecoderOnly(ModelConfig(MARKS, VOCABULARY, "decoder-only", **sizes))


def train(model: DecoderOnly, steps: int, lr: float = 6e-3, batch: int = 64) -> list[float]:
    """Adam on fresh texts, every token predicted. Returns the loss in the second half, of every step."""
    optimizer, losses = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98)), []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * min(1, (step + 1) / 100)
        n = int(torch.randint(SHORTEST, LONGEST + 1, ()))
        tokens = twice(batch, n)
        logits = model(tokens[:, :0], tokens[:, :-1])
        nll = F.cross_entropy(logits.mT, tokens[:, 1:], reduction="none")  # (batch, 2 n - 1)
        optimizer.zero_grad()
        nll.mean().backward()
        optimizer.step()
        losses.append(nll[:, n:].mean().item())
    return losses


@torch.no_grad()
def right_tokens(model: DecoderOnly, n: int = LONGEST, batch: int = 100) -> float:
    """The share of right tokens in the second half of new texts, but for its first one, which nobody can know."""
    with torch.random.fork_rng():
        torch.manual_seed(n)
        tokens = twice(batch, n)
    said = model(tokens[:, :0], tokens[:, :-1]).argmax(-1)
    return round((said == tokens[:, 1:])[:, n:].float().mean().item(), 4)


@contextmanager
def without(model: DecoderOnly, layer: int, head: int) -> Iterator[None]:
    """The model, one of whose heads says nothing: its columns are zero before W^O."""
    width = model.config.d_model // model.config.n_heads

    def silence(module, inputs):
        heads = inputs[0].clone()
        heads[..., head * width : (head + 1) * width] = 0
        return (heads,)

    hook = model.stack.layers[layer].self_attention.out_proj.register_forward_pre_hook(silence)
    try:
        yield
    finally:
        hook.remove()


@torch.no_grad()
def heads(model: DecoderOnly, n: int = LONGEST, batch: int = 100) -> list[dict]:
    """Of each head: where it looks in the second half, and the share of right tokens without it."""
    tokens = twice(batch, n)
    weights = model.attention_weights(tokens[:, :0], tokens).mean(0)  # (L, H, 2 n, 2 n)
    at, found = torch.arange(n, 2 * n), []
    for layer in range(weights.shape[0]):
        for head in range(weights.shape[1]):
            look = weights[layer, head]
            with without(model, layer, head):
                alone = right_tokens(model)
            scores = {"induction": look[at, at - n + 1], "previous": look[at, at - 1]}
            shares = {name: round(share.mean().item(), 4) for name, share in scores.items()}
            around = [round(look[at[3:], at[3:] - n + k].mean().item(), 4) for k in AROUND]
            found.append({"layer": layer, "head": head, **shares, "around": around, "right_without": alone})
    return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-3, 6e-3])
    parser.add_argument("--out", type=Path, default=ROOT / "data/experiments/induction.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    keys = [(arm, lr, seed) for seed in args.seeds for lr in args.rates for arm in ARMS]
    rows, left = rows_left(args.out, keys, ("arm", "lr", "seed"), steps=args.steps)
    for arm, lr, seed in tqdm(list(left)):
        torch.manual_seed(seed)
        model = make(arm)
        losses = torch.tensor(train(model, args.steps, lr))
        curve = [round(part.mean().item(), 4) for part in losses.split(20)]
        row = {"arm": arm, "lr": lr, "seed": seed, "parameters": sum(p.numel() for p in model.parameters())}
        rows.append(row | {"right": right_tokens(model), "heads": heads(model), "curve": curve})
        record("induction", argv, rows, args.out, steps=args.steps)


if __name__ == "__main__":
    main()
