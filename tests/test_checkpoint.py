"""Checkpoints: there and back, old or new but never half, and one clear sentence about every kind of harm."""

import json
import os
import pickle
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from helpers.tiny import random_ids, tiny_checkpoint, tiny_model, tiny_tokenizer
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from utils.checkpoint import CheckpointError, load_model, save_model
from utils.files import write_files

FILES = ["config.json", "model.safetensors", "tokenizer.json"]


@pytest.fixture
def folder(tmp_path):
    return tiny_checkpoint(tmp_path / "checkpoint")


@pytest.mark.parametrize("kind", ["transformer", "rnn"])
@pytest.mark.parametrize("half", [False, True])
def test_there_and_back(tmp_path, kind, half):
    tokenizer = tiny_tokenizer()
    model = tiny_model(kind, src_vocab=tokenizer.src_vocab, tgt_vocab=tokenizer.tgt_vocab, dropout=0.5).float()
    save_model(tmp_path / "a" / "b", model.state_dict(), model.config, tokenizer, half)
    loaded, cut = load_model(str(tmp_path / "a" / "b"))
    assert type(loaded) is type(model) and loaded.config == model.config and not loaded.training
    assert cut.encode_src(["我喜欢"]) == tokenizer.encode_src(["我喜欢"])
    src, tgt = random_ids([5, 3], 13), random_ids([4, 6], 11)
    tolerance = {"atol": 0.02, "rtol": 0.02} if half else {"atol": 0, "rtol": 0}
    assert_close(loaded(src, tgt), model(src, tgt), **tolerance)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == FILES


def test_tied_weights_are_stored_once(folder):
    model, tokenizer = load_model(folder)
    stored = load_file(folder / "model.safetensors")
    assert stored.keys() == dict(model.named_parameters()).keys()
    assert sum(w.shape[0] == tokenizer.tgt_vocab for w in stored.values()) == 1


# ---------------------------------------------------------------------------------------------- written whole


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def no_file_beyond(size: int):
    """The operating system refuses what makes a file of this process longer, half-way through the writing."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


SENTENCE = r"Cannot write .*{}: File too large\. What was there before is unharmed: make room on the disk"


def test_all_files_or_none(tmp_path):
    """The last one is too much for the disk: the first ones are not there either, and no half of any."""
    (tmp_path / "b").write_text("old")
    files = {"a": bytes(9), "b": "学", "c": bytes(10**5)}
    with no_file_beyond(10**4), pytest.raises(OSError, match=SENTENCE.format("c")):
        write_files(tmp_path, files)
    assert contents(tmp_path) == {"b": b"old"}
    write_files(tmp_path, files)
    assert contents(tmp_path) == {"a": bytes(9), "b": "学".encode(), "c": bytes(10**5)}


def test_a_folder_in_a_files_place_is_seen_before_the_first_rename(tmp_path):
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").mkdir()
    with pytest.raises(OSError, match="Cannot write .*b, which is a folder: move it away"):
        write_files(tmp_path, {"a": b"new", "b": b"new"})
    assert (tmp_path / "a").read_text() == "old" and sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_rename_that_fails_after_others_is_no_unharmed_folder(tmp_path, monkeypatch):
    """As on Windows, where another program may hold a file open."""
    replace = os.replace

    def held_open(source, target):
        if Path(target).name == "b":
            raise PermissionError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(os, "replace", held_open)
    with pytest.raises(OSError, match=r"Cannot write .*b: Permission denied\. The files before it are new, this one"):
        write_files(tmp_path, {"a": b"new", "b": b"new", "c": b"new"})
    assert contents(tmp_path) == {"a": b"new"}


def test_a_folder_that_cannot_be_made(folder):
    model, tokenizer = load_model(folder)
    with pytest.raises(OSError, match=r"^Cannot make the folder .*config.json \(File exists\): name another one\.$"):
        save_model(folder / "config.json", model.state_dict(), model.config, tokenizer)


def test_what_a_killed_writer_left_is_overwritten(tmp_path):
    (tmp_path / ".a.tmp").write_bytes(bytes(99))
    write_files(tmp_path, {"a": b"new"})
    assert contents(tmp_path) == {"a": b"new"}


def test_a_disk_that_fills_up_while_another_model_is_saved(folder):
    """Another in its sizes, too: old weights beside a new config.json would be no checkpoint."""
    before, (_, tokenizer) = contents(folder), load_model(folder)
    other = tiny_model(d_model=16, src_vocab=tokenizer.src_vocab, tgt_vocab=tokenizer.tgt_vocab)
    limit = len(before["model.safetensors"])  # of which the new one would need twice as much
    with no_file_beyond(limit), pytest.raises(OSError, match=SENTENCE.format("model.safetensors")):
        save_model(folder, other.state_dict(), other.config, tokenizer)
    assert contents(folder) == before
    load_model(folder)


# ------------------------------------------------------------------------------------------------------- harm


class Bomb:
    """Unpickling it would make a file named `exploded`."""

    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def change_config(**changes):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return change


def drop_from_config(name):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        del config[name]
        (folder / "config.json").write_text(json.dumps(config))

    return change


def overwrite(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def truncate(name, share):
    return lambda folder: os.truncate(folder / name, int(share * (folder / name).stat().st_size))


HARM = {
    "no folder": (lambda folder: folder.rename(folder.with_name("gone")), "There is no checkpoint in"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json is missing"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "weights cut short": (truncate("model.safetensors", 0.5), "truncated or damaged"),
    "weights cut off in their header": (truncate("model.safetensors", 0.01), "truncated or damaged"),
    "empty weights": (overwrite("model.safetensors", b""), "truncated or damaged"),
    "weights of text": (overwrite("model.safetensors", b"hello" * 99), "truncated or damaged"),
    "a pickle for weights": (overwrite("model.safetensors", pickle.dumps(Bomb())), "truncated or damaged"),
    "garbage config": (overwrite("config.json", b"\xff\xfe\x00"), "damaged or not one of this course"),
    "half a config": (truncate("config.json", 0.5), "damaged or not one of this course"),
    "a list for a config": (overwrite("config.json", b"[1, 2]"), "damaged or not one of this course"),
    "another program's config": (overwrite("config.json", b'{"hidden_size": 768}'), "no field 'hidden_size'"),
    "words for numbers": (change_config(d_model="eight"), "damaged or not one of this course"),
    "fractions for whole numbers": (change_config(d_model=8.0), "d_model is 8.0; it must be a whole number"),
    "more heads than width": (change_config(n_heads=16), "cannot be split into n_heads = 16"),
    "no heads": (change_config(n_heads=0), "n_heads is 0; it must be a whole number, at least 1"),
    "too much dropout": (change_config(dropout=2), "dropout is 2; it must be a finite number"),
    "padding that is no token": (change_config(pad_id=999999), "pad_id is 999999; it must be a token"),
    "a size left out": (drop_from_config("n_heads"), "the field 'n_heads' is missing"),
    "wider than its weights": (change_config(d_model=16), "do not fit its config.json: .*size mismatch"),
    "deeper than its weights": (change_config(n_layers=3), "do not fit its config.json: .*Missing key"),
    "another kind": (change_config(kind="rnn"), "do not fit its config.json"),
    "another vocabulary": (change_config(tgt_vocab=71), "different vocabularies"),
    "a vocabulary beyond all memory": (change_config(src_vocab=10**13), "different vocabularies"),
    "a layer beyond all memory": (change_config(d_ff=10**13), "do not fit its config.json"),
    "half a tokenizer": (truncate("tokenizer.json", 0.5), "damaged or not one of this course"),
    "another program's tokenizer": (overwrite("tokenizer.json", b'{"model": {}}'), "not one of this course"),
    "empty tokenizers": (overwrite("tokenizer.json", b'{"src": {}, "tgt": {}}'), "not one of this course"),
    "other weights": (
        lambda folder: save_file({"w": torch.ones(3)}, folder / "model.safetensors"),
        "do not fit its config.json",
    ),
}


@pytest.mark.usefixtures("shapes_unchecked")  # records of a config.json check themselves
@pytest.mark.parametrize("harm", HARM)
def test_harm_is_told_in_one_sentence(folder, harm, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    do, message = HARM[harm]
    do(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(folder)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 500 and str(folder) in text
    assert caught.value.__context__ is None or caught.value.__suppress_context__  # no chain of others' tracebacks
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("norm_first", [True, False])
def test_checkpoints_with_the_names_of_an_earlier_version_load(tmp_path, norm_first):
    model, tokenizer = tiny_model(norm_first=norm_first), tiny_tokenizer()
    model = tiny_model(norm_first=norm_first, src_vocab=tokenizer.src_vocab, tgt_vocab=tokenizer.tgt_vocab)
    old = {}
    for name, w in model.state_dict().items():
        place = {"attention_norm": 0, "cross_attention_norm": 1, "ffn_norm": 2 if name.startswith("decoder") else 1}
        parts = name.split(".")
        old[".".join(f"add_norms.{place[part]}.norm" if part in place else part for part in parts)] = w
    assert len(old) == len(model.state_dict()) and sum("add_norms" in name for name in old) == 2 * 2 * (2 + 3)
    save_model(tmp_path, old, model.config, tokenizer)
    loaded, _ = load_model(tmp_path)
    for name, w in loaded.state_dict().items():
        assert torch.equal(w, model.state_dict()[name].float()), name
