"""Pack the explorer: a page that translates in the browser, and its model, with 8-bit weights.

python tools/pack_explorer.py                  the shipped translator, into build/explorer/
python tools/pack_explorer.py --checkpoint FOLDER --out FOLDER

The page is tools/explorer/, made one file: a browser refuses modules that lie beside a page on the disk. What Python
knows of text (vocabularies, patterns, OpenCC's dictionaries) is exported, so that it stands in one place.
"""

import argparse
import base64
import json
import re
import sys
from pathlib import Path

import torch
from torch import Tensor

from utils import text
from utils.checkpoint import CheckpointError
from utils.config import CHECKPOINT, ROOT
from utils.files import write_files
from utils.tokenizer import Tokenizer
from utils.translate import Translator, load_translator

SOURCES = Path(__file__).with_name("explorer")
LESSONS = "../../notebooks/{}.ipynb"  # where a lesson lies, seen from build/explorer/
PART = 750_000  # bytes of weights in a file, a megabyte in base64: so often the progress bar moves


class PackError(ValueError):
    """This model cannot be shown in the explorer; the message says why."""


# ---- tables ----


def javascript(pattern: str | re.Pattern, flags: str = "gu") -> list[str]:
    """A pattern of `re` as source and flags of a RegExp. White space may differ: clean text has only blanks."""
    pattern = re.compile(pattern)
    source = pattern.pattern
    if pattern.flags & re.VERBOSE:
        source = re.sub(r"\s+(#.*)?", "", source)
    if not pattern.flags & re.ASCII:
        source = source.replace(r"\d", r"\p{Nd}")
    source = re.sub(r"\\U([0-9a-f]{8})", lambda found: rf"\u{{{int(found[1], 16):x}}}", source)
    return [source, flags + ("i" if pattern.flags & re.IGNORECASE else "")]


def characters(holds) -> str:
    """All characters of which something holds, as the inside of a character class."""
    return "".join(f"\\u{{{code:x}}}" for code in range(sys.maxunicode + 1) if holds(chr(code)))


def tables(tokenizer: Tokenizer) -> dict:
    """What the page must know of text. PackError where it could not read the source."""
    if tokenizer.source != "zh":
        raise PackError("The explorer reads Chinese: this checkpoint translates from another language.")
    rules = json.loads(tokenizer.src.to_str())["normalizer"] or {"normalizers": []}
    (dictionaries,) = text._opencc()._dict_chain_data  # one group: phrases, then characters
    return {
        "src": tokenizer.src_tokens(list(range(tokenizer.src_vocab))),
        "tgt": tokenizer.tgt_tokens(list(range(tokenizer.tgt_vocab))),
        "unify": [[javascript(rule["pattern"]["Regex"]), rule["content"]] for rule in rules["normalizers"]],
        "spaces": characters(str.isspace),
        "lines": characters(lambda c: len(f"a{c}a".splitlines()) > 1),
        "longest": text.LONGEST["zh"],
        "opencc": [{word: simple.split(" ")[0] for word, simple in words.items()} for _, _, words in dictionaries],
        "patterns": {
            name: javascript(getattr(text, name), "u" if name == "HAN" else "gu")
            for name in ("INVISIBLE", "HAN", "FOREIGN", "NO_END", "SENTENCE", "CLAUSE")
        },
    }


# ---- weights ----


def eight_bit(w: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix (out, in) as whole numbers from -127 to 127, and the scale of each row: w = scale * q, nearly."""
    scale = (w.abs().amax(dim=1, keepdim=True) / 127).clamp(min=1e-12)
    return scale[:, 0], (w / scale).round().to(torch.int8)


def weights(state: dict[str, Tensor], kind: str = "int8") -> tuple[dict, bytes]:
    """The weights one after the other, and where each begins: name -> [shape, offset].

    int8: matrices by `eight_bit`, vectors in float32; float16: all in half precision.
    """
    where, packed = {}, bytearray()
    for name, w in state.items():
        w = w.float().cpu()
        parts = [w.half()] if kind == "float16" else eight_bit(w) if w.ndim == 2 else [w]
        where[name] = [list(w.shape), len(packed)]
        packed += b"".join(part.numpy().tobytes() for part in parts)
        packed += bytes(-len(packed) % 4)  # JavaScript reads float32 at multiples of 4
    return where, bytes(packed)


def pack(translator: Translator, kind: str = "int8") -> tuple[dict, bytes]:
    """A translator as tables and weights. PackError where the page cannot run its model."""
    config = translator.model.config
    if config.kind != "transformer" or not config.norm_first:
        raise PackError("The explorer runs a Transformer with layer norm first: this checkpoint is another model.")
    where, packed = weights(translator.model.state_dict(), kind)
    sizes = {name: getattr(config, name) for name in ("d_model", "n_heads", "n_layers", "decoder_layers", "d_ff")}
    head = {"kind": kind, "config": sizes | {"tgt_vocab": config.tgt_vocab}, "tensors": where, "size": len(packed)}
    return head | tables(translator.tokenizer), packed


# ---- the page ----


def bundle(name: str, done: set[str] | None = None) -> str:
    """A module and all that it imports as one script: imports give way to the modules, `export` goes."""
    done = set() if done is None else done
    done.add(name)
    code = (SOURCES / name).read_text(encoding="utf-8")
    statement = r'^import [^;]*? from "\./([\w.]+)";\n'
    before = "".join(bundle(other, done) for other in re.findall(statement, code, re.M) if other not in done)
    return before + re.sub(r"^export ", "", re.sub(statement, "", code, flags=re.M), flags=re.M)


def page(lessons: str = LESSONS) -> str:
    """The whole page but for the model."""
    html = (SOURCES / "index.html").read_text(encoding="utf-8")
    html = html.replace(
        '<link rel="stylesheet" href="style.css">', f"<style>\n{(SOURCES / 'style.css').read_text()}</style>"
    )
    html = html.replace(
        '<script type="module" src="app.js"></script>', f'<script type="module">\n{bundle("app.js")}</script>'
    )
    html = html.replace('data-lessons="lesson:{}"', f'data-lessons="{lessons}"')
    return re.sub(
        r'href="lesson:(\w+)(#[\w-]+)?"', lambda found: f'href="{lessons.format(found[1])}{found[2] or ""}"', html
    )


def write(translator: Translator, out: Path, lessons: str = LESSONS) -> int:
    """The page and its model in a folder; returns the bytes of all. PackError or OSError, one sentence each."""
    head, packed = pack(translator)
    parts = [packed[at : at + PART] for at in range(0, len(packed), PART)]
    head["parts"] = len(parts)
    files = {"index.html": page(lessons), "model.js": f"receive('tables', {json.dumps(head, ensure_ascii=False)});\n"}
    for i, part in enumerate(parts):
        files[f"part-{i:02}.js"] = f"receive({i}, '{base64.b64encode(part).decode()}');\n"
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("part-*.js"):
        old.unlink()
    write_files(out, files)
    return sum(len(content.encode()) for content in files.values())


def main() -> int:
    parser = argparse.ArgumentParser(description="Pack the explorer: a page that translates in the browser.")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="checkpoint folder")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "explorer", help="folder for the page")
    parser.add_argument("--lessons", default=LESSONS, help="where lesson {} lies, seen from the page")
    args = parser.parse_args()
    try:
        size = write(load_translator(args.checkpoint, "cpu"), args.out, args.lessons)
    except (CheckpointError, PackError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{args.out / 'index.html'}: {size / 1e6:.1f} MB with its model. Open it in a browser.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
