"""The command: write the files of one target, check them against PyTorch, keep them only if they translate alike."""

import argparse
import json
import random
import shutil
import string
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from pathlib import Path

from utils.batching import chunks
from utils.checkpoint import CheckpointError
from utils.config import CHECKPOINT, ROOT, ModelConfig, flag
from utils.export import ctranslate2, onnx
from utils.files import write_files
from utils.limits import cases
from utils.runtime import utf8_output
from utils.text import LONGEST
from utils.tokenizer import EOS
from utils.translate import BATCH, Translator, load_translator

PROGRAMS = Path(__file__).parent / "programs"
# What each target needs here, what its program needs there, and of which searches what share must be ours. Sums are
# rounded in another order: two tokens that are equally probable may change places.
NEEDED = {"onnx": ["onnx", "onnxruntime"], "ctranslate2": ["ctranslate2"]}
PACKAGES = {"onnx": ["onnxruntime"], "ctranslate2": ["ctranslate2"]}
SEARCHES = {"onnx": {1: 0.98}, "ctranslate2": {1: 0.98, 4: 0.9}}  # beam size: share
SEARCH = "import json, sys, translate; print(json.dumps(translate.generate(*json.load(sys.stdin))))"


class ExportError(RuntimeError):
    """An export cannot be made, or does not translate as the model does; the message says why."""


# ---- the check -----------------------------------------------------------------------------------------------


def sample(translator: Translator) -> list[list[int]]:
    """Source ids to compare on, in mixed lengths: the sentences of data/limits.tsv, and 1 to 30 random tokens."""
    zh = translator.tokenizer.source == "zh"
    lines = [line for case in cases() for line in ([case.zh, case.plain] if zh else [case.en])]
    sentences = dict.fromkeys(piece for line in lines for piece in translator.pieces(line) if translator.reads(piece))
    drawn = random.Random(0)
    rows = [[drawn.randrange(EOS + 1, translator.tokenizer.src_vocab) for _ in range(n)] for n in range(1, 31)]
    rows = [*translator.tokenizer.encode_src(list(sentences)), *([*row, EOS] for row in rows)]
    drawn.shuffle(rows)  # short beside long: padding is part of what is compared
    return rows


def found(folder: Path, rows: list[list[int]], *more: int) -> list[list[int]]:
    """What the exported program finds, in a process of its own that has nothing but the folder."""
    done = subprocess.run(
        [sys.executable, "-c", SEARCH], cwd=folder, input=json.dumps([rows, *more]), capture_output=True, text=True
    )
    if done.returncode != 0:
        reason = (done.stderr.strip() or "it gave no reason").splitlines()[-1]
        raise ExportError(f"The exported program stops: {reason:.300}")
    return json.loads(done.stdout.splitlines()[-1])


def check(translator: Translator, folder: Path, target: str) -> str:
    """Compare the exported program with PyTorch, id by id; what came out, in words.

    Raises ExportError where too few are the same.
    """
    rows, said = sample(translator), []
    for width, least in SEARCHES[target].items():
        more = [width] if target == "ctranslate2" else []  # the loop of onnx knows greedy search alone
        theirs = [ids for batch in chunks(rows, BATCH) for ids in found(folder, batch, *more)]
        ours = [ids for batch in chunks(rows, BATCH) for ids in translator.generate(batch, width)]
        same = sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(rows)
        search = "greedy search" if width == 1 else f"beam {width}"
        if same < least:
            raise ExportError(
                f"With {search} only {same:.0%} of {len(rows)} rows are translated as PyTorch does (at least "
                f"{least:.0%} should be): nothing was written."
            )
        said.append(f"{search} gives the same ids for {100 * same:.1f} %")
    return f"compared with PyTorch on {len(rows)} rows (sentences, and random tokens), " + " and ".join(said)


# ---- the targets ---------------------------------------------------------------------------------------------


def program(target: str, write: Callable) -> Callable[[Translator, Path], str]:
    """The function that fills a folder: the model, the program that translates with it, and its README, checked."""

    def fill(translator: Translator, folder: Path) -> str:
        model, tokenizer = translator.model, translator.tokenizer
        write(model, tokenizer, folder)
        (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
        shutil.copy(PROGRAMS / f"{target}.py", folder / "translate.py")
        for path in (ROOT / "utils" / "text.py", ROOT / "LICENSE"):
            shutil.copy(path, folder)
        checked = check(translator, folder, target)
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        (folder / "README.md").write_text(readme(translator, target, checked), encoding="utf-8")
        return checked

    return fill


def readme(translator: Translator, target: str, checked: str) -> str:
    """How to run it: programs/TARGET.md with the facts of this model."""
    config, source = translator.model.config, translator.tokenizer.source
    text = (PROGRAMS / f"{target}.py").read_text(encoding="utf-8")
    packages = [*PACKAGES[target], "tokenizers", *(["opencc-python-reimplemented"] if source == "zh" else [])]
    facts = {
        "parameters": f"{sum(p.numel() for p in translator.model.parameters()):,}",
        "encoder_layers": config.n_layers,
        "decoder_layers": config.decoder_layers or config.n_layers,
        "heads": config.n_heads,
        "d_head": config.d_model // config.n_heads,
        "tgt_vocab": config.tgt_vocab,
        "packages": " ".join(packages),
        "example": "我喜欢学习。" if source == "zh" else "Good morning.",
        "longest": onnx.POSITIONS,
        "cut": LONGEST[source],
        "loop": text[text.index("def generate") : text.index("def translate")].strip(),
        "checked": checked,
    }
    return string.Template((PROGRAMS / f"{target}.md").read_text(encoding="utf-8")).substitute(facts)


# Each fills an empty folder from a translator, checks what it wrote, and says in words what came out.
TARGETS = {"onnx": program("onnx", onnx.write), "ctranslate2": program("ctranslate2", ctranslate2.write)}


def export(target: str, out: Path, checkpoint: Path = CHECKPOINT) -> str:
    """Export a checkpoint into a new folder; what the check found, in words.

    Raises ExportError, CheckpointError or OSError with one sentence, and leaves nothing half-written.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ExportError(f"{out} is there already, and not empty: name a new folder.")
    translator = load_translator(checkpoint, "cpu")
    if translator.model.config.kind != "transformer":
        raise ExportError(f"The model in {checkpoint} is no Transformer: only those are exported.")
    for f in fields(ModelConfig):
        if f.metadata.get("block") and getattr(translator.model.config, f.name) != f.default:
            raise ExportError(f"The model in {checkpoint} was trained with {flag(f)}, which is not exported.")
    for package in NEEDED.get(target, []):
        try:
            import_module(package)
        except ImportError:
            command = f"{sys.executable} -m pip install {' '.join(NEEDED[target])}"
            raise ExportError(f"The package {package} is missing: install it with `{command}`.") from None
    with tempfile.TemporaryDirectory() as folder:
        checked = TARGETS[target](translator, Path(folder))
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    existed = out.is_dir()
    out.mkdir(parents=True, exist_ok=True)
    try:
        write_files(out, files)
    except OSError:
        if not existed:
            out.rmdir()
        raise
    return checked


def main(argv: list[str] | None = None) -> int:
    utf8_output()
    parser = argparse.ArgumentParser(prog="python -m utils.export", description=__doc__)
    parser.add_argument("--to", required=True, choices=TARGETS, help="what will run the model")
    parser.add_argument("--out", required=True, type=Path, help="a new folder")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="checkpoint folder")
    args = parser.parse_args(argv)
    try:
        checked = export(args.to, args.out, args.checkpoint)
    except (ExportError, CheckpointError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{args.out}: {checked}. README.md there says how to run it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
