"""Exports: what they write translates as the model does, or nothing is written."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys

import pytest
from helpers.tiny import PAIRS, tiny_checkpoint, tiny_model, tiny_tokenizer

from utils.checkpoint import save_model
from utils.config import CHECKPOINT, ROOT
from utils.export import __main__ as exports
from utils.export import browser
from utils.tokenizer import Tokenizer
from utils.translate import LENGTH_PENALTY, load_translator

TARGETS = list(exports.TARGETS)
needs_node = pytest.mark.skipif(not browser.NODE, reason="The page's program is compared in node, which is not here.")


def needs(target: str) -> None:
    """Skip the test where the target's packages are not."""
    for package in exports.NEEDED.get(target, []):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: `pip install {' '.join(exports.NEEDED[target])}` for this test")


@pytest.fixture
def quick(monkeypatch):
    """A page is compared on few rows; of random weights even the rounding to 8 bits decides, which is no fault."""
    sample = exports.sample
    monkeypatch.setattr(exports, "sample", lambda translator: sample(translator)[::12])
    monkeypatch.setattr(exports, "EIGHT_BIT", 0.0)


def checkpoint(folder, tokenizer=None, **changes):
    """A tiny Transformer with random weights, whose stacks may differ in depth."""
    tokenizer = tokenizer or tiny_tokenizer()
    model = tiny_model(src_vocab=tokenizer.src_vocab, tgt_vocab=tokenizer.tgt_vocab, **changes)
    save_model(folder, model.state_dict(), model.config, tokenizer)
    return folder


def code(folder) -> tuple[list[str], str]:
    """The commands of a README, and its Python."""
    blocks = dict(re.findall(r"```(sh|python)\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.S))
    return blocks["sh"].splitlines(), blocks["python"]


def export(target, out, source, *more) -> int:
    return exports.main(["--to", target, "--out", str(out), "--checkpoint", str(source), *more])


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "changes",
    [
        {"n_layers": 1, "decoder_layers": 3, "d_model": 16},
        {"n_layers": 3, "decoder_layers": 1, "norm_first": False, "n_heads": 4},
    ],
    ids=["deep decoder", "deep encoder, post-norm"],
)
def test_it_translates_as_the_model_does(target, changes, quick, tmp_path, capsys, monkeypatch):
    """Greedy ids in batches of many lengths; the beam is for a model that has learned something: see the next test."""
    needs(target)
    monkeypatch.setitem(exports.SEARCHES, target, {1: 1.0})
    assert export(target, tmp_path / "out", checkpoint(tmp_path / "model", **changes)) == 0, capsys.readouterr().err
    assert "greedy search gives the same ids for 100.0 %" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "ctranslate2"])
def test_the_shipped_model_is_exported_and_its_readme_runs(target, tmp_path, capsys):
    needs(target)
    out = tmp_path / "deep" / "out"
    assert export(target, out, CHECKPOINT) == 0, capsys.readouterr().err
    assert not [path for path in out.iterdir() if path.is_dir() or path.name.startswith(".")]
    commands, python = code(out)
    example = re.search(r'"(.+)"', commands[1])[1]
    assert commands[0].startswith("python -m pip install ") and commands[1] == f'python translate.py "{example}"'
    expected = load_translator().translate(example, beam_size=max(exports.SEARCHES[target]))
    for arguments in (["translate.py", example], ["-c", python]):
        done = subprocess.run([sys.executable, *arguments], cwd=out, capture_output=True, text=True)
        assert done.stdout.strip() == expected, done.stderr


def test_all_programs_search_with_the_penalty_of_the_translator():
    programs = exports.PROGRAMS / "ctranslate2.py", browser.SOURCES / "search.js"
    ctranslate2, page = (path.read_text(encoding="utf-8") for path in programs)
    assert f"length_penalty={LENGTH_PENALTY:g}," in ctranslate2 and f"PENALTY = {LENGTH_PENALTY:g};" in page


@pytest.mark.slow
@needs_node
def test_the_shipped_model_is_exported_for_the_browser(tmp_path, capsys):
    out = tmp_path / "out"
    assert export("browser", out, CHECKPOINT) == 0, capsys.readouterr().err
    assert "the page's program in node: greedy search gives the same ids for " in capsys.readouterr().out
    size = sum(path.stat().st_size for path in out.iterdir())
    assert size < 11e6, f"{size / 1e6:.1f} MB"


@pytest.mark.slow
@needs_node
@pytest.mark.parametrize("source", ["zh", "any"])
@pytest.mark.parametrize(
    "changes",
    [{"n_layers": 3, "n_heads": 4, "d_ff": 20}, {"n_layers": 5, "decoder_layers": 2, "d_model": 18}],
    ids=["3 + 3", "5 + 2"],
)
def test_a_page_translates_with_any_sizes_from_any_language(source, changes, quick, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(exports.SEARCHES, "browser", {1: 1.0})
    pairs = [pair if source == "zh" else pair[::-1] for pair in PAIRS]
    tokenizer = Tokenizer.train(*zip(*pairs, strict=True), tgt_vocab=60, min_count=1, source=source)
    assert export("browser", tmp_path / "out", checkpoint(tmp_path / "model", tokenizer, **changes)) == 0
    assert "greedy search gives the same ids for 100.0 %" in capsys.readouterr().out


def test_a_page_finds_all_that_it_asks_for_in_its_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(exports, "check_page", lambda *_: "not compared")
    monkeypatch.setattr(browser, "PART", 1000)
    out = tmp_path / "out"
    assert export("browser", out, checkpoint(tmp_path / "model"), "--lessons", "../{}.html") == 0
    page = (out / "index.html").read_text(encoding="utf-8")
    head = (out / "model.js").read_text(encoding="utf-8")
    parts = json.loads(head.removeprefix("receive('tables', ").removesuffix(");\n"))["parts"]
    assert len(parts) > 2
    asked = {"index.html", "model.js", *(f"part-{i:02}.js" for i in range(len(parts)))}
    assert {path.name for path in out.iterdir()} == asked | {"README.md", "LICENSE"}
    assert not re.findall(r'src="|<link rel="stylesheet"', page)
    links = set(re.findall(r'href="([^"]*)"', page)) - {"data:,"}  # an empty icon
    assert links and all(re.fullmatch(r"\.\./\w+\.html#[\w-]+", link) for link in links)
    assert "not compared" in (out / "README.md").read_text(encoding="utf-8")


def test_without_node_the_weights_are_compared_all_the_same(quick, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(browser, "NODE", None)
    assert export("browser", tmp_path / "out", checkpoint(tmp_path / "model")) == 0
    said = capsys.readouterr().out
    assert "8-bit weights gives the same ids for" in said and "there is no node on this machine" in said


def test_a_page_with_other_weights_is_not_kept(quick, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(exports, "EIGHT_BIT", 0.6)

    def faulty(model, tokenizer, folder):
        other = tiny_model(seed=1, **{name: getattr(model.config, name) for name in ("src_vocab", "tgt_vocab")})
        browser.write(other, tokenizer, folder)

    monkeypatch.setitem(exports.TARGETS, "browser", faulty)
    assert export("browser", tmp_path / "out", checkpoint(tmp_path / "model")) == 1
    said = capsys.readouterr().err
    assert re.fullmatch(r"With greedy search with 8-bit weights only \d+% of .* nothing was written\.\n", said)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@needs_node
@pytest.mark.parametrize(
    "module, right, wrong, said",
    [
        ("transformer.js", "this.position(side ? start", "this.position(side ? 0", "With greedy search only"),
        ("text.js", "piece.search(this.HAN) >= 0", "false", "The page cleans or cuts text otherwise"),
        ("search.js", "const source = model.encode(src)", "const source = none", "stops: none is not defined"),
    ],
)
def test_a_page_that_computes_otherwise_is_not_kept(module, right, wrong, said, quick, tmp_path, capsys, monkeypatch):
    sources = shutil.copytree(browser.SOURCES, tmp_path / "explorer")
    code = (sources / module).read_text(encoding="utf-8")
    assert code.count(right) == 1
    (sources / module).write_text(code.replace(right, wrong), encoding="utf-8")
    monkeypatch.setattr(browser, "SOURCES", sources)
    assert export("browser", tmp_path / "out", checkpoint(tmp_path / "model")) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "ctranslate2"])
def test_an_export_that_translates_otherwise_is_not_kept(target, tmp_path, capsys, monkeypatch):
    needs(target)
    write = exports.TARGETS[target]

    def faulty(model, tokenizer, folder):
        changed = tiny_model(**{name: getattr(model.config, name) for name in ("src_vocab", "tgt_vocab")}).float()
        changed.load_state_dict(model.state_dict())
        rows = slice(model.config.d_model, 2 * model.config.d_model)
        changed.decoder[1].cross_attention.in_proj.weight.data[rows].zero_()  # the keys of one attention
        write(changed, tokenizer, folder)

    monkeypatch.setitem(exports.TARGETS, target, faulty)
    assert export(target, tmp_path / "out", checkpoint(tmp_path / "model")) == 1
    assert re.fullmatch(r"With greedy search only \d+% of .* nothing was written\.\n", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def harmless(model, tokenizer, folder):
    (folder / "model.bin").write_text("weights")


@pytest.fixture
def without_check(monkeypatch):
    """An export that needs no package and is not compared."""
    monkeypatch.setitem(exports.NEEDED, "onnx", [])
    monkeypatch.setitem(exports.TARGETS, "onnx", harmless)
    monkeypatch.setattr(exports, "check", lambda *_: "not compared")


def test_all_files_are_there_and_the_readme_has_the_facts(without_check, tmp_path, capsys):
    source = checkpoint(tmp_path / "model", decoder_layers=1)
    assert export("onnx", tmp_path / "out", source) == 0
    names = {"LICENSE", "README.md", "model.bin", "text.py", "tokenizer.json", "translate.py"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "2 layers in the encoder, 1 in the decoder" in text and "live.remove(i)" in text and "not compared" in text
    assert (tmp_path / "out" / "text.py").read_bytes() == (ROOT / "utils" / "text.py").read_bytes()


def test_what_cannot_be_written_leaves_nothing(without_check, tmp_path, capsys, monkeypatch):
    def full(folder, files):
        raise OSError("The disk is full.")

    monkeypatch.setattr(exports, "write_files", full)
    assert export("onnx", tmp_path / "out", checkpoint(tmp_path / "model")) == 1
    assert capsys.readouterr().err == "The disk is full.\n" and not (tmp_path / "out").exists()


def test_a_program_that_stops_says_why(tmp_path):
    (tmp_path / "translate.py").write_text("raise ValueError('no such file: encoder.onnx')")
    with pytest.raises(exports.ExportError, match="stops: ValueError: no such file: encoder.onnx"):
        exports.found(tmp_path, [[4, 2]])


def test_refusals_are_one_sentence(tmp_path, capsys, monkeypatch):
    model = checkpoint(tmp_path / "model")
    for target, out, source, why in (
        ("onnx", model, model, "is there already, and not empty: name a new folder"),
        ("onnx", model / "config.json", model, "is there already, and not empty: name a new folder"),
        ("onnx", tmp_path / "out", tiny_checkpoint(tmp_path / "rnn", "rnn"), "no Transformer: only those are exported"),
        ("onnx", tmp_path / "out", tmp_path / "nowhere", "There is no checkpoint"),
        ("browser", tmp_path / "out", tmp_path / "rnn", "no Transformer: only those are exported"),
        ("browser", tmp_path / "out", checkpoint(tmp_path / "rms", norm="rms"), "trained with --norm, which is not"),
        ("browser", tmp_path / "out", checkpoint(tmp_path / "en", tiny_tokenizer().reversed()), "reads characters"),
    ):
        assert export(target, out, source) == 1
        said = capsys.readouterr().err
        assert why in said and said.count("\n") == 1
    with pytest.raises(SystemExit):
        export("onnx", tmp_path / "out", model, "--lessons", "{}.html")
    assert "--lessons is for --to browser" in capsys.readouterr().err
    for target in exports.NEEDED:
        monkeypatch.setitem(sys.modules, exports.NEEDED[target][-1], None)  # as if it were not installed
        monkeypatch.setitem(exports.NEEDED, target, exports.NEEDED[target][-1:])
        assert export(target, tmp_path / "out", model) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and f"-m pip install {exports.NEEDED[target][-1]}`" in said
    assert not (tmp_path / "out").exists()


def test_the_specification_of_ctranslate2_needs_no_pytorch():
    """The benchmarks use it in an environment that has none."""
    asked = "import sys, utils.export.ctranslate2; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"
