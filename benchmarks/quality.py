"""Translation quality for the same minutes of computing on one core: this course's recipe and JoeyNMT's.

Both get the same training pairs, dictionary glosses included, and the same sizes of model, in float32 on one thread of
the CPU; each is used as its users would use it. BLEU of the 1,000 test sentences, first reference, beam 4. Runs stay in
.bench/quality: a finished one is not repeated, and ours goes on where it was.

python -m benchmarks.quality --minutes 20
"""

import argparse
import hashlib
import json
import os
import subprocess
import time
from pathlib import Path

from benchmarks.common import BENCH, PeerError, chosen, environment, last_line, record, say, table
from benchmarks.training import sizes
from experiments import train_and_score
from utils import corpus, dictionary
from utils.config import ROOT
from utils.evaluation import scores

# JoeyNMT's recipe for IWSLT14 (configs/transformer_iwslt14_deen_bpe.yaml), of the same width as our model by itself:
# Adam, a rate of 3e-4 that falls when validations stop improving, 4,096 tokens a batch, dropout 0.3. Changed: 3 layers
# instead of 6, pre-norm (JoeyNMT's default for new models), letters' case kept, for our references have it; characters
# for Chinese, as the language needs, and two vocabularies, which cannot be tied to one another; beam 4 instead of 5. No
# validation within the budget: that is time given to training (the rate would not have fallen before 6,000 updates).
IWSLT14 = {
    "optimizer": "adam",
    "adam_betas": [0.9, 0.999],
    "scheduling": "plateau",
    "patience": 5,
    "decrease_factor": 0.7,
    "learning_rate": 3e-4,
    "learning_rate_min": 1e-8,
    "weight_decay": 0.0,
    "normalization": "tokens",
    "loss": "crossentropy",
    "label_smoothing": 0.1,
    "batch_size": 4096,
    "batch_type": "token",
    "early_stopping_metric": "bleu",
    "epochs": 10**6,
    "validation_freq": 10**9,
    "logging_freq": 100,
    "shuffle": True,
}
# The same with what made ours learn fast in a short time, as far as JoeyNMT knows it: smaller batches, a higher peak
# after a short rise, gradient clipping, less dropout. It knows no batches of like lengths: much of each is padding.
TUNED = {
    "optimizer": "adamw",
    "adam_betas": [0.9, 0.98],
    "scheduling": "warmupinversesquareroot",
    "learning_rate": 1.5e-3,
    "learning_rate_warmup": 400,
    "weight_decay": 0.01,
    "clip_grad_norm": 1.0,
    "batch_size": 1500,
}
RECIPES = {"joeynmt": (IWSLT14, 0.3), "joeynmt-tuned": (IWSLT14 | TUNED, 0.2)}
PEERS = list(RECIPES)
NAMES = {
    "ours": "this course",
    "joeynmt": "JoeyNMT, its recipe for IWSLT14",
    "joeynmt-tuned": "JoeyNMT, with our batch size, peak rate and dropout",
}


def configuration(recipe: dict, dropout: float, tgt_vocab: int) -> dict:
    """What JoeyNMT reads, file names excepted."""
    s = sizes()
    part = {
        "type": "transformer",
        "num_layers": s["n_layers"],
        "num_heads": s["n_heads"],
        "embeddings": {"embedding_dim": s["d_model"], "scale": True, "dropout": 0.0},
        "hidden_size": s["d_model"],
        "ff_size": s["d_ff"],
        "dropout": dropout,
        "layer_norm": "pre",
    }
    english = {"tokenizer_type": "sentencepiece", "tokenizer_cfg": {}}
    return {
        "name": "tatoeba",
        "use_cuda": False,
        "random_seed": 42,
        "data": {
            "dataset_type": "plain",
            "src": {"lang": "zh", "level": "char", "voc_min_freq": 2, "max_length": 100},
            "trg": {"lang": "en", "level": "bpe", "voc_limit": tgt_vocab, "max_length": 100, **english},
        },
        "training": recipe,
        "testing": {"beam_size": 4, "beam_alpha": 1.0, "batch_size": 64, "max_output_length": 100},
        "model": {
            "initializer": "xavier_uniform",
            "init_gain": 1.0,
            "embed_initializer": "xavier_uniform",
            "embed_init_gain": 1.0,
            "bias_initializer": "zeros",
            "tied_softmax": True,
            "encoder": part,
            "decoder": part,
        },
    }


def joeynmt(name: str, minutes: float, folder: Path, train: list, dev: list, test: list) -> dict:
    """Export the pairs, train for the minutes, translate, score. PeerError when it cannot.

    A run that came to its end with the same recipe and pairs is only scored: finished.json, written last, says so.
    """
    sides = {"train.zh": [p.zh for p in train], "train.en": [p.en for p in train]}
    for split, items in (("dev", dev), ("test", test)):
        sides |= {f"{split}.zh": [item.zh for item in items], f"{split}.en": [item.references[0] for item in items]}
    files = {file: "".join(f"{line}\n" for line in lines) for file, lines in sides.items()}
    files["config.json"] = json.dumps(configuration(*RECIPES[name], tgt_vocab=sizes()["tgt_vocab"]), indent=1)
    wanted = {file: hashlib.sha256(text.encode()).hexdigest() for file, text in files.items()}
    stamp, hypotheses, progress = (folder / x for x in ("finished.json", "hypotheses.test", "model/progress.json"))
    if not (stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")) == wanted):
        python = environment("joeynmt")
        folder.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        env = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        command = [str(python), "-m", "benchmarks.peers.quality", str(folder), str(minutes)]
        with (folder / "output.log").open("w", encoding="utf-8") as log:
            done = subprocess.run(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if done.returncode != 0:
            raise PeerError(f"stopped: {last_line((folder / 'output.log').read_text(encoding='utf-8'))}")
        stamp.write_text(json.dumps(wanted, indent=1), encoding="utf-8")
    lines = hypotheses.read_text(encoding="utf-8").split("\n")[: len(test)]
    return json.loads(progress.read_text(encoding="utf-8")) | scores(lines, test)


def ours(minutes: float, folder: Path, test: list, options: list[str]) -> dict:
    """`python -m utils.training` with its defaults, but in float32, as JoeyNMT computes."""
    row, _ = train_and_score(["--minutes", str(minutes), "--precision", "float32", *options], folder, test)
    last = row.pop("history")[-1]
    return row | {"steps": last["step"], "tokens": last["tokens"]}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--minutes", type=float, default=20.0, help="minutes of computing for each")
    add("--peers", default=",".join(PEERS), help="which of them, with commas")
    add("--runs", type=Path, default=BENCH / "quality", help="where the runs are kept")
    add("--out", type=Path, help="default: benchmarks/results")
    add("--options", nargs=argparse.REMAINDER, default=[], help="passed on to our training run")
    args = parser.parse_args(argv)
    peers = chosen(args.peers, PEERS)

    tatoeba = corpus.load()
    train, test = tatoeba.train + dictionary.glosses(tatoeba, limit=10_000), tatoeba.test
    found, failed = {}, {}
    for name in ["ours", *peers]:
        folder, began = args.runs / f"{name}-{args.minutes:g}", time.perf_counter()
        say(f"{name}: {args.minutes:g} minutes of computing")
        try:
            if name == "ours":
                found[name] = ours(args.minutes, folder, test, args.options)
            else:
                found[name] = joeynmt(name, args.minutes, folder, train, tatoeba.dev, test)
        except PeerError as error:
            failed[name] = str(error)
            say(f"{name}: {error}")
            continue
        found[name]["seconds_on_the_wall"] = time.perf_counter() - began
    lines = []
    for name in ["ours", *peers]:
        if name in failed:
            lines.append([NAMES[name], failed[name], "", "", "", ""])
            continue
        row = found[name]
        figures = [f"{row[key]:.1f}" for key in ("bleu", "chrf", "bleu_multi")]
        lines.append([NAMES[name], *figures, f"{row['steps']:,}", f"{row['tokens'] / 1e6:.2f} M"])
    text = f"""## Quality

{len(train):,} training pairs, {args.minutes:g} minutes of computing on one core for each, float32; {len(test):,} test \
sentences, beam 4, first reference.

{table(["recipe", "BLEU", "chrF", "BLEU, all references", "updates", "target tokens seen"], lines)}

Minutes count from the first batch on; checks on dev (ours) and set-up are not counted, and JoeyNMT makes no checks. \
A finished run is kept and not repeated: the commit below is that of the last one."""
    record("quality", argv, text, args.out, minutes=args.minutes, pairs=len(train), runs=found, failed=failed)


if __name__ == "__main__":
    main()
