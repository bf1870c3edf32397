"""JoeyNMT given a budget: `python -m benchmarks.peers.quality FOLDER MINUTES` trains and translates the test there.

FOLDER has train.zh, train.en, the same of dev and test, and config.json: JoeyNMT's configuration but for file names.
"""

import json
import resource
import signal
import sys
from pathlib import Path

import sentencepiece
import torch
from joeynmt import builders, training
from joeynmt.helpers import make_model_dir
from joeynmt.helpers_for_ddp import get_logger
from joeynmt.prediction import test


def stop_after(minutes: float) -> None:
    """From now on, so many minutes of computing; then Ctrl-C, upon which JoeyNMT saves a checkpoint and ends."""

    def stop(*_):
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)  # it would come again every second
        raise KeyboardInterrupt

    signal.signal(signal.SIGXCPU, stop)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime + 60 * minutes + 0.5)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


class Plateau(torch.optim.lr_scheduler.ReduceLROnPlateau):
    """PyTorch's, with the argument that JoeyNMT 2.3 still gives it and PyTorch has dropped."""

    def __init__(self, *args, verbose: bool = False, **kwargs):
        super().__init__(*args, **kwargs)


class Budgeted(training.TrainManager):
    """JoeyNMT's trainer, whose time counts from the first batch on."""

    minutes = 1.0

    def train_and_validate(self, *args, **kwargs):
        stop_after(self.minutes)
        super().train_and_validate(*args, **kwargs)
        s = self.stats
        (self.model_dir / "progress.json").write_text(json.dumps({"steps": s.steps, "tokens": s.total_tokens}))


def main() -> None:
    folder, minutes = Path(sys.argv[1]).resolve(), float(sys.argv[2])
    torch.set_num_threads(1)
    cfg = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "train.en"),
        model_prefix=str(folder / "en"),
        vocab_size=cfg["data"]["trg"]["voc_limit"],
        model_type="bpe",
        character_coverage=1.0,
        minloglevel=1,
    )
    cfg["data"] |= {name: str(folder / name) for name in ("train", "dev", "test")}
    cfg["data"]["trg"]["tokenizer_cfg"]["model_file"] = str(folder / "en.model")
    cfg["model_dir"] = str(folder / "model")
    make_model_dir(folder / "model", overwrite=True)
    get_logger("", log_file=str(folder / "train.log"))
    Budgeted.minutes = minutes
    training.TrainManager, builders.ReduceLROnPlateau = Budgeted, Plateau
    training.train(0, None, cfg, skip_test=True)
    del cfg["data"]["dev"]  # training asks for it; translated is the test alone
    cfg["testing"]["load_model"] = str(folder / "model/latest.ckpt")
    test(cfg, output_path=str(folder / "hypotheses"))


if __name__ == "__main__":
    main()
