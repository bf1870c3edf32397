"""The command that trains a model: on Tatoeba or on somebody's pairs; stop, go on, alone or with others (lesson 08).

python -m utils.training --help
"""

import argparse
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TextIO

import torch

from utils import augment, checkpoint, corpus, dictionary, pairs, synthetic
from utils.batching import EpochBatches
from utils.config import (
    CHECKPOINT,
    MINUTES,
    ROOT,
    DataConfig,
    ModelConfig,
    TrainConfig,
    add_flags,
    flag,
    from_flags,
    refuse_another,
)
from utils.distributed import Unreachable, broadcast, is_main, process_group, world_size
from utils.evaluation import evaluate
from utils.files import write_files
from utils.provenance import command, machine
from utils.runtime import has_fast_bfloat16, out_of_memory, pick_device, seed_everything, set_threads, utf8_output
from utils.sequences import Encoded
from utils.tokenizer import Tokenizer
from utils.trainer import NotFinite, Trainer, dev_nll, schedule
from utils.translate import Translator, refuse_others

__all__ = ["Trainer", "TrainingError", "dev_nll", "machine", "main", "schedule"]


class TrainingError(RuntimeError):
    """Training cannot begin or go on; the message says why and what to do."""


# ---- the command ----


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The flags: those of the three records, and what concerns this run on this machine alone."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.training",
        usage="python -m utils.training [--help] [--flag value ...]",
        description="Train a translation model on Tatoeba or on your own pairs. Called again, it goes on where it was.",
    )
    add = parser.add_argument
    add("--out", type=Path, default=CHECKPOINT, help=f"checkpoint folder (default: {CHECKPOINT.relative_to(ROOT)})")
    add("--fresh", action="store_true", help="start anew, overwriting what is in the folder")
    for record in (DataConfig, ModelConfig, TrainConfig):
        add_flags(parser, record)
    add("--device", help="cpu, cuda or mps (default: cuda where there is a GPU)")
    add("--threads", type=int, help="CPU threads (default: all cores)")
    parser.set_defaults(command=command("utils.training", argv))  # for the log
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Train a model; returns 0 when training is complete, 130 when it was interrupted, 1 when it could not go on."""
    utf8_output()
    args = parse_arguments(argv)
    try:
        with process_group():
            return train(args)
    except Unreachable as error:
        print(
            f"Another process of this run has died or cannot be reached ({error}). {what_is_saved(args.out)}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # an orderly exit takes the connections down, and may wait for the dead process
    except NotFinite as error:
        print(
            f"{error}: it was not applied, and what was saved in {args.out} is as it was. Begin anew (--fresh, or "
            "another --out) with a lower --lr, a longer --warmup, or --precision float32.",
            file=sys.stderr,
        )
    except (TrainingError, checkpoint.CheckpointError, corpus.CorpusError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        print(
            "The memory is too small for this model and these batches: lower --batch-tokens (and raise --accumulate to "
            "make up for it), or --d-model, --d-ff and --n-layers.",
            file=sys.stderr,
        )
    except KeyboardInterrupt:
        print(f"\nStopped at once; what was saved in {args.out} is whole.", file=sys.stderr)
        return 130
    return 1


def train(args: argparse.Namespace) -> int:
    """Train as the arguments say, and save on the way.

    Of several processes the main one alone touches the folder, checks on dev, and prints.
    """
    run, folder = prepare(args), args.out
    trainer = run.trainer
    with alone_in(folder) if is_main() else nullcontext():
        state = broadcast(saved_state(folder) if is_main() and not args.fresh else None)
        if state is not None:
            run.resume(state)
            step, minutes = trainer.progress.step, trainer.progress.minutes
            if trainer.fraction_done() >= 1:
                if is_main() and any(folder.glob(".*.tmp")):
                    run.save(trainer)  # it was killed between the last renames: the weights are older than the state
                say(
                    f"Training in {folder} is complete ({step} steps, {minutes:.1f} minutes): give a larger --steps or "
                    "--minutes to go on."
                )
                return 0
            say(f"Going on in {folder} at step {step}.")
        with stopped_by_signals(trainer):
            trainer.fit(run.report, run.save)
    if trainer.fraction_done() < 1:
        say(f"\nStopped and saved in {folder}; the same command goes on from here.", sys.stderr)
        return 130
    return 0


def say(text: str, file: TextIO | None = None) -> None:
    """Print it, once for all processes."""
    if is_main():
        print(text, file=file)


# ---- what is trained ----


@dataclass
class Run:
    """One run of the command: a trainer, the data that it learns from, and the folder where it is kept."""

    trainer: Trainer
    tokenizer: Tokenizer
    dev: list[corpus.TestItem]
    data_config: DataConfig
    folder: Path
    command: str

    @cached_property
    def translator(self) -> Translator:
        """A second model, for the checks on dev: the one being trained keeps its weights."""
        return Translator(checkpoint.build(self.trainer.model.config), self.tokenizer, self.trainer.device)

    def report(self, trainer: Trainer) -> dict:
        """What `fit` asks for figures: the loss on dev, and BLEU of greedy translations."""
        model = self.translator.model
        model.load_state_dict(trainer.weights())
        src = self.tokenizer.encode_src([item.zh for item in self.dev])
        tgt = self.tokenizer.encode_tgt([item.references[0] for item in self.dev])
        row = {"dev_nll": round(dev_nll(model, src, tgt, trainer.device), 4)}
        return row | {"dev_bleu": evaluate(self.translator, self.dev, beam_size=1)["bleu"]}

    def save(self, trainer: Trainer) -> None:
        """What `fit` calls to save: the state to resume from, the checkpoint, and the log."""
        log = {
            "command": self.command,
            "machine": machine(trainer.device),
            "processes": world_size(),
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
            "pairs": len(trainer.data.src),
            "fingerprint": f"{trainer.fingerprint:014x}",
            "data": asdict(self.data_config),
            "training": asdict(trainer.config),
            "history": trainer.progress.history,
        }
        state = io.BytesIO()
        torch.save(trainer.state() | {"data_config": asdict(self.data_config)}, state)
        # The state first: a run killed between two renames goes on from what it has done.
        write_files(
            self.folder,
            {"train_state.pt": state.getvalue()}
            | checkpoint.model_files(trainer.weights(), trainer.model.config, self.tokenizer, half=True)
            | {"training.json": json.dumps(log, indent=1, ensure_ascii=False) + "\n"},
        )

    def resume(self, state: bytes) -> None:
        """Load a saved state; TrainingError when it is damaged, or of a run that learned something else."""
        try:
            loaded = torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
            if "train_config" not in loaded:
                raise ValueError("an earlier version of the course wrote it, which did not note the settings")
            refuse_another(self.data_config, loaded["data_config"])
            self.trainer.load_state(loaded)
        except ValueError as error:
            raise TrainingError(
                f"Training in {self.folder} cannot go on, since {error}: repeat the command that began it, or give "
                "--fresh or another --out."
            ) from None
        except Exception as error:  # torch.load and load_state_dict raise many kinds; none is worth a traceback here
            raise TrainingError(
                f"{self.folder / 'train_state.pt'} is damaged ({checkpoint.reason(error)}): give --fresh or another "
                "--out."
            ) from None


def prepare(args: argparse.Namespace) -> Run:
    """What the arguments ask for. What can be checked without the pairs, which may be many, is checked before them."""
    device = pick_device(args.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    set_threads(args.threads)
    data_config = from_flags(DataConfig, args)
    refuse_files(args.out, data_config)
    start, tokenizer = begin_with(data_config) if data_config.start else (None, None)
    vocabularies = {"src_vocab": data_config.tgt_vocab, "tgt_vocab": data_config.tgt_vocab}
    model_config = from_flags(ModelConfig, args, **vocabularies)
    if start is not None:
        refuse_other_sizes(args, start.config)
        model_config = start.config if args.dropout is None else replace(start.config, dropout=args.dropout)
    if not hasattr(checkpoint.MODELS[model_config.kind], "step"):
        raise TrainingError(f"--model {model_config.kind} does not write: it cannot learn to translate.")
    left_open = {}
    if args.precision in (None, "auto"):
        left_open["precision"] = "bfloat16" if has_fast_bfloat16(device) else "float32"
    if args.steps is None and args.minutes is None:
        left_open["minutes"] = MINUTES
    config = from_flags(TrainConfig, args, **left_open)

    encoded, dev, tokenizer = read(data_config, tokenizer)
    refuse_too_long(encoded, data_config, config)
    seed_everything(config.seed)
    model_config = replace(model_config, src_vocab=tokenizer.src_vocab, tgt_vocab=tokenizer.tgt_vocab)
    data = EpochBatches(encoded.src, encoded.tgt, config.batch_tokens, config.seed)
    model = checkpoint.build(model_config)
    if start is not None:
        model.load_state_dict(start.state_dict())
    trainer = Trainer(model, config, data, device)
    return Run(trainer, tokenizer, dev, data_config, args.out, args.command)


def read(config: DataConfig, tokenizer: Tokenizer | None = None) -> tuple[Encoded, list[corpus.TestItem], Tokenizer]:
    """The training pairs as ids, the dev sentences and the tokenizer: of somebody's own file, or of Tatoeba.

    A tokenizer that is given is used, and none is learned.
    """
    if config.pairs:
        encoded, dev, tokenizer, report = pairs.prepare(config.pairs, config.tgt_vocab, config.source)
        say(report)
        return encoded, dev, tokenizer
    tatoeba = corpus.load()
    found = list(tatoeba.train)
    if config.glosses:
        found += dictionary.glosses(tatoeba, limit=config.glosses)
    held_out = synthetic.HeldOut(tatoeba)
    if config.compounds:
        found += held_out.filtered(dictionary.compounds(tatoeba, config.compounds))
    if config.numbers:
        found += held_out.filtered(augment.pairs(tatoeba.train, config.numbers))
    if config.names:
        found += held_out.filtered(augment.other_names(tatoeba.train, config.names))
    if config.copies:
        found += held_out.filtered(augment.copies(tatoeba.train, config.copies))
    if config.practice:
        found += held_out.filtered(augment.practice(tatoeba.train, config.practice))
    if config.more_practice:
        found += held_out.filtered(augment.more_practice(tatoeba.train, config.more_practice))
    if config.joined:
        found += augment.joined(tatoeba.train, config.joined)
    if tokenizer is None:
        tokenizer = Tokenizer.train([pair.zh for pair in found], [pair.en for pair in found], config.tgt_vocab)
        tokenizer = tokenizer.reversed() if config.reverse else tokenizer
    for path in synthetic_files(config):
        found += synthetic.read(path, held_out)
    src, tgt = [pair.zh for pair in found], [pair.en for pair in found]
    dev = tatoeba.dev
    if config.reverse:
        src, tgt = tgt, src
        dev = [corpus.TestItem(item.references[0], (item.zh,)) for item in dev]
    return Encoded.from_lists(tokenizer.encode_src(src), tokenizer.encode_tgt(tgt)), dev, tokenizer


def synthetic_files(config: DataConfig) -> list[Path]:
    """The files that `--synthetic` names."""
    return [Path(name) for name in (config.synthetic or "").split(",") if name]


def begin_with(config: DataConfig) -> tuple[torch.nn.Module, Tokenizer]:
    """The model and the tokenizer that `--start` names.

    CheckpointError where they are no translator, TrainingError where they translate the other way.
    """
    model, tokenizer = checkpoint.load_model(config.start)
    refuse_others(config.start, model, tokenizer)
    if (tokenizer.source != "zh") != config.reverse:
        raise TrainingError(f"{config.start} translates the other way: give --reverse to both trainings or to none.")
    return model, tokenizer


def refuse_files(out: Path, config: DataConfig) -> None:
    """TrainingError where `--out` cannot be a folder, or a file of `--synthetic` is not there."""
    there = next(path for path in (out, *out.parents) if path.exists())
    if is_main() and not there.is_dir():
        raise TrainingError(f"--out {out} cannot be a folder, since {there} is a file: give another --out.")
    for path in synthetic_files(config):
        if not path.is_file():
            raise TrainingError(f"--synthetic: there is no file {path}; `python -m utils.synthetic` writes one.")


def refuse_other_sizes(args: argparse.Namespace, config: ModelConfig) -> None:
    """TrainingError when a flag gives the model another size than the checkpoint that it begins with."""
    flags = {f.name: flag(f) for record in (ModelConfig, DataConfig) for f in fields(record)}
    # English, whose vocabulary --tgt-vocab sizes, is the source of a model that translates the other way.
    sizes = asdict(config) | {"tgt_vocab": config.src_vocab if args.reverse else config.tgt_vocab}
    for name, size in sizes.items():
        given = getattr(args, name, None)
        if given not in (None, size) and name != "dropout":
            raise TrainingError(f"--start {args.start} has {flags[name]} {size}: leave out {flags[name]} {given}.")


def refuse_too_long(encoded: Encoded, data_config: DataConfig, config: TrainConfig) -> None:
    """TrainingError, before anything is trained, when a pair fits in no batch."""
    longest = encoded.longest()
    if longest.length > config.batch_tokens:
        where = f"Line {longest.line:,} of {data_config.pairs}" if longest.line else "A sentence"
        raise TrainingError(
            f"{where} has {longest.length:,} tokens, which fits in no batch of --batch-tokens {config.batch_tokens:,}: "
            f"give --batch-tokens {longest.length} or more."
        )


# ---- the folder ----


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other trainings out of it; TrainingError when one is in it, or nothing can be written.

    The lock is the operating system's: it goes with the process that holds it, however that ends.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".training.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
        if number == signal.SIGINT and is_main():
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
    """A sentence on what the same command will find; only the main process's machine has the folder."""
    if not is_main():
        return f"The same command goes on from what rank 0 has saved in its {folder}, or begins anew."
    try:
        state = torch.load(folder / "train_state.pt", map_location="cpu", mmap=True, weights_only=True)
    except Exception:  # not there, most likely; torch.load raises many kinds
        return f"There is nothing in {folder} to go on from yet: the same command begins anew."
    return f"The checkpoint in {folder} is whole: the same command goes on from step {state['progress']['step']}."


if __name__ == "__main__":
    sys.exit(main())
