"""Exports: what they write translates as the model does, or nothing is written."""

import importlib.util
import re
import subprocess
import sys

import pytest
from helpers.tiny import tiny_checkpoint, tiny_model, tiny_tokenizer

from utils.checkpoint import save_model
from utils.config import CHECKPOINT, ROOT
from utils.export import __main__ as exports
from utils.translate import load_translator

TARGETS = list(exports.NEEDED)


def needs(target: str) -> None:
    """Skip the test where the target's packages are not."""
    for package in exports.NEEDED[target]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: `pip install {' '.join(exports.NEEDED[target])}` for this test")


def checkpoint(folder, **changes):
    """A tiny Transformer with random weights, whose stacks may differ in depth."""
    tokenizer = tiny_tokenizer()
    model = tiny_model(src_vocab=tokenizer.src_vocab, tgt_vocab=tokenizer.tgt_vocab, **changes)
    save_model(folder, model.state_dict(), model.config, tokenizer)
    return folder


def code(folder) -> tuple[list[str], str]:
    """The commands of a README, and its Python."""
    blocks = dict(re.findall(r"```(sh|python)\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.S))
    return blocks["sh"].splitlines(), blocks["python"]


def export(target, out, source) -> int:
    return exports.main(["--to", target, "--out", str(out), "--checkpoint", str(source)])


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
def test_it_translates_as_the_model_does(target, changes, tmp_path, capsys, monkeypatch):
    """Greedy ids in batches of many lengths; the beam is for a model that has learned something: see the next test."""
    needs(target)
    monkeypatch.setitem(exports.SEARCHES, target, {1: 1.0})
    assert export(target, tmp_path / "out", checkpoint(tmp_path / "model", **changes)) == 0, capsys.readouterr().err
    assert "greedy search gives the same ids for 100.0 %" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
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


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_an_export_that_translates_otherwise_is_not_kept(target, tmp_path, capsys, monkeypatch):
    needs(target)
    write = getattr(exports, target).write

    def faulty(model, tokenizer, folder):
        changed = tiny_model(**{name: getattr(model.config, name) for name in ("src_vocab", "tgt_vocab")}).float()
        changed.load_state_dict(model.state_dict())
        rows = slice(model.config.d_model, 2 * model.config.d_model)
        changed.decoder[1].cross_attention.in_proj.weight.data[rows].zero_()  # the keys of one attention
        write(changed, tokenizer, folder)

    monkeypatch.setitem(exports.TARGETS, target, exports.program(target, faulty))
    assert export(target, tmp_path / "out", checkpoint(tmp_path / "model")) == 1
    assert re.fullmatch(r"With greedy search only \d+% of .* nothing was written\.\n", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def harmless(model, tokenizer, folder):
    (folder / "model.bin").write_text("weights")


@pytest.fixture
def without_check(monkeypatch):
    """An export that needs no package and is not compared."""
    monkeypatch.setitem(exports.NEEDED, "onnx", [])
    monkeypatch.setitem(exports.TARGETS, "onnx", exports.program("onnx", harmless))
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
    ):
        assert export(target, out, source) == 1
        said = capsys.readouterr().err
        assert why in said and said.count("\n") == 1
    for target in TARGETS:
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
