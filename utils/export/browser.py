"""The model inside a page: its weights with 8 bits, and what the page must know of text. Needs no other package.

The page is explorer/, made one file: a browser refuses modules that lie beside a page on the disk. What Python knows of
text (vocabularies, patterns, OpenCC's dictionaries) is exported, so that it stands in one place.
"""

import base64
import json
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from utils import text
from utils.export import ExportError
from utils.language import language
from utils.tokenizer import Tokenizer

SOURCES = Path(__file__).with_name("explorer")
NODE = shutil.which("node")  # runs the page's program where there is no page
PART = 750_000  # bytes of weights in a file, a megabyte in base64: so often the progress bar moves
SIZES = "d_model n_heads n_layers decoder_layers d_ff norm_first tgt_vocab"


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


def ends_a_line(character: str) -> bool:
    """Whether Python ends a line there."""
    return len(f"a{character}a".splitlines()) > 1


@cache
def characters(holds: Callable[[str], bool]) -> str:
    """All characters of which something holds, as the inside of a character class."""
    return "".join(f"\\u{{{code:x}}}" for code in range(sys.maxunicode + 1) if holds(chr(code)))


def tables(tokenizer: Tokenizer) -> dict:
    """What the page must know of text. ExportError where it could not read the source."""
    src = json.loads(tokenizer.src.to_str())
    if src["model"]["type"] != "WordLevel":
        raise ExportError("The page reads characters: this checkpoint cuts its source into pieces of words.")
    chinese = tokenizer.source == "zh"
    rules = (src["normalizer"] or {"normalizers": []})["normalizers"]
    (dictionaries,) = text._opencc()._dict_chain_data if chinese else [[]]  # one group: phrases, then characters
    return {
        "source": tokenizer.source,
        "src": tokenizer.src_tokens(list(range(tokenizer.src_vocab))),
        "tgt": tokenizer.tgt_tokens(list(range(tokenizer.tgt_vocab))),
        "unify": [[javascript(rule["pattern"]["Regex"]), rule["content"]] for rule in rules],
        "spaces": characters(str.isspace),
        "lines": characters(ends_a_line),
        "longest": text.LONGEST[tokenizer.source],
        "opencc": [{word: simple.split(" ")[0] for word, simple in words.items()} for _, _, words in dictionaries],
        "quotes": {chr(old): chr(new) for old, new in text.QUOTES.items()},
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


def packed(state: dict[str, Tensor], kind: str = "int8") -> tuple[dict, bytes]:
    """The weights one after the other, and where each begins: name -> [shape, offset].

    int8: matrices by `eight_bit`, vectors in float32; float16: all in half precision.
    """
    where, content = {}, bytearray()
    for name, w in state.items():
        w = w.float().cpu()
        parts = [w.half()] if kind == "float16" else eight_bit(w) if w.ndim == 2 else [w]
        where[name] = [list(w.shape), len(content)]
        content += b"".join(part.numpy().tobytes() for part in parts)
        content += bytes(-len(content) % 4)  # JavaScript reads float32 at multiples of 4
    return where, bytes(content)


def unpacked(folder: Path) -> dict[str, Tensor]:
    """The weights that lie in a folder with 8 bits, as the page makes numbers of them."""
    head = json.loads((folder / "model.js").read_text(encoding="utf-8").split(", ", 1)[1][:-3])
    files = [(folder / f"part-{i:02}.js").read_text() for i in range(len(head["parts"]))]
    content = b"".join(base64.b64decode(file.split("'")[1]) for file in files)

    def numbers(shape: list[int], at: int) -> Tensor:
        w = torch.from_numpy(np.frombuffer(content, np.float32, shape[0], at).copy())
        if len(shape) == 1:
            return w
        q = np.frombuffer(content, np.int8, shape[0] * shape[1], at + 4 * shape[0]).reshape(shape)
        return w[:, None] * torch.from_numpy(q.copy())

    return {name: numbers(*where) for name, where in head["tensors"].items()}


# ---- the page ----


def bundle(name: str, done: set[str] | None = None) -> str:
    """A module and all that it imports as one script: imports give way to the modules, `export` goes."""
    done = set() if done is None else done
    done.add(name)
    code = (SOURCES / name).read_text(encoding="utf-8")
    statement = r'^import [^;]*? from "\./([\w.]+)";\n'
    before = "".join(bundle(other, done) for other in re.findall(statement, code, re.M) if other not in done)
    return before + re.sub(r"^export ", "", re.sub(statement, "", code, flags=re.M), flags=re.M)


def said(html: str, words: dict[str, str]) -> str:
    """The page in another language: each text between tags or quotes that stands in the table of words."""
    for english, other in sorted(words.items(), key=lambda pair: -len(pair[0])):
        text = r"\s+".join(map(re.escape, english.split()))
        html = re.sub(rf'(?<=[>"])(\s*){text}(?=\s*[<"])', lambda found, other=other: found[1] + other, html)
    return html


def page(source: str = "zh", lessons: str = "", tongue: str = "en", anchors: dict[str, str] | None = None) -> str:
    """The whole page but for the model, in the language `tongue`, if there is words.LANGUAGE.json; else in English.

    lessons: where lesson {} lies, seen from the page; "" for no links. anchors: what a section's address, such as
    "02_self_attention#why", is called there, where that is another one.
    """
    html = (SOURCES / "index.html").read_text(encoding="utf-8")
    table = SOURCES / f"words.{tongue}.json"
    words = json.loads(table.read_text(encoding="utf-8")) if table.exists() else {}
    html = said(html, words)
    if source != "zh":  # which language it is, nobody knows
        examples = r'(?<=data-examples=")[^"]*|(?<=spellcheck="false">)[^<]*'
        html = re.sub(rf'{examples}| lang="zh"| with Chinese characters|Chinese\s+|中文', "", html)
    words |= anchors or {}
    for address, other in (anchors or {}).items():
        html = html.replace(f'"lesson:{address}"', f'"lesson:{other}"')
    if words:
        html = html.replace('<html lang="en">', f'<html lang="{tongue}">')
        known = json.dumps(words, ensure_ascii=False).replace("</", r"<\/")
        html = html.replace(
            '<script type="module"', f'<script>globalThis.WORDS = {known};</script>\n<script type="module"'
        )
    style, code = (SOURCES / "style.css").read_text(encoding="utf-8"), bundle("app.js")
    html = html.replace('<link rel="stylesheet" href="style.css">', f"<style>\n{style}</style>")
    html = html.replace('<script type="module" src="app.js"></script>', f'<script type="module">\n{code}</script>')
    html = html.replace('data-lessons="lesson:{}"', f'data-lessons="{lessons}"')

    brackets = "（{}）" if words else " ({})"

    def link(found: re.Match) -> str:
        name, section, text = found.groups("")
        if not lessons:
            return text + brackets.format(name.split("_")[0])
        return f'<a href="{lessons.format(name)}{section}">{text}</a>'

    return re.sub(r'<a href="lesson:(\w+)(#[\w-]+)?">([^<]*)</a>', link, html)


def write(model: nn.Module, tokenizer: Tokenizer, folder: Path, lessons: str = "", kind: str = "int8") -> None:
    """Write index.html, model.js (sizes and tables) and part-00.js and so on (weights in base64)."""
    head = {"kind": kind, "config": {name: getattr(model.config, name) for name in SIZES.split()}} | tables(tokenizer)
    head["tensors"], content = packed(model.state_dict(), kind)
    parts = [content[at : at + PART] for at in range(0, len(content), PART)]
    head["parts"] = [[len(part), zlib.adler32(part)] for part in parts]
    files = {"index.html": page(tokenizer.source, lessons, language())}
    files["model.js"] = f"receive('tables', {json.dumps(head, ensure_ascii=False)});\n"
    for i, part in enumerate(parts):
        files[f"part-{i:02}.js"] = f"receive({i}, '{base64.b64encode(part).decode()}');\n"
    for name, file in files.items():
        (folder / name).write_text(file, encoding="utf-8", newline="\n")


# ---- the check ----


def answers(folder: Path, requests: list) -> list:
    """What the model and the text of a page's folder answer, in node: see explorer/answer.js.

    Raises ExportError with one sentence where they stop.
    """
    command = [NODE, SOURCES / "answer.js", folder]
    done = subprocess.run(command, input=json.dumps(requests), capture_output=True, encoding="utf-8")
    if done.returncode != 0:
        raise ExportError(f"The page's program stops: {(done.stderr.strip() or 'no reason').splitlines()[-1]:.300}")
    return [json.loads(line) for line in done.stdout.splitlines()]
