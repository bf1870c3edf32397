"""The command: write the files of one target, check them against PyTorch, keep them only if they translate alike."""

import argparse
import copy
import json
import random
import shutil
import string
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import fields
from importlib import import_module, metadata
from pathlib import Path

from utils import text
from utils.batching import chunks
from utils.checkpoint import CheckpointError
from utils.config import CHECKPOINT, ROOT, ModelConfig, flag
from utils.export import ExportError, browser, ctranslate2, onnx
from utils.files import make_folder, write_files
from utils.runtime import utf8_output
from utils.tokenizer import EOS
from utils.translate import BATCH, LENGTH_PENALTY, Translator, load_translator

PROGRAMS = Path(__file__).parent / "programs"
# Each writes the files of a target: (model, tokenizer, folder).
TARGETS = {"browser": browser.write, "onnx": onnx.write, "ctranslate2": ctranslate2.write}
# What each target needs here, what its program needs there, and of which searches what share must be ours. Sums are
# rounded in another order: two tokens that are equally probable may change places.
NEEDED = {"onnx": ["onnx", "onnxruntime"], "ctranslate2": ["ctranslate2"]}
PACKAGES = {"browser": [], "onnx": ["onnxruntime"], "ctranslate2": ["ctranslate2"]}
SEARCHES = {"browser": {1: 0.9, 4: 0.9}, "onnx": {1: 0.98}, "ctranslate2": {1: 0.98, 4: 0.9}}  # beam size: share
EIGHT_BIT = 0.6  # the same of 8-bit weights, greedy search
PENALTY = 1.0  # of the beams compared: that of CTranslate2 ends otherwise than ours, which shows where long answers win
SEARCH = "import json, sys, translate; print(json.dumps(translate.generate(*json.load(sys.stdin))))"


# ---- the check -----------------------------------------------------------------------------------------------


def lines(translator: Translator) -> list[str]:
    """Text in the source language: the sentences of data/limits.tsv; none where the package was installed without."""
    if not (ROOT / "data" / "limits.tsv").is_file():
        return []
    from utils.limits import cases  # and more that reads data/

    zh = translator.tokenizer.source == "zh"
    return [line for case in cases() for line in ([case.zh, case.plain] if zh else [case.en])]


def sample(translator: Translator) -> list[list[int]]:
    """Source ids to compare on, in mixed lengths: the sentences of `lines`, and 1 to 30 random tokens."""
    pieces = [piece for line in lines(translator) for piece in translator.pieces(line)]
    sentences = dict.fromkeys(piece for piece in pieces if translator.reads(piece))
    drawn = random.Random(0)
    rows = [[drawn.randrange(EOS + 1, translator.tokenizer.src_vocab) for _ in range(n)] for n in range(1, 31)]
    rows = [*translator.tokenizer.encode_src(list(sentences)), *([*row, EOS] for row in rows)]
    drawn.shuffle(rows)  # short beside long: padding is part of what is compared
    return rows


def found(folder: Path, rows: list[list[int]], *more: int | float) -> list[list[int]]:
    """What the exported program finds, in a process of its own that has nothing but the folder."""
    done = subprocess.run(
        [sys.executable, "-c", SEARCH], cwd=folder, input=json.dumps([rows, *more]), capture_output=True, text=True
    )
    if done.returncode != 0:
        reason = (done.stderr.strip() or "it gave no reason").splitlines()[-1]
        raise ExportError(f"The exported program stops: {reason:.300}")
    return json.loads(done.stdout.splitlines()[-1])


def ours(translator: Translator, rows: list[list[int]], width: int, penalty: float = LENGTH_PENALTY) -> list[list[int]]:
    """What PyTorch finds."""
    return [ids for batch in chunks(rows, BATCH) for ids in translator.generate(batch, width, penalty)]


def agreement(ours: list, theirs: list, least: float, how: str) -> str:
    """How many rows are the same, in words. ExportError where they are too few."""
    same = sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(ours)
    if same < least:
        raise ExportError(
            f"With {how} only {same:.0%} of {len(ours)} rows are translated as PyTorch does (at least {least:.0%} "
            "should be): nothing was written."
        )
    return f"{how} gives the same ids for {100 * same:.1f} %"


def named(width: int) -> str:
    return "greedy search" if width == 1 else f"beam {width}"


def check(translator: Translator, folder: Path, target: str) -> str:
    """Compare the exported program with PyTorch, id by id; what came out, in words.

    Raises ExportError where too few are the same.
    """
    rows, said = sample(translator), []
    for width, least in SEARCHES[target].items():
        more = [width, PENALTY] if target == "ctranslate2" else []  # the loop of onnx knows greedy search alone
        theirs = [ids for batch in chunks(rows, BATCH) for ids in found(folder, batch, *more)]
        said.append(agreement(ours(translator, rows, width, PENALTY), theirs, least, named(width)))
    return f"compared with PyTorch on {len(rows)} rows (sentences, and random tokens), " + " and ".join(said)


def check_page(translator: Translator, folder: Path) -> str:
    """`check` for the page: what 8 bits change, and whether its program, run in node, computes with them as PyTorch."""
    rows = sample(translator)
    stored = copy.copy(translator)
    stored.model = copy.deepcopy(translator.model)
    stored.model.load_state_dict(browser.unpacked(folder))
    said = agreement(ours(translator, rows, 1), ours(stored, rows, 1), EIGHT_BIT, "greedy search with 8-bit weights")
    said = f"compared with PyTorch on {len(rows)} rows (sentences, and random tokens), {said}; "
    if not browser.NODE:
        return said + "the page's program was not compared, for there is no node on this machine"
    texts = lines(translator)
    if browser.answers(folder, [["pieces", line] for line in texts]) != [[translator.pieces(line)] for line in texts]:
        raise ExportError("The page cleans or cuts text otherwise than Python does: nothing was written.")
    rows, compared = rows[:: len(rows) // 20 + 1], []  # a page takes its time
    for width, least in SEARCHES["browser"].items():
        theirs = browser.answers(folder, [["search", {"src": row, "size": width}] for row in rows])
        compared.append(agreement(ours(stored, rows, width), theirs, least, named(width)))
    return said + f"with these weights, on {len(rows)} of them, the page's program in node: " + " and ".join(compared)


# ---- the targets ---------------------------------------------------------------------------------------------


def fill(target: str, translator: Translator, folder: Path, **options: str) -> str:
    """Fill a folder: the model, the program that translates with it, and its README, checked; what the check found."""
    TARGETS[target](translator.model, translator.tokenizer, folder, **options)
    if target != "browser":  # the program is in Python
        (folder / "tokenizer.json").write_text(translator.tokenizer.to_json(), encoding="utf-8")
        shutil.copy(PROGRAMS / f"{target}.py", folder / "translate.py")
        shutil.copy(text.__file__, folder / "text.py")
    (folder / "LICENSE").write_text(license_text(), encoding="utf-8")
    checked = check_page(translator, folder) if target == "browser" else check(translator, folder, target)
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
    (folder / "README.md").write_text(readme(translator, target, checked), encoding="utf-8")
    return checked


def license_text() -> str:
    """The license of the code: the repository's file, or what an installed package has of it."""
    path = ROOT / "LICENSE"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    return metadata.distribution("transformer-course").read_text("licenses/LICENSE")


def readme(translator: Translator, target: str, checked: str) -> str:
    """How to run it: programs/TARGET.md with the facts of this model."""
    config, source = translator.model.config, translator.tokenizer.source
    loop = (PROGRAMS / "onnx.py").read_text(encoding="utf-8")
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
        "cut": text.LONGEST[source],
        "loop": loop[loop.index("def generate") : loop.index("def translate")].strip(),
        "checked": checked,
    }
    return string.Template((PROGRAMS / f"{target}.md").read_text(encoding="utf-8")).substitute(facts)


def export(target: str, out: Path, checkpoint: Path = CHECKPOINT, **options: str) -> str:
    """Export a checkpoint into a new folder; what the check found, in words. options: what the target's writer knows.

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
        checked = fill(target, translator, Path(folder), **options)
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    existed = out.is_dir()
    make_folder(out)
    try:
        write_files(out, files)
    except OSError:
        if not existed:
            with suppress(OSError):  # where some of the files are there already
                out.rmdir()
        raise
    return checked


def main(argv: list[str] | None = None) -> int:
    utf8_output()
    parser = argparse.ArgumentParser(prog="python -m utils.export", description=__doc__)
    parser.add_argument("--to", required=True, choices=TARGETS, help="what will run the model")
    parser.add_argument("--out", required=True, type=Path, help="a new folder")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="checkpoint folder")
    parser.add_argument("--lessons", help="browser: where lesson {} lies, seen from the page, which links to it then")
    args = parser.parse_args(argv)
    if args.lessons and args.to != "browser":
        parser.error("--lessons is for --to browser, whose page has links.")
    try:
        checked = export(args.to, args.out, args.checkpoint, **({"lessons": args.lessons} if args.lessons else {}))
    except (ExportError, CheckpointError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{args.out}: {checked}. README.md there says how to run it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
