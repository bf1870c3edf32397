"""A trained model is a folder: model.safetensors, config.json, tokenizer.json (and train_state.pt to resume)."""

import functools
import os
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from utils.config import ModelConfig, from_json, to_json
from utils.recurrent import RNNSeq2Seq
from utils.tokenizer import Tokenizer
from utils.transformer import Transformer

MODELS = {"transformer": Transformer, "rnn": RNNSeq2Seq}


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged or not one of ours; the message says which and what to do."""


# Names of an earlier version of this package -> today's; its checkpoints still load.
RENAMED = {
    r"\badd_norms\.0\.norm\.": "attention_norm.",
    r"\bencoder\.(\d+)\.add_norms\.1\.norm\.": r"encoder.\1.ffn_norm.",
    r"\bdecoder\.(\d+)\.add_norms\.1\.norm\.": r"decoder.\1.cross_attention_norm.",
    r"\badd_norms\.2\.norm\.": "ffn_norm.",
}


def with_todays_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names that the modules have today (see RENAMED)."""
    return {functools.reduce(lambda n, rule: re.sub(*rule, n), RENAMED.items(), name): w for name, w in weights.items()}


def build(config: ModelConfig) -> nn.Module:
    """A fresh model of the kind the config names."""
    return MODELS[config.kind](config)


def reason(error: Exception) -> str:
    """What a library says went wrong, as the end of one sentence: PyTorch tells it in many lines, the point last."""
    lines = str(error).splitlines() or [""]
    return textwrap.shorten(f"{type(error).__name__}: {lines[-1].strip()}", 240)


def write_files(folder: Path, writers: dict[str, Callable[[Path], object]]) -> None:
    """Let `writers[name](temporary_path)` make each file, so that nobody ever meets half a file, or half of them.

    The files are renamed, in the order given, when the last byte of the last one is on the disk. Raises OSError with
    one sentence when the disk is full or the folder cannot be written; everything is then as it was.
    """
    # One name for each: what a killed writer left, the next one overwrites.
    temporary = {name: folder / f".{name}.tmp" for name in writers}
    name = ""
    try:
        try:
            for name, write in writers.items():
                write(temporary[name])
                with open(temporary[name], "rb+") as file:
                    os.fsync(file.fileno())
            for name, path in temporary.items():
                os.replace(path, folder / name)
        finally:
            for path in temporary.values():
                path.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(
            f"Cannot write {folder / name}: {error.strerror or error}. What was there before is unharmed: make room on "
            "the disk, or make the folder writable, and give the same command again."
        ) from None


def write_text_atomically(path: Path, text: str) -> None:
    """`write_files` for one text, in UTF-8."""
    write_files(path.parent, {path.name: lambda temporary: temporary.write_text(text, encoding="utf-8")})


def model_writers(
    weights: dict[str, Tensor], config: ModelConfig, tokenizer: Tokenizer, half: bool = False
) -> dict[str, Callable[[Path], object]]:
    """How `write_files` makes the three files of a checkpoint. `half` stores float16: half the size, same BLEU."""
    from safetensors.torch import save

    weights = {name: (w.half() if half else w.float()).contiguous().cpu() for name, w in weights.items()}
    return {
        "tokenizer.json": tokenizer.save,
        "config.json": lambda path: path.write_text(to_json(config), encoding="utf-8"),
        # Bytes, which Python writes: unlike safetensors and torch it says why a disk refuses them.
        "model.safetensors": lambda path: path.write_bytes(save(weights)),
    }


def save_model(
    folder: Path, weights: dict[str, Tensor], config: ModelConfig, tokenizer: Tokenizer, half: bool = False
) -> None:
    """Write a checkpoint: all of it or nothing. OSError, one sentence, when it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    write_files(folder, model_writers(weights, config, tokenizer, half))


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> tuple[nn.Module, Tokenizer]:
    """The model of a checkpoint folder, in float32 and evaluation mode, and its tokenizer.

    Raises CheckpointError with one sentence when the folder is missing, truncated or foreign. Nothing is unpickled.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"There is no checkpoint in {folder}: {name} is missing. Train one with `make train`, or give the "
                "folder of another."
            )
    try:
        config = from_json(ModelConfig, (folder / "config.json").read_text(encoding="utf-8"))
        tokenizer = Tokenizer.load(folder / "tokenizer.json")
    except Exception as error:  # json, unicode and tokenizers each raise their own kind
        raise CheckpointError(
            f"The checkpoint in {folder} is damaged or not one of this course: {reason(error)}"
        ) from None
    try:
        weights = load_file(folder / "model.safetensors")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder / 'model.safetensors'} is truncated or damaged: {reason(error)}") from None
    if (tokenizer.src_vocab, tokenizer.tgt_vocab) != (config.src_vocab, config.tgt_vocab):
        raise CheckpointError(f"In {folder} the tokenizer and the model have different vocabularies.")
    try:
        model = build(config).float()  # whatever torch.set_default_dtype says
        model.load_state_dict({name: w.float() for name, w in with_todays_names(weights).items()})
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(f"The weights in {folder} do not fit its config.json: {reason(error)}") from None
    return model.to(device).eval(), tokenizer
