"""Files that nobody ever meets half-written: the package's one way to write what is to be kept."""

import os
from pathlib import Path


def write_files(folder: Path, files: dict[str, bytes | str]) -> None:
    """Write all the files of a folder, none of them half: bytes as they are, text in UTF-8.

    They are renamed, in the order given, when the last byte of the last one is on the disk. Raises OSError with one
    sentence when the disk is full or the folder cannot be written; everything is then as it was. What happens between
    two renames, the computer's failure or a file that another program holds open, leaves new files beside old ones.
    """
    for name in files:
        if os.path.isdir(folder / name):  # not Path.is_dir, which raises where the folder may not be entered
            raise OSError(f"Cannot write {folder / name}, which is a folder: move it away, or write to another place.")
    # One temporary name for each: what a killed writer left, the next one overwrites.
    temporary = {name: folder / f".{name}.tmp" for name in files}
    name, left = "", "What was there before is unharmed"
    try:
        try:
            for name, content in files.items():
                # Path.write_bytes, unlike the writers of safetensors and torch, says why a disk refuses the bytes.
                temporary[name].write_bytes(content.encode() if isinstance(content, str) else content)
                with temporary[name].open("rb+") as file:
                    os.fsync(file.fileno())
            for name, path in temporary.items():
                os.replace(path, folder / name)
                left = "The files before it are new, this one and those after it as they were"
        finally:
            for path in temporary.values():
                path.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(
            f"Cannot write {folder / name}: {error.strerror or error}. {left}: make room on the disk, or make the "
            "folder writable, and give the same command again."
        ) from None


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where they are not there; OSError, one sentence, where they cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"Cannot make the folder {folder} ({error.strerror}): name another one.") from None


def write_text_atomically(path: Path, text: str) -> None:
    """`write_files` for one text."""
    write_files(path.parent, {path.name: text})
