"""Translation quality after equal updates and after equal minutes: this course, and JoeyNMT's model with two recipes.

All get the same training pairs, dictionary glosses included, the same tokens, the same sizes of model and the same
batches of similar lengths, in float32 on one thread of the CPU; the learning rate of each falls to zero at the end of
its own run. BLEU of the 1,000 test sentences, first reference, beam 4. Runs stay in .bench/quality: a finished one is
not repeated, any other goes on where it was, and the table shows all that are finished. So these may run side by side:

python -m benchmarks.quality --updates 1000 --minutes 0 --arms ours
python -m benchmarks.quality --updates 1000 --minutes 0 --arms joeynmt,joeynmt-ours
"""

import argparse
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common import (
    BENCH,
    PeerError,
    environment,
    last_line,
    record,
    refuse_unknown,
    say,
    spread,
    table,
    variables,
)
from benchmarks.training import sizes
from experiments import train_and_score
from utils import corpus, training
from utils.batching import EpochBatches
from utils.config import ROOT, DataConfig, ModelConfig, TrainConfig
from utils.evaluation import scores
from utils.files import write_text_atomically

DEFAULTS = TrainConfig(steps=1)
OURS = {
    "optimizer": "adamw",
    "betas": [0.9, 0.98],
    "lr": DEFAULTS.lr,
    "warmup": DEFAULTS.warmup,
    "cooldown": DEFAULTS.cooldown,
    "weight_decay": DEFAULTS.weight_decay,
    "clip": DEFAULTS.clip,
    "dropout": ModelConfig(src_vocab=3, tgt_vocab=3).dropout,
    "own_places": False,
}
# JoeyNMT's recipe for IWSLT14 (configs/transformer_iwslt14_deen_bpe.yaml), whose model is as wide as ours: Adam at 3e-4
# without a warm-up, dropout 0.3, also on attention weights and inside the feed-forward, label smoothing 0.1. Changed:
# our batches instead of 4,096 tokens in any order, the rate falls in the second half of the run instead of when
# validations stop improving (in so short a run it never would), 3 layers instead of 6, pre-norm, beam 4 instead of 5.
IWSLT14 = {
    "optimizer": "adam",
    "betas": [0.9, 0.999],
    "lr": 3e-4,
    "warmup": 0,
    "cooldown": DEFAULTS.cooldown,
    "weight_decay": 0.0,
    "clip": 0.0,
    "dropout": 0.3,
    "own_places": True,
}
RECIPES = {"ours": OURS, "joeynmt-ours": OURS, "joeynmt": IWSLT14}
NAMES = {
    "ours": "this course",
    "joeynmt-ours": "JoeyNMT's model, our recipe but for averaged weights",
    "joeynmt": "JoeyNMT's model, its recipe for IWSLT14",
}
UPDATES_A_MINUTE = 200  # more than one core makes


class Data:
    """What our own training learns from, as ids, and the test sentences."""

    def __init__(self) -> None:
        train, _, self.tokenizer = training.read(DataConfig())
        self.fingerprint = EpochBatches(train.src, train.tgt, 1).fingerprint()
        self.src, self.tgt = ([side[i] for i in range(len(side))] for side in (train.src, train.tgt))
        self.test = corpus.load().test

    def batches(self, n: int, seed: int) -> list[list[int]]:
        """The first n batches of our training with this seed, as indices of pairs."""
        order = EpochBatches(self.src, self.tgt, DEFAULTS.batch_tokens, seed)
        found: list[list[int]] = []
        epoch = 0
        while len(found) < n:
            found += [[int(i) for i in batch] for batch in order.indices(epoch)]
            epoch += 1
        return found[:n]


def ours(kind: str, budget: float, seed: int, folder: Path, data: Data, options: list[str]) -> dict:
    """`python -m utils.training` with its defaults, but in float32."""
    limit = ["--steps", str(int(budget))] if kind == "updates" else ["--minutes", str(budget)]
    row, _ = train_and_score([*limit, "--seed", str(seed), "--precision", "float32", *options], folder, data.test)
    last = row.pop("history")[-1]
    return row | {"steps": last["step"], "tokens": last["tokens"], "minutes": last["minutes"]}


def joeynmt(arm: str, kind: str, budget: float, seed: int, folder: Path, data: Data) -> dict:
    """Train JoeyNMT's model in its own environment, or go on there; translate and score. PeerError when it cannot."""
    python = environment("joeynmt")
    n = int(budget if kind == "updates" else budget * UPDATES_A_MINUTE)
    vocabularies = {"src_vocab": data.tokenizer.src_vocab, "tgt_vocab": data.tokenizer.tgt_vocab}
    job = {
        "sizes": sizes() | vocabularies,
        "recipe": RECIPES[arm],
        "seed": seed,
        "updates": n if kind == "updates" else None,
        "minutes": budget if kind == "minutes" else None,
        "batches": data.batches(n, seed),
        "src": data.src,
        "tgt": data.tgt,
        "test": data.tokenizer.encode_src([item.zh for item in data.test]),
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = [str(python), "-m", "benchmarks.peers.quality", str(folder / "job.json"), str(folder)]
    with (folder / "output.log").open("w", encoding="utf-8") as log:
        done = subprocess.run(command, cwd=ROOT, env=variables(1, {}), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    if done.returncode != 0:
        raise PeerError(f"stopped: {last_line((folder / 'output.log').read_text(encoding='utf-8'))}")
    hypotheses, progress = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("hypotheses.json", "progress.json")
    )
    return progress | scores([data.tokenizer.decode(ids) for ids in hypotheses], data.test)


def run(arm: str, kind: str, budget: float, seed: int, folder: Path, data: Data, options: list[str]) -> None:
    """One training run and its score in FOLDER/result.json, unless this very run is finished there."""
    wanted = {"recipe": RECIPES[arm], kind: budget, "seed": seed, "options": options, "pairs": data.fingerprint}
    result = folder / "result.json"
    if result.exists() and json.loads(result.read_text(encoding="utf-8"))["run"] == wanted:
        return
    say(f"{arm}, {budget:g} {kind}, seed {seed}")
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    if arm == "ours":
        row = ours(kind, budget, seed, folder, data, options)
    else:
        row = joeynmt(arm, kind, budget, seed, folder, data)
    row |= {"run": wanted, "seconds_on_the_wall": round(time.perf_counter() - began)}
    write_text_atomically(result, json.dumps(row, indent=1) + "\n")
    say(f"{arm}, {budget:g} {kind}, seed {seed}: {row['seconds_on_the_wall'] / 60:.1f} minutes with its translations")


def finished(runs: Path, arm: str, kind: str, budget: float) -> Iterator[dict]:
    """The results of one arm, of every seed that is finished."""
    for path in sorted(runs.glob(f"{arm}-{budget:g}-{kind}-seed*/result.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def row_of_table(arm: str, rows: list[dict], failed: str | None) -> list[str]:
    if not rows:
        return [NAMES[arm], failed or "not run yet", *[""] * 6]

    def figure(key: str) -> str:
        values = [row[key] for row in rows]
        return f"{values[0]:.1f}" if len(values) == 1 else spread(values)

    counts = [sum(row[key] for row in rows) / len(rows) for key in ("steps", "tokens")]
    recipe = RECIPES[arm]
    cells = [f"{recipe['lr']:g}", figure("bleu"), figure("chrf"), figure("bleu_multi"), f"{counts[0]:,.0f}"]
    return [NAMES[arm], *cells, f"{counts[1] / 1e6:.2f} M", figure("minutes")]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--updates", type=int, default=1000, help="updates of each arm; 0: leave equal updates out")
    add("--minutes", type=float, default=10.0, help="minutes of computing of each arm; 0: leave equal minutes out")
    add("--seed", type=int, default=0)
    add("--arms", default=",".join(RECIPES), help="which of them to run, with commas; empty: write the table alone")
    add("--runs", type=Path, default=BENCH / "quality", help="where the runs are kept")
    add("--out", type=Path, help="default: benchmarks/results")
    add("--options", nargs=argparse.REMAINDER, default=[], help="passed on to our training run")
    args = parser.parse_args(argv)
    arms = [arm for arm in args.arms.split(",") if arm]
    refuse_unknown(arms, RECIPES, "arm")
    budgets = {kind: budget for kind in ("updates", "minutes") if (budget := getattr(args, kind))}

    data = Data()
    failed: dict[tuple[str, str], str] = {}
    try:
        for kind, budget in budgets.items():
            for arm in arms:
                folder = args.runs / f"{arm}-{budget:g}-{kind}-seed{args.seed}"
                try:
                    run(arm, kind, budget, args.seed, folder, data, args.options)
                except PeerError as error:
                    failed[kind, arm] = str(error)
                    say(f"{arm}: {error}")
    except KeyboardInterrupt:
        raise SystemExit("Stopped; the same command goes on from there.") from None
    header = ["recipe", "peak rate", "BLEU", "chrF", "BLEU, all references", "updates", "target tokens", "minutes"]
    found, sections = {}, []
    for kind, budget in budgets.items():
        found[kind] = {arm: list(finished(args.runs, arm, kind, budget)) for arm in RECIPES}
        rows = [row_of_table(arm, found[kind][arm], failed.get((kind, arm))) for arm in RECIPES]
        unit = "updates" if kind == "updates" else "minutes of computing"
        sections.append(f"After {budget:,g} {unit}:\n\n{table(header, rows)}")
    tables = "\n\n".join(sections)
    text = f"""## Quality

{len(data.src):,} training pairs; {len(data.test):,} test sentences, beam 4, first reference; every run in float32 \
on one thread, from the same tokens, in the same batches of similar lengths (at most {DEFAULTS.batch_tokens:,} padded \
tokens); the learning rate of each falls to zero over the last half of its own run.

{tables}

Rates: ours was chosen on dev, for our model; 3e-4 is that of JoeyNMT's recipe. Several seeds: median \
(smallest..largest). Minutes are minutes of computing from the first batch on, batches included; checks on dev (ours) \
and set-up are not counted. A finished run is kept and not repeated: the commit below is that of the last one."""
    record("quality", argv, text, args.out, budgets=budgets, pairs=len(data.src), runs=found)


if __name__ == "__main__":
    main()
