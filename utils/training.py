"""The command `make train`: train on Tatoeba or on somebody's pairs, stop, go on; alone or with others (lesson 08).

python -m utils.training --help
"""

import argparse
import io
import json
import os
import platform
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, fields
from pathlib import Path

import torch

from utils import checkpoint, corpus, dictionary, pairs
from utils.batching import Encoded, EpochBatches
from utils.config import ROOT, ModelConfig, TrainConfig
from utils.distributed import ALONE, Unreachable, World, joined
from utils.evaluation import evaluate
from utils.runtime import has_fast_bfloat16, pick_device, seed_everything, set_threads
from utils.tokenizer import Tokenizer
from utils.trainer import Trainer, dev_nll, schedule
from utils.translate import Translator

__all__ = ["Trainer", "TrainingError", "dev_nll", "machine", "main", "schedule"]


class TrainingError(RuntimeError):
    """Training cannot begin or go on; the message says why and what to do."""


def machine(device: torch.device) -> str:
    """A line for the log: what computed this, the GPU or the processor."""
    threads = torch.get_num_threads()
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif (cpuinfo := Path("/proc/cpuinfo")).exists():  # on Linux the platform module knows the architecture alone
        models = re.findall(r"model name\s*: (.*)", cpuinfo.read_text())
        name = models[0] if models else name
    return f"{platform.system()}, {name}, {threads} thread{'s' * (threads > 1)}, torch {torch.__version__}"


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    recipe, sizes = TrainConfig(minutes=1.0), ModelConfig(src_vocab=1, tgt_vocab=1)
    parser = argparse.ArgumentParser(
        prog="python -m utils.training",
        description="Train a translation model on Tatoeba or on your own pairs. Called again, it goes on where it was.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, default=ROOT / "data/checkpoints/zh-en", help="checkpoint folder")
    add("--fresh", action="store_true", help="start anew, overwriting what is in the folder")
    add("--pairs", type=Path, help="train on this TSV of source, tab, target instead of Tatoeba")
    add("--glosses", type=int, default=10_000, help="dictionary glosses that join the training pairs of Tatoeba")
    add("--minutes", type=float, help="minutes of computing, checks not counted; 70 if no limit is given")
    add("--steps", type=int, help="number of updates; the earlier of the two limits ends training")
    add("--model", choices=sorted(checkpoint.MODELS), default="transformer", help="the kind of model")
    for name in ("d_model", "n_heads", "n_layers", "d_ff"):
        add("--" + name.replace("_", "-"), type=int, help=f"default {getattr(sizes, name)} for a Transformer")
    add("--dropout", type=float, default=0.2, help="share of activations dropped")
    add("--tgt-vocab", type=int, default=4000, help="English subwords")
    for name in ("batch_tokens", "warmup", "accumulate", "seed"):
        add("--" + name.replace("_", "-"), type=int, default=getattr(recipe, name), help=HELP[name])
    for name in ("lr", "weight_decay", "label_smoothing", "clip", "ema", "cooldown", "eval_minutes"):
        add("--" + name.replace("_", "-"), type=float, default=getattr(recipe, name), help=HELP[name])
    add("--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="auto: the faster on this machine")
    add("--compile", action="store_true", help="torch.compile: worth its minutes of warm-up on a GPU")
    add("--device", help="cpu, cuda or mps; by default CUDA where there is one")
    add("--threads", type=int, help="CPU threads; by default all cores")
    return parser.parse_args(argv)


HELP = {
    "batch_tokens": "padded tokens in a batch",
    "warmup": "steps over which the learning rate rises",
    "accumulate": "batches that make one update",
    "seed": "seed of everything random",
    "lr": "peak learning rate",
    "weight_decay": "pull of every weight towards zero",
    "label_smoothing": "probability given to wrong tokens",
    "clip": "largest norm of the gradient",
    "ema": "decay of the running average of the weights; 0 for none",
    "cooldown": "share of the run at the end over which the learning rate falls to zero",
    "eval_minutes": "minutes between checks on dev, each followed by a save",
}


def prepare(args: argparse.Namespace, world: World = ALONE) -> tuple[Trainer, Tokenizer, list[corpus.TestItem]]:
    """Data, tokenizer, model and trainer that the arguments ask for."""
    device = pick_device(args.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    set_threads(args.threads)
    if args.pairs:
        train, dev, tokenizer, report = pairs.prepare(args.pairs, args.tgt_vocab)
        if world.leads:
            print(report)
    else:
        tatoeba = corpus.load()
        found = tatoeba.train + dictionary.glosses(tatoeba, limit=args.glosses) if args.glosses else tatoeba.train
        zh, en, dev = [p.zh for p in found], [p.en for p in found], tatoeba.dev
        tokenizer = Tokenizer.train(zh, en, args.tgt_vocab)
        train = Encoded.from_lists(tokenizer.encode_src(zh), tokenizer.encode_tgt(en))
    sizes = {"rnn": {"d_ff": 512, "n_layers": 1}}.get(args.model, {})
    sizes |= {k: v for k in ("d_model", "n_heads", "n_layers", "d_ff") if (v := getattr(args, k)) is not None}
    model_config = ModelConfig(tokenizer.src_vocab, tokenizer.tgt_vocab, kind=args.model, dropout=args.dropout, **sizes)
    precision = args.precision
    if precision == "auto":
        precision = "bfloat16" if has_fast_bfloat16(device) else "float32"
    minutes = 70.0 if args.minutes is None and args.steps is None else args.minutes
    own = {f.name: getattr(args, f.name) for f in fields(TrainConfig) if f.name in HELP}
    config = TrainConfig(steps=args.steps, minutes=minutes, precision=precision, compile=args.compile, **own)
    seed_everything(config.seed)
    longest = train.longest()
    if longest.length > config.batch_tokens:
        where = f"Line {longest.line:,} of {args.pairs}" if args.pairs else "A sentence"
        raise TrainingError(
            f"{where} has {longest.length:,} tokens, which fits in no batch of --batch-tokens {config.batch_tokens:,}: "
            f"give --batch-tokens {longest.length} or more."
        )
    data = EpochBatches(train.src, train.tgt, config.batch_tokens, config.seed)
    return Trainer(checkpoint.build(model_config), config, data, device, world), tokenizer, dev


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    try:
        with joined() as world:
            return run(args, world)
    except Unreachable as error:
        print(
            f"Another process of this run has died or cannot be reached ({error}). {what_is_saved(args.out)}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # an orderly exit takes the connections down, and may wait for the dead process
    except (TrainingError, corpus.CorpusError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print(f"\nStopped at once; what was saved in {args.out} is whole.", file=sys.stderr)
        return 130
    return 1


def run(args: argparse.Namespace, world: World) -> int:
    """Train as the arguments say, reporting and saving on the way; 0 when done, 130 when interrupted.

    Of several processes the first one alone touches the folder, checks on dev, and prints.
    """
    trainer, tokenizer, dev = prepare(args, world)
    folder, config = args.out, trainer.model.config
    dev_src = tokenizer.encode_src([item.zh for item in dev])
    dev_tgt = tokenizer.encode_tgt([item.references[0] for item in dev])
    evaluated = checkpoint.build(config).to(trainer.device)

    def say(text: str) -> None:
        if world.leads:
            print(text)

    def report(trainer: Trainer) -> dict:
        evaluated.load_state_dict(trainer.weights())
        translator = Translator(evaluated, tokenizer, trainer.device)
        row = {"dev_nll": round(dev_nll(evaluated, dev_src, dev_tgt, trainer.device), 4)}
        row["dev_bleu"] = evaluate(translator, dev, beam_size=1)["bleu"]
        return row

    def save(trainer: Trainer) -> None:
        log = {
            "command": "python -m utils.training " + " ".join(sys.argv[1:]),
            "machine": machine(trainer.device),
            "processes": world.size,
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
            "pairs": len(trainer.data.src),
            "training": asdict(trainer.config),
            "history": trainer.progress.history,
        }
        state = io.BytesIO()
        torch.save(trainer.state(), state)
        # The state first: a run killed between two renames goes on from what it has done.
        checkpoint.write_files(
            folder,
            {"train_state.pt": lambda path: path.write_bytes(state.getbuffer())}
            | checkpoint.model_writers(trainer.weights(), config, tokenizer, half=True)
            | {"training.json": lambda path: path.write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")},
        )

    with alone_in(folder) if world.leads else nullcontext():
        state = world.from_first(saved_state(folder) if world.leads and not args.fresh else None)
        if state is not None:
            resume(trainer, state, folder)
            p = trainer.progress
            if trainer.fraction_done() >= 1:
                if world.leads and any(folder.glob(".*.tmp")):
                    save(trainer)  # it was killed between the last renames: the weights are older than the state
                say(
                    f"Training in {folder} is complete ({p.step} steps, {p.minutes:.1f} minutes): give a larger "
                    "--steps or --minutes to go on."
                )
                return 0
            say(f"Going on in {folder} at step {p.step}.")
        with stopped_by_signals(trainer):
            trainer.fit(report, save)
    if trainer.fraction_done() < 1:
        if world.leads:
            print(f"\nStopped and saved in {folder}; the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other trainings out of it; TrainingError when one is in it, OSError without a folder.

    The lock is the operating system's: it goes with the process that holds it, however that ends.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".training.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise TrainingError(
            f"Another training is at work in {folder}: wait for its end, stop it, or give another --out."
        ) from None
    except OSError as error:
        raise TrainingError(f"Cannot write in {folder}: {error.strerror}. Mend that, or give another --out.") from None
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / ".training.lock").unlink()  # while it is held, so that nobody has just taken it
        lock.release()


@contextmanager
def stopped_by_signals(trainer: Trainer) -> Iterator[None]:
    """Ctrl-C, or the SIGTERM of a machine that needs its time back, lets the step under way end, and be saved.

    In the middle of a step some weights would be new and some old. A second signal acts at once.
    """
    if threading.current_thread() is not threading.main_thread():  # signals reach Python's main thread alone
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, _) -> None:
        trainer.stopping = True
        restore()
        if number == signal.SIGINT and trainer.world.leads:
            # Not print: what it writes to may be in the middle of printing.
            os.write(2, b"\nStopping after this step; Ctrl-C again stops at once, and saves nothing.\n")

    try:
        for number in before:
            signal.signal(number, stop)
        yield
    except Unreachable:  # torchrun now sends SIGTERM to those who are left: they have a sentence to say first
        before.update(dict.fromkeys(before, signal.SIG_IGN))
        raise
    finally:
        restore()


def saved_state(folder: Path) -> bytes | None:
    """The training state in a folder, None when nothing was begun there.

    Raises TrainingError where there is a checkpoint without it.
    """
    if (folder / "train_state.pt").exists():
        return (folder / "train_state.pt").read_bytes()
    if (folder / "model.safetensors").exists():
        raise TrainingError(
            f"{folder} holds a finished checkpoint without its training state: give another --out, or --fresh to "
            "train anew and overwrite it."
        )
    return None


def what_is_saved(folder: Path) -> str:
    """A sentence on what the same command will find."""
    try:
        state = torch.load(folder / "train_state.pt", map_location="cpu", mmap=True, weights_only=True)
    except Exception:  # not there, most likely; torch.load raises many kinds
        return f"There is nothing in {folder} to go on from yet: the same command begins anew."
    return f"The checkpoint in {folder} is whole: the same command goes on from step {state['progress']['step']}."


def resume(trainer: Trainer, state: bytes, folder: Path) -> None:
    """Load a training state; TrainingError when it cannot be continued with this model."""
    try:
        trainer.load_state(torch.load(io.BytesIO(state), map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load and load_state_dict raise many kinds; none is worth a traceback here
        raise TrainingError(
            f"{folder / 'train_state.pt'} does not fit this command ({checkpoint.reason(error)}): repeat the command "
            "that began it, or give --fresh."
        ) from None


if __name__ == "__main__":
    sys.exit(main())
