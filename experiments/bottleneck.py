"""One vector for a whole sentence, or a new one for every word? Digits read out backwards, from 2 to 20 (lesson 06).

Four seq2seq models differ in the scores from which a softmax makes their attention: the last state only (no attention),
all states alike, additive, dot product; and a little in width, 52 or 48, for about as many parameters. The same
sentences, the same steps; a fifth without attention is twice as wide, and the first is trained twice and four times as
long, too. Writes data/experiments/bottleneck.json: a row for each model, seed and number of steps.

python -m experiments.bottleneck
"""

import argparse
import functools
import math
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from experiments import record, rows_left, seeds_of
from utils.config import ROOT
from utils.tokenizer import BOS, EOS, PAD, SPECIALS

CHINESE = [*SPECIALS, *"零一二三四五六七八九"]
ENGLISH = [*SPECIALS, *"zero one two three four five six seven eight nine".split()]


def sentences(batch, shortest, longest, generator):
    """Chinese digits, and the same backwards in English, closed by <eos>; both padded on the right.

    -> src (batch, longest), tgt (batch, longest + 1)
    """
    length = torch.randint(shortest, longest + 1, (batch, 1), generator=generator)
    digits = torch.randint(len(SPECIALS), len(CHINESE), (batch, longest), generator=generator)
    place = torch.arange(longest + 1)  # (longest + 1,)
    src = digits.masked_fill(place[:-1] >= length, PAD)
    mirrored = (length - 1 - place).clamp(min=0)  # (batch, longest + 1): where the word comes from
    tgt = digits.gather(1, mirrored).masked_fill(place == length, EOS)
    return src, tgt.masked_fill(place > length, PAD)


class LastState(nn.Module):
    """No attention: only the encoder's last state may be looked at. (B, T, d), (B, n, d) -> scores (B, T, n)."""

    def __init__(self, d):
        super().__init__()

    def forward(self, S, H, mask):
        last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))  # (B, n)
        shape = S.shape[:2] + H.shape[1:2]
        return torch.zeros(shape).masked_fill(~last[:, None], -torch.inf)


class Average(nn.Module):
    """Attention frozen: every state counts the same. (B, T, d), (B, n, d) -> scores (B, T, n)."""

    def __init__(self, d):
        super().__init__()

    def forward(self, S, H, mask):
        return torch.zeros(S.shape[:2] + H.shape[1:2])


class Additive(nn.Module):
    """v . tanh(W s + U h_i), as in arXiv 1409.0473. (B, T, d), (B, n, d) -> scores (B, T, n)."""

    def __init__(self, d):
        super().__init__()
        self.W, self.U = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)
        self.v = nn.Linear(d, 1, bias=False)

    def forward(self, S, H, mask):
        inner = self.W(S)[:, :, None] + self.U(H)[:, None]  # (B, T, n, d)
        return self.v(torch.tanh(inner)).squeeze(-1)


class DotProduct(nn.Module):
    """Lesson 02's score, q . k / sqrt(d): queries from S, keys from H. (B, T, d), (B, n, d) -> scores (B, T, n)."""

    def __init__(self, d):
        super().__init__()
        self.W_q, self.W_k = nn.Linear(d, d, bias=False), nn.Linear(d, d, bias=False)

    def forward(self, S, H, mask):
        return self.W_q(S) @ self.W_k(H).mT / S.shape[-1] ** 0.5


# name: (scores, width). Without attention a model is a little wider, so that four have about as many parameters.
MODELS = {
    "one vector": (LastState, 52),
    "average": (Average, 52),
    "additive": (Additive, 48),
    "dot product": (DotProduct, 48),
    "one vector, twice as wide": (LastState, 104),
}


LONGER = (2, 4)  # times as many steps, for "one vector"


class Seq2Seq(nn.Module):
    """GRU encoder, GRU decoder, and for every word a context, by the scores: logits (B, T, V), weights (B, T, n)."""

    def __init__(self, scores, d):
        super().__init__()
        self.chinese, self.english = nn.Embedding(len(CHINESE), d), nn.Embedding(len(ENGLISH), d)
        self.encoder, self.decoder = nn.GRU(d, d, batch_first=True), nn.GRU(d, d, batch_first=True)
        self.scores, self.out = scores(d), nn.Linear(2 * d, len(ENGLISH))

    def encode(self, src):
        """All states H (B, n, d), where they are real, and the last real one (1, B, d): how the decoder starts."""
        H, mask = self.encoder(self.chinese(src))[0], src != PAD
        return H, mask, H[torch.arange(len(src)), mask.sum(1) - 1][None]

    def decode(self, words, s, H, mask):
        """Logits for the word after each of `words` (B, T), the weights that led to them, and the decoder's state."""
        S, s = self.decoder(self.english(words), s)  # (B, T, d)
        scores = self.scores(S, H, mask).masked_fill(~mask[:, None], -torch.inf)
        weights = scores.softmax(-1)  # (B, T, n)
        return self.out(torch.cat([S, weights @ H], dim=-1)), weights, s

    def forward(self, src, tgt):
        """Teacher forcing: before each word of tgt, the right words so far."""
        H, mask, s = self.encode(src)
        return self.decode(F.pad(tgt[:, :-1], (1, 0), value=BOS), s, H, mask)[:2]


def train(model, steps, longest, seed, sentences=sentences, batch=64, lr=5e-3):
    """Cross-entropy over real words on sentences of 2 to `longest` digits; the seed fixes which."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        src, tgt = sentences(batch, 2, longest, generator)
        loss = F.cross_entropy(model(src, tgt)[0].mT, tgt, ignore_index=PAD)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def write(model, src, steps):
    """From <bos> on, each word after the model's own: (B, steps)."""
    H, mask, s = model.encode(src)
    words = [torch.full((len(src), 1), BOS)]
    for _ in range(steps):
        logits, _, s = model.decode(words[-1], s, H, mask)
        words.append(logits.argmax(-1))
    return torch.cat(words[1:], dim=1)


@torch.no_grad()
def measure(model, n, batch=300):
    """On new sentences of n digits: the share of right words that it writes, and the bits that reach its words."""
    src, tgt = sentences(batch, n, n, torch.Generator().manual_seed(n))
    right = (write(model, src, n) == tgt[:, :n]).float().mean().item()
    surprise = F.cross_entropy(model(src, tgt)[0][:, :n].mT, tgt[:, :n]).item()  # nats per digit
    return right, n * (math.log(10) - surprise) / math.log(2)


def run(which: tuple[str, int, int], lengths: list[int]) -> dict:
    """Train one model from one seed and measure it at every length: one row of the result."""
    name, seed, steps = which
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = Seq2Seq(*MODELS[name])
    train(model, steps, lengths[-1], seed)
    right, bits = zip(*(measure(model, n) for n in lengths), strict=True)
    row = {"model": name, "seed": seed, "steps": steps, "parameters": sum(p.numel() for p in model.parameters())}
    return row | {"right": [round(x, 4) for x in right], "bits": [round(x, 2) for x in bits]}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--longest", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--out", type=Path, default=ROOT / "data/experiments/bottleneck.json")
    parser.add_argument("--keep", action="store_true", help="go on: do not repeat the runs that the file has")
    args = parser.parse_args(argv)
    lengths = list(range(2, args.longest + 1, 2))
    todo = [(name, seed, args.steps) for name in MODELS for seed in args.seeds]
    todo += [("one vector", seed, longer * args.steps) for longer in LONGER for seed in args.seeds]
    settings = {"steps": args.steps, "lengths": lengths}
    rows, left = rows_left(args.out, todo, ("model", "seed", "steps"), **settings) if args.keep else ([], todo)
    with get_context("spawn").Pool(args.jobs) as pool:
        for row in pool.imap(functools.partial(run, lengths=lengths), left):
            rows.append(row)
            record("bottleneck", argv, rows, args.out, **settings, seeds=seeds_of(rows))


if __name__ == "__main__":
    main()
