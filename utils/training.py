"""Training a translation model: optimizer, averaging, checkpoints, and the command `make train` (lesson 08).

python -m utils.training --help
"""

import argparse
import json
import platform
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from utils import checkpoint, corpus
from utils.batching import Batch, EpochBatches, chunks, make_batch, token_batches
from utils.config import ROOT, ModelConfig, TrainConfig
from utils.evaluation import evaluate
from utils.loss import batch_loss
from utils.runtime import (
    autocast,
    computing_seconds,
    has_fast_bfloat16,
    pick_device,
    seed_everything,
    set_threads,
)
from utils.tokenizer import Tokenizer
from utils.translate import Translator

# ---------------------------------------------------------------------------------------------------- trainer


def schedule(progress: float, step: int, warmup: int, cooldown: float) -> float:
    """Factor on the learning rate: up over `warmup` steps, level, and down to zero over the last `cooldown` share."""
    return min((step + 1) / max(1, warmup), 1.0) * min(1.0, (1.0 - min(progress, 1.0)) / max(cooldown, 1e-9))


@dataclass
class Progress:
    """Where a run is. `batch` counts within the epoch, `minutes` and `tokens` over the whole run, pauses left out."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    minutes: float = 0.0
    tokens: int = 0
    history: list[dict] = field(default_factory=list)


class Trainer:
    """One model being trained on one set of pairs: `fit` runs to the end, `save` and `resume` keep what is needed.

    A resumed run equals an uninterrupted one: the order of batches depends on (seed, epoch) alone, and the state of the
    random generators travels with the checkpoint.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, data: EpochBatches, device: torch.device):
        self.model, self.config, self.data, self.device = model.to(device), config, data, device
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.lr, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True
        )
        self.loss = torch.compile(batch_loss, dynamic=True) if config.compile else batch_loss
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.fingerprint = data.fingerprint()
        self.progress = Progress()

    def fraction_done(self) -> float:
        """0 at the start, 1 when the steps or the minutes are used up."""
        c, p = self.config, self.progress
        by_steps = p.step / c.steps if c.steps else 0.0
        by_minutes = p.minutes / c.minutes if c.minutes else 0.0
        return max(by_steps, by_minutes)

    def train_step(self, batches: list[Batch]) -> tuple[Tensor, int]:
        """One update from one or several batches (gradient accumulation), as if they were one large batch.

        Losses are sums, divided by the number of real target tokens in all of them. Returns the summed -log p (on the
        device: nothing waits for it) and that number.
        """
        c, p = self.config, self.progress
        self.model.train()
        factor = schedule(self.fraction_done(), p.step, c.warmup, c.cooldown)
        for group in self.optimizer.param_groups:
            group["lr"] = c.lr * factor
        n_tokens = sum(batch.n_targets for batch in batches)
        total = torch.zeros((), device=self.device)
        for batch in batches:
            with autocast(self.device, c.precision):
                loss, nll = self.loss(self.model, batch.to(self.device), c.label_smoothing)
            (loss / n_tokens).backward()
            total += nll
        nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        p.step += 1
        p.tokens += n_tokens
        if c.ema:
            decay = min(c.ema, (1 + p.step) / (10 + p.step))  # a young average forgets its random start quickly
            with torch.no_grad():
                torch._foreach_lerp_(list(self.average.values()), list(self.model.parameters()), 1 - decay)
        return total, n_tokens

    def weights(self) -> dict[str, Tensor]:
        """What is evaluated and shipped: the running average, or the weights themselves when there is none."""
        return self.average if self.config.ema else dict(self.model.named_parameters())

    def fit(self, report: Callable[["Trainer"], dict] | None = None, save: Callable | None = None, bar: bool = True):
        """Train to the end. Every `eval_minutes`, and at the end, `report` is asked for figures and `save` called.

        Time spent in `report` and `save` does not count as training time.
        """
        p = self.progress
        started = computing_seconds(self.device) - 60 * p.minutes
        next_report = p.minutes + self.config.eval_minutes
        nll, counted = torch.zeros((), device=self.device), 0
        with tqdm(
            total=100, unit="%", disable=not bar, bar_format="{desc} {percentage:3.0f}%|{bar}| {postfix}"
        ) as meter:
            while self.fraction_done() < 1:
                for indices in self.steps_of_epoch():
                    step_nll, n_tokens = self.train_step([self.data.batch(i) for i in indices])
                    nll, counted = nll + step_nll, counted + n_tokens
                    p.minutes = (computing_seconds(self.device) - started) / 60
                    p.batch += len(indices)
                    done = self.fraction_done()
                    if p.step % 20 == 0 or done >= 1:
                        meter.n = min(100.0, 100 * done)
                        meter.set_postfix_str(
                            f"step {p.step}, epoch {p.epoch}, {p.tokens / p.minutes / 60:,.0f} tokens/s"
                        )
                    if report and (p.minutes >= next_report or done >= 1):
                        row = {"minutes": round(p.minutes, 2), "step": p.step, "epoch": p.epoch, "tokens": p.tokens}
                        row["train_nll"] = round((nll / counted).item(), 4)
                        p.history.append(row | report(self))
                        if bar:
                            tqdm.write(json.dumps(p.history[-1]))
                        nll, counted = torch.zeros_like(nll), 0
                        if save:
                            save(self)
                        next_report = p.minutes + self.config.eval_minutes
                        started = computing_seconds(self.device) - 60 * p.minutes
                    if done >= 1:
                        break
                else:
                    p.epoch, p.batch = p.epoch + 1, 0
        return self

    def steps_of_epoch(self) -> Iterator[list[list[int]]]:
        """The rest of this epoch, `accumulate` batches of indices at a time."""
        return chunks(self.data.indices(self.progress.epoch)[self.progress.batch :], self.config.accumulate)

    # ---- stopping and going on ----

    def state(self) -> dict:
        """All that a later process needs to continue as if nothing had happened."""
        cuda = torch.cuda.get_rng_state_all() if self.device.type == "cuda" else []
        return {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
            "data": self.fingerprint,
            "rng": {"cpu": torch.get_rng_state(), "cuda": cuda},
        }

    def load_state(self, state: dict) -> None:
        """Continue from a `state`; ValueError when it belongs to other pairs, RuntimeError when to another model."""
        if state.get("data", self.fingerprint) != self.fingerprint:
            raise ValueError("it was begun with other pairs, or another cut into tokens")
        self.model.load_state_dict(state["model"])
        for name, tensor in state["average"].items():
            self.average[name].copy_(tensor)
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        torch.set_rng_state(state["rng"]["cpu"].cpu())
        if self.device.type == "cuda" and state["rng"]["cuda"]:
            torch.cuda.set_rng_state_all([s.cpu() for s in state["rng"]["cuda"]])


# ---------------------------------------------------------------------------------------------------- command


class TrainingError(RuntimeError):
    """Training cannot begin or go on; the message says why and what to do."""


@torch.inference_mode()
def dev_nll(model: nn.Module, src: list[list[int]], tgt: list[list[int]], device: torch.device) -> float:
    """Mean -log p of a dev token, without dropout or smoothing."""
    model.eval()
    nll = tokens = 0.0
    for indices in token_batches([max(len(s), len(t) + 1) for s, t in zip(src, tgt, strict=True)], 4000):
        batch = make_batch([src[i] for i in indices], [tgt[i] for i in indices]).to(device)
        nll += batch_loss(model, batch, eps=0.0)[1].item()
        tokens += batch.n_targets
    return nll / tokens


def machine() -> str:
    """A line for the log: what computed this."""
    threads = torch.get_num_threads()
    name = platform.processor() or platform.machine()
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    elif (cpuinfo := Path("/proc/cpuinfo")).exists():  # on Linux the platform module knows the architecture alone
        models = re.findall(r"model name\s*: (.*)", cpuinfo.read_text())
        name = models[0] if models else name
    return f"{platform.system()}, {name}, {threads} thread{'s' * (threads > 1)}, torch {torch.__version__}"


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """The pairs of a two-column TSV: source, tab, target, a pair a line, UTF-8. Empty lines are skipped.

    Raises TrainingError naming the line that is not such a pair.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"Cannot read {path} as UTF-8 text: {error}") from None
    pairs = []
    for number, line in enumerate(lines, start=1):
        cells = [cell.strip() for cell in line.split("\t")]
        if not any(cells):
            continue
        if len(cells) != 2 or not all(cells):
            raise TrainingError(f"{path}, line {number}: expected source, one tab, target; found {line[:60]!r}.")
        pairs.append((cells[0], cells[1]))
    if len(pairs) < 20:
        raise TrainingError(f"{path} holds {len(pairs)} pairs; at least 20 are needed to train and to check on some.")
    return pairs


def split_pairs(
    pairs: list[tuple[str, str]], held_out: float = 0.05
) -> tuple[list[corpus.Pair], list[corpus.TestItem]]:
    """Somebody's own pairs, cleaned and split without leaks as the corpus is: (train, dev); dev has at most 1,000."""
    rows = [corpus.Row(i, corpus.clean(zh), i, corpus.clean_english(en)) for i, (zh, en) in enumerate(pairs)]
    n_dev = max(1, min(1000, int(held_out * len(corpus.group(rows)))))
    split = corpus.split(rows, n_test=0, n_dev=n_dev)
    if not split.train:
        raise TrainingError("All pairs share sentences with one another, so none can be held out to check on.")
    return split.train, split.dev


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


def prepare(args: argparse.Namespace) -> tuple[Trainer, Tokenizer, list[corpus.TestItem]]:
    """Data, tokenizer, model and trainer that the arguments ask for."""
    device = pick_device(args.device)
    set_threads(args.threads)
    if args.pairs:
        train, dev = split_pairs(read_pairs(args.pairs))
    else:
        tatoeba = corpus.load()
        train, dev = tatoeba.train, tatoeba.dev
        train = train + corpus.glosses(tatoeba, limit=args.glosses) if args.glosses else train
    tokenizer = Tokenizer.train((p.zh for p in train), (p.en for p in train), args.tgt_vocab)
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
    data = EpochBatches(
        tokenizer.encode_src([p.zh for p in train]),
        tokenizer.encode_tgt([p.en for p in train]),
        config.batch_tokens,
        config.seed,
    )
    return Trainer(checkpoint.build(model_config), config, data, device), tokenizer, dev


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    try:
        return run(args)
    except (TrainingError, corpus.CorpusError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def run(args: argparse.Namespace) -> int:
    """Train as the arguments say, reporting and saving on the way; 0 when done, 130 when interrupted."""
    trainer, tokenizer, dev = prepare(args)
    folder, state_file = args.out, args.out / "train_state.pt"
    config = trainer.model.config
    folder.mkdir(parents=True, exist_ok=True)  # if that fails, it should now, not at the first save
    dev_src = tokenizer.encode_src([item.zh for item in dev])
    dev_tgt = tokenizer.encode_tgt([item.references[0] for item in dev])
    evaluated = checkpoint.build(config).to(trainer.device)
    # After everything that draws random numbers: the state of the generators is restored here.
    if not args.fresh and (state_file.exists() or (folder / "model.safetensors").exists()):
        resume(trainer, folder)
        p = trainer.progress
        if trainer.fraction_done() >= 1:
            print(
                f"Training in {folder} is complete ({p.step} steps, {p.minutes:.1f} minutes): give a larger --steps "
                "or --minutes to go on."
            )
            return 0
        print(f"Going on in {folder} at step {p.step}.")

    def report(trainer: Trainer) -> dict:
        evaluated.load_state_dict(trainer.weights())
        translator = Translator(evaluated, tokenizer, trainer.device)
        row = {"dev_nll": round(dev_nll(evaluated, dev_src, dev_tgt, trainer.device), 4)}
        row["dev_bleu"] = evaluate(translator, dev, beam_size=1)["bleu"]
        return row

    def save(trainer: Trainer) -> None:
        # The state first: a run killed between the two files goes on from what it has done.
        checkpoint.write_atomically(state_file, lambda path: torch.save(trainer.state(), path))
        checkpoint.save_model(folder, trainer.weights(), config, tokenizer, half=True)
        log = {
            "command": "python -m utils.training " + " ".join(sys.argv[1:]),
            "machine": machine(),
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
            "pairs": len(trainer.data.src),
            "training": asdict(trainer.config),
            "history": trainer.progress.history,
        }
        checkpoint.write_text_atomically(folder / "training.json", json.dumps(log, indent=1) + "\n")

    try:
        trainer.fit(report, save)
    except KeyboardInterrupt:
        save(trainer)
        print(f"\nStopped and saved in {folder}; the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


def resume(trainer: Trainer, folder: Path) -> None:
    """Load the folder's training state; TrainingError when it cannot be continued with this model."""
    try:
        state = torch.load(folder / "train_state.pt", map_location="cpu", weights_only=True)
        trainer.load_state(state)
    except FileNotFoundError:
        raise TrainingError(
            f"{folder} holds a finished checkpoint without its training state: give another --out, or --fresh to "
            "train anew and overwrite it."
        ) from None
    except Exception as error:  # torch.load and load_state_dict raise many kinds; none is worth a traceback here
        raise TrainingError(
            f"{folder / 'train_state.pt'} does not fit this command ({checkpoint.reason(error)}): repeat the command "
            "that began it, or give --fresh."
        ) from None


if __name__ == "__main__":
    sys.exit(main())
