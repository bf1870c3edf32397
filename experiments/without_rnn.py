"""The encoder without its RNN: when do places suffice, and when must words hear one another? (lesson 06)

Digits read out backwards, as in experiments.bottleneck, by decoders with dot-product attention; the encoders differ.
In the second language a neighbor decides: a digit behind a zero is written as its opposite, 10 - x.
Writes data/experiments/without_rnn.json: a row for each language, encoder and seed.

python -m experiments.without_rnn
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from experiments import record, rows_left, seeds_of
from experiments.bottleneck import CHINESE, DotProduct, Seq2Seq, sentences, train, write
from utils.attention import attention
from utils.config import ROOT
from utils.positional import sinusoidal
from utils.tokenizer import PAD

ZERO = CHINESE.index("零")


def opposites(batch, shortest, longest, generator):
    """As `sentences`, half of the digits zeros; one behind a zero is written as its opposite, 10 - x."""
    src, tgt = sentences(batch, shortest, longest, generator)
    zero = (torch.rand(src.shape, generator=generator) < 0.5) & (src != PAD)
    src = src.masked_fill(zero, ZERO)
    behind = F.pad(src == ZERO, (1, 0))[:, :-1] & (src > ZERO)  # a digit, a zero before it
    said = torch.where(behind, ZERO + 10 - (src - ZERO), src)
    mirrored = (src != PAD).sum(1, keepdim=True) - 1 - torch.arange(longest + 1)
    return src, torch.where(tgt >= ZERO, said.gather(1, mirrored.clamp(min=0)), tgt)


class WithoutRNN(Seq2Seq):
    """Self-attention in the encoder where the GRU was; the same with each word hearing only itself, or no places."""

    def __init__(self, scores, d, hears="all", places=True):
        super().__init__(scores, d)
        self.encoder = nn.ModuleList(nn.Linear(d, d) for _ in range(5))
        self.hears, self.places = hears, places

    def encode(self, src):
        n, mask, (W_q, W_k, W_v, W_1, W_2) = src.shape[1], src != PAD, self.encoder
        places = sinusoidal(n, self.chinese.embedding_dim)  # (n, d)
        a = self.chinese(src) + self.places * places  # (B, n, d)
        itself = torch.eye(n, dtype=torch.bool)
        heard = mask[:, None] & (itself | (self.hears == "all"))  # (B, n, n)
        b = a + attention(W_q(a), W_k(a), W_v(a), heard)[0]
        H = b + W_2(torch.relu(W_1(b)))
        return H, mask, H[torch.arange(len(src)), mask.sum(1) - 1][None]


LANGUAGES = {"backwards": sentences, "a neighbor decides": opposites}
ENCODERS = {
    "GRU": lambda: Seq2Seq(DotProduct, 48),
    "self-attention": lambda: WithoutRNN(DotProduct, 48),
    "each word hears only itself": lambda: WithoutRNN(DotProduct, 48, hears="itself"),
    "self-attention, no places": lambda: WithoutRNN(DotProduct, 48, places=False),
}


def right_digits(model, sentences, n, batch=300):
    """On new sentences of n digits: the share of right words among those that are not zero."""
    src, tgt = sentences(batch, n, n, torch.Generator().manual_seed(n))
    right = write(model, src, n) == tgt[:, :n]
    return right[tgt[:, :n] > ZERO].float().mean().item()


def run(language: str, encoder: str, seed: int, steps: int, longest: int) -> dict:
    """Train one model from one seed: a row of the result."""
    torch.manual_seed(seed)
    model = ENCODERS[encoder]()
    train(model, steps, longest, seed, LANGUAGES[language])
    right = right_digits(model, LANGUAGES[language], longest)
    row = {"language": language, "encoder": encoder, "seed": seed}
    row["parameters"] = sum(p.numel() for p in model.parameters())
    return row | {"right": round(right, 4)}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--longest", type=int, default=8)
    parser.add_argument("--out", type=Path, default=ROOT / "data/experiments/without_rnn.json")
    parser.add_argument("--keep", action="store_true", help="go on: do not repeat the runs that the file has")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    todo = [(language, encoder, seed) for seed in args.seeds for language in LANGUAGES for encoder in ENCODERS]
    settings = {"steps": args.steps, "longest": args.longest}
    rows, left = rows_left(args.out, todo, ("language", "encoder", "seed"), **settings) if args.keep else ([], todo)
    for which in tqdm(list(left)):
        rows.append(run(*which, args.steps, args.longest))
        record("without_rnn", argv, rows, args.out, **settings, seeds=seeds_of(rows))


if __name__ == "__main__":
    main()
