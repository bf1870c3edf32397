"""A trained model is a folder: model.safetensors, config.json, tokenizer.json (and train_state.pt to resume)."""

import functools
import re
import textwrap
from pathlib import Path

import torch
from torch import Tensor, nn

from utils.config import ModelConfig, from_json, to_json
from utils.decoder_only import DecoderOnly
from utils.encoder_only import EncoderOnly
from utils.files import make_folder, write_files
from utils.recurrent import RNNSeq2Seq
from utils.tokenizer import Tokenizer
from utils.transformer import Transformer

MODELS = {"transformer": Transformer, "rnn": RNNSeq2Seq, "decoder-only": DecoderOnly, "encoder-only": EncoderOnly}


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


def model_files(
    weights: dict[str, Tensor], config: ModelConfig, tokenizer: Tokenizer, half: bool = False
) -> dict[str, bytes | str]:
    """The three files of a checkpoint, for `write_files`. `half` stores float16: half the size."""
    from safetensors.torch import save

    weights = {name: (w.half() if half else w.float()).contiguous().cpu() for name, w in weights.items()}
    return {
        "tokenizer.json": tokenizer.to_json(),
        "config.json": to_json(config),
        "model.safetensors": save(weights),
    }


def save_model(
    folder: Path, weights: dict[str, Tensor], config: ModelConfig, tokenizer: Tokenizer, half: bool = False
) -> None:
    """Write a checkpoint, as `write_files` does. OSError, one sentence, when it cannot be written."""
    make_folder(folder)
    write_files(folder, model_files(weights, config, tokenizer, half))


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
