"""Which value stood beside this key? A fixed state against a growing cache, by the number of pairs (lesson 10).

A text is n pairs of a key and its value, each pair one token, then up to 8 of the keys alone, each to be answered with
its value. Two layers of self-attention with positions, or of a gated recurrence in its place, which needs none; and the
recurrence twice as wide, since its state is. Beside them a guess among the values of the text. Trained on 1 to 16
pairs, all mixed; each rate is a row, with the share of right answers in texts to choose a rate on, "dev", and others.
Writes data/experiments/associative_recall.json.

python -m experiments.associative_recall
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from experiments import record, rows_left
from utils.config import ROOT, ModelConfig
from utils.decoder_only import DecoderOnly
from utils.scan import GatedRecurrence

MARKS, N_KEYS, N_VALUES = 4, 20, 10
QUESTIONS = MARKS + N_KEYS * N_VALUES  # ids before it are pairs: one for each key with each value
ANSWERS = QUESTIONS + N_KEYS  # ids before it are keys alone, those from it on are values
VOCABULARY = ANSWERS + N_VALUES
ASKED = 8  # keys that are asked for, at most
PAIRS = (1, 2, 4, 8, 16)
ARMS = {"attention": 32, "recurrence": 32, "recurrence, twice as wide": 64}  # their d_model


def texts(batch: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """n pairs, then m = min(n, 8) questions, (batch, n + m); and the right answers, (batch, m)."""
    keys = torch.rand(batch, N_KEYS).argsort(dim=1)[:, :n]  # different keys
    values = torch.randint(N_VALUES, (batch, n))
    asked = torch.rand(batch, n).argsort(dim=1)[:, :ASKED]
    pairs = MARKS + keys * N_VALUES + values
    return torch.cat([pairs, QUESTIONS + keys.gather(1, asked)], dim=1), ANSWERS + values.gather(1, asked)


def make(arm: str) -> DecoderOnly:
    """A language model of two layers; where the arm says so, with a recurrence in place of self-attention."""
    d, recurrent = ARMS[arm], arm != "attention"
    sizes = {"d_model": d, "n_heads": 2, "n_layers": 2, "d_ff": 2 * d, "dropout": 0.0}
    positions = "none" if recurrent else "sinusoidal"
    model = DecoderOnly(ModelConfig(MARKS, VOCABULARY, "decoder-only", **sizes, positions=positions))
    for layer in model.stack.layers if recurrent else []:
        layer.self_attention = GatedRecurrence(d)
    return model


def answers(model: DecoderOnly, tokens: torch.Tensor, n_asked: int) -> torch.Tensor:
    """Logits at the keys that are asked for, (batch, n_asked, vocabulary)."""
    return model(tokens[:, :0], tokens)[:, -n_asked:]


def train(model: DecoderOnly, steps: int, lr: float, batch: int = 64) -> None:
    """Adam on fresh texts of 1 to 16 pairs; the rate rises for a tenth of the steps, then falls."""
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * min(1, 10 * (step + 1) / steps) * (1 - step / steps)
        tokens, right = texts(batch, int(torch.randint(1, PAIRS[-1] + 1, ())))
        loss = F.cross_entropy(answers(model, tokens, right.shape[1]).flatten(0, 1), right.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def right_answers(model: DecoderOnly, n: int, first_seed: int = 0, batch: int = 200) -> float:
    """The share of right answers in new texts of n pairs, the same for every model; other ones by `first_seed`."""
    with torch.random.fork_rng():
        torch.manual_seed(first_seed + n)
        tokens, right = texts(batch, n)
    return round((answers(model, tokens, right.shape[1]).argmax(-1) == right).float().mean().item(), 4)


def guess(n: int) -> float:
    """The share of right answers of who names a value of the text at random: 1/n, and a match by chance."""
    return round(1 / n + (1 - 1 / n) / N_VALUES, 4)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-3, 6e-3])
    parser.add_argument("--out", type=Path, default=ROOT / "data/experiments/associative_recall.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    keys = [(arm, lr, seed) for seed in args.seeds for lr in args.rates for arm in ARMS]
    settings = {"steps": args.steps, "pairs": PAIRS}
    rows, left = rows_left(args.out, keys, ("arm", "lr", "seed"), **settings)
    for arm, lr, seed in tqdm(list(left)):
        torch.manual_seed(seed)
        model = make(arm)
        train(model, args.steps, lr)
        row = {"arm": arm, "lr": lr, "seed": seed, "parameters": sum(p.numel() for p in model.parameters())}
        row |= {
            "dev": [right_answers(model, n, 1000) for n in PAIRS],
            "right": [right_answers(model, n) for n in PAIRS],
        }
        rows.append(row)
        record("associative_recall", argv, rows, args.out, **settings, guess=list(map(guess, PAIRS)))


if __name__ == "__main__":
    main()
