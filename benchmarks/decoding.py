"""Translation with this course against other implementations: sentences a second, greedy and beam 4.

The 1,000 test sentences in the same batches, float32 unless named, the same threads, in turns as in
benchmarks.training. CTranslate2 gets our weights, and the share of its translations that are ours is counted; Marian's
weights are random. Then: what fewer bits cost, what the cache of keys and values saves, how long one short sentence
takes, and what the import costs.

python -m benchmarks.decoding --rounds 5 --peers ctranslate2,marian
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.common import (
    BENCH,
    CPU,
    at_work,
    chosen,
    flops,
    gemm_rate,
    positive,
    profile,
    ratios,
    record,
    say,
    shares,
    spread,
    table,
    take_turns,
)
from benchmarks.training import write_job
from utils import corpus
from utils.batching import chunks, pad
from utils.config import ROOT
from utils.decoding import greedy
from utils.evaluation import scores
from utils.positional import sinusoidal
from utils.runtime import in_parallel
from utils.tokenizer import BOS, EOS, PAD
from utils.translate import BATCH, CHECKPOINT, LENGTH_PENALTY, Translator, load_translator

NAMES = {
    "ours": "this course, text to text",
    "ours-bfloat16": "this course in bfloat16, text to text",
    "ctranslate2": "CTranslate2, ids to ids",
    "ctranslate2-patience2": "CTranslate2, patience 2, ids to ids",
    "ctranslate2-int8": "CTranslate2 in int8, patience 2, ids to ids",
    "marian": "Hugging Face Marian.generate, ids to ids",
}
PEERS = [name for name in NAMES if name != "ours"]
BEAMS, HOW = (1, 4), ("greedy", "beam 4")
SENTENCE = "我喜欢学习。"


def source_batches(translator: Translator, sentences: list[str]) -> list[list[list[int]]]:
    """Source ids as `translate` batches them: cut into what the model may get, the longest first, so many at a time."""
    parts = [piece for s in sentences for piece in translator.pieces(s) if translator.reads(piece)]
    return [translator.tokenizer.encode_src(batch) for batch in chunks(sorted(parts, key=len, reverse=True), BATCH)]


def search_all(translator: Translator, batches: list[list[list[int]]], width: int) -> list[list[list[int]]]:
    """Our target ids, batch after batch, all threads on each."""
    return [translator.generate(batch, width) for batch in batches]


def write_weights(translator: Translator, path: Path) -> Path:
    """The checkpoint as NumPy reads it, its positions with it: a peer's environment has nothing of ours."""
    weights = {name: w.numpy() for name, w in translator.model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, positions=sinusoidal(512, translator.model.config.d_model).numpy(), **weights)
    return path


# ------------------------------------------------------------------------------------------------------ fewer bits


def fewer_bits(items: list[corpus.TestItem]) -> dict[str, dict]:
    """What each precision costs, by beam: megabytes of weights in memory, BLEU, chrF, the share translated alike."""
    found, plain = {}, {}
    for precision in ("float32", "bfloat16"):
        translator = load_translator(CHECKPOINT, "cpu", precision)
        size = sum(p.numel() * p.element_size() for p in translator.model.parameters())
        found[precision] = {"megabytes": size / 1e6, "beams": {}}
        for width in BEAMS:
            english = translator.translate([item.zh for item in items], width)
            same = [a == b for a, b in zip(english, plain.setdefault(width, english), strict=True)]
            score = scores(english, items)
            row = {"bleu": score["bleu"], "chrf": score["chrf"], "identical": sum(same) / len(same)}
            found[precision]["beams"][width] = row
    return found


def bits_table(found: dict[str, dict]) -> str:
    """The rows of `fewer_bits` as a table."""
    header, rows = ["numbers", "weights, MB"], []
    for name in HOW:
        header += [f"{name}: BLEU", "chrF", "as in float32"]
    for precision, one in found.items():
        cells = [precision, f"{one['megabytes']:.1f}"]
        for row in one["beams"].values():
            cells += [f"{row['bleu']:.2f}", f"{row['chrf']:.2f}", f"{100 * row['identical']:.1f} %"]
        rows.append(cells)
    return table(header, rows)


# ------------------------------------------------------------------------------------------ with and without a cache


class NeverEnding:
    """A model whose sentences go on to the limit: <eos> is forbidden. All else is the model's."""

    def __init__(self, model):
        self.model = model
        self.encode = model.encode

    def step(self, tokens, state):
        logits, state = self.model.step(tokens, state)
        return logits.index_fill(1, torch.tensor([EOS]), -torch.inf), state


@torch.inference_mode()
def uncached(model, src: torch.Tensor, n: int) -> list[list[int]]:
    """Greedy search as one would write it first: `forward` on everything so far, encoder and all, for each token."""
    tokens = torch.full((len(src), 1), BOS)
    for _ in range(n):
        logits = model(src, tokens)[:, -1].index_fill(1, torch.tensor([PAD, BOS, EOS]), -torch.inf)
        tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], dim=1)
    return tokens[:, 1:].tolist()


def cache_saves(translator: Translator, src: torch.Tensor, n: int, rounds: int) -> dict:
    """Seconds for n tokens of every row with and without the cache, in turns, and the share of equal tokens."""
    fast, slow = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        cached = greedy(NeverEnding(translator.model), src, n)
        fast.append(time.perf_counter() - began)
        began = time.perf_counter()
        plain = uncached(translator.model, src, n)
        slow.append(time.perf_counter() - began)
    pairs = [(a, b) for one, other in zip(cached, plain, strict=True) for a, b in zip(one, other, strict=True)]
    return {"cached": fast, "uncached": slow, "equal": sum(a == b for a, b in pairs) / len(pairs)}


def threads_apart(translator: Translator, batches: list[list[list[int]]], width: int, rounds: int) -> dict:
    """Seconds for all batches with a batch per thread, as `translate` has it, and with all threads on one, in turns."""
    apart, together = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        one = in_parallel(lambda batch: translator.generate(batch, width), batches, translator.device)
        apart.append(time.perf_counter() - began)
        began = time.perf_counter()
        other = search_all(translator, batches, width)
        together.append(time.perf_counter() - began)
    pairs = [(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)]
    return {"apart": apart, "together": together, "equal": sum(a == b for a, b in pairs) / len(pairs)}


# ------------------------------------------------------------------------------------------ small things that wait


def one_sentence(translator: Translator, width: int, times: int) -> list[float]:
    """Seconds of each `translate` of one short sentence, after some that warmed it up."""
    found = []
    for i in range(times + 3):
        began = time.perf_counter()
        translator.translate(SENTENCE, beam_size=width)
        if i >= 3:
            found.append(time.perf_counter() - began)
    return found


def import_seconds(statement: str, times: int) -> list[float]:
    """What a statement takes in a fresh Python that has imported torch before."""
    code = f"import time, torch; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
    command = [sys.executable, "-c", code]
    return [float(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout) for _ in range(times)]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--peers", default=",".join(PEERS), help="which of them, with commas")
    add("--rounds", type=positive, default=5)
    add("--sentences", type=positive, default=1000, help="so many of the test sentences")
    add("--length", type=positive, default=64, help="tokens of each row in the comparison with no cache")
    add("--times", type=positive, default=50, help="translations of one short sentence; a tenth as many imports")
    add("--threads", type=positive, default=os.cpu_count())
    add("--out", type=Path, help="default: benchmarks/results")
    args = parser.parse_args(argv)
    peers = chosen(args.peers, PEERS)

    torch.set_num_threads(args.threads)
    translator = load_translator(CHECKPOINT, "cpu")
    items = corpus.load().test[: args.sentences]
    sentences = [item.zh for item in items]
    batches = source_batches(translator, sentences)
    say("our translations")
    found = {width: search_all(translator, batches, width) for width in BEAMS}
    tokenizer = translator.tokenizer
    job = write_job(
        BENCH / "decoding.json",
        sizes=asdict(translator.model.config),
        threads=args.threads,
        length_penalty=LENGTH_PENALTY,
        checkpoint=str(CHECKPOINT),
        sentences=sentences,
        batches=batches,
        longest={width: [max(map(len, ids)) + 1 for ids in found[width]] for width in BEAMS},
        weights=str(write_weights(translator, BENCH / "decoding.npz")),
        src_tokens=tokenizer.src_tokens(list(range(tokenizer.src_vocab))),
        tgt_tokens=tokenizer.tgt_tokens(list(range(tokenizer.tgt_vocab))),
    )
    config = translator.model.config
    products = [(config.d_model, config.d_ff), (config.d_ff, config.d_model), (config.d_model, config.tgt_vocab)]
    shapes = [(rows * BATCH, *size) for rows in BEAMS for size in products]
    with at_work(["ours", *peers], "benchmarks.peers.decoding", job, args.threads) as (workers, failed):
        about = {name: worker.about for name, worker in workers.items()}
        answers = {width: take_turns(workers, failed, {"beam": width}, args.rounds) for width in BEAMS}
        gemm = gemm_rate(shapes, torch.float32, CPU)

    speed = {
        width: {name: [len(sentences) / a["seconds"] for a in got] for name, got in answers[width].items()}
        for width in BEAMS
    }
    identical: dict[str, dict] = {}
    lines = []
    for name in ["ours", *peers]:
        if name in failed:
            lines.append([NAMES[name], failed[name], *[""] * 6])
            continue
        cells = [NAMES[name]]
        for width in BEAMS:
            mine = [ids for batch in found[width] for ids in batch]
            theirs = answers[width][name][0].get("ids")
            same = None if theirs is None else sum(a == b for a, b in zip(mine, theirs, strict=True)) / len(mine)
            identical.setdefault(name, {})[width] = same
            times = "" if name == "ours" else spread(ratios(speed[width]["ours"], speed[width][name]))
            cells += [f"{median(speed[width][name]):,.0f}", times, "" if same is None else f"{100 * same:.1f} %"]
        lines.append([*cells, ", ".join(f"{k} {v}" for k, v in about[name]["versions"].items())])
    say("operations and profile")
    torch.set_num_threads(1)  # as each batch is searched when there are many
    spent = {width: profile(lambda width=width: search_all(translator, batches, width)) for width in BEAMS}
    torch.set_num_threads(args.threads)
    operations = {width: flops(lambda width=width: search_all(translator, batches, width)) for width in BEAMS}
    bound = {width: len(sentences) * max(gemm.values()) / n for width, n in operations.items()}
    last = ["upper bound: our matrix products alone"]
    for width in BEAMS:
        last += [f"{bound[width]:,.0f}", f"{median(speed[width]['ours']) / bound[width]:.2f}", ""]
    lines.append([*last, ""])
    header = ["implementation"]
    for name in HOW:
        header += [f"{name}, sentences/s", "our speedup", "same translation"]

    say("fewer bits")
    bits = fewer_bits(items)
    say("with and without a cache")
    middle = pad(batches[len(batches) // 2][:BATCH])
    cache = cache_saves(translator, middle, args.length, args.rounds)
    say("a batch per thread, and all threads on a batch")
    apart = {width: threads_apart(translator, batches, width, args.rounds) for width in BEAMS}
    gains = {width: spread(ratios(run["together"], run["apart"])) for width, run in apart.items()}
    say("one sentence, and the import")
    short = {width: one_sentence(translator, width, args.times) for width in BEAMS}
    imports = {
        s: import_seconds(s, max(1, args.times // 10)) for s in ("import utils", "from utils import load_translator")
    }
    text = f"""## Decoding

{len(sentences):,} test sentences, batches of {BATCH}, {args.rounds} rounds in turns, {args.threads} threads, float32 \
unless named.

{table([*header, "versions"], lines)}

Speedup: our rate over theirs, median (smallest..largest) over the rounds. With patience 1, its default, the beam of \
CTranslate2 ends when four hypotheses are finished, and so prunes more than ours; greedy search knows no patience. Our \
rows leave the batch when their sentence has ended; Marian, with random weights, was made to write as many tokens in \
each batch as our longest translation there. The upper bound: {operations[1] / 1e9:,.0f} GFLOP greedy and \
{operations[4] / 1e9:,.0f} with beam 4, at {max(gemm.values()) / 1e9:,.0f} GFLOP/s, the best rate of a float32 matrix \
product of these sizes in this run.

Where the time of our search goes on one thread, profiled after the rounds:

- greedy: {shares(spent[1])}.
- beam 4: {shares(spent[4])}.

What half the bits cost:

{bits_table(bits)}

Besides:

- The cache makes greedy search of {len(middle)} rows to exactly {args.length} tokens \
{spread(ratios(cache["uncached"], cache["cached"]))} times as fast as `forward` on the whole prefix at each step; \
{100 * cache["equal"]:.1f} % of the tokens are equal.
- A batch per thread instead of all threads on one batch is {gains[1]} times as fast, {gains[4]} with beam 4; \
{100 * apart[1]["equal"]:.1f} and {100 * apart[4]["equal"]:.1f} % of the translations are identical.
- One short sentence, warm: {1000 * median(short[1]):.0f} ms greedy, {1000 * median(short[4]):.0f} ms with beam 4.
- After `import torch`, {", ".join(f"`{s}` takes {median(t):.2f} s" for s, t in imports.items())}."""
    record(
        "decoding",
        argv,
        text,
        args.out,
        threads=args.threads,
        sentences_per_second=speed,
        identical=identical,
        names=NAMES,
        flop=operations,
        gemm=gemm,
        bound=bound,
        profile=spent,
        fewer_bits=bits,
        cache=cache,
        threads_apart=apart,
        one_sentence=short,
        imports=imports,
        failed=failed,
        about=about,
    )


if __name__ == "__main__":
    main()
