"""One environment, written down three times (pyproject.toml, the lock, environment.yml): they must agree."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.sign import NotebookNotary
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tools.lock import CUDA, MACHINES, PYTHONS, SITE_LOCK, direct_names, pinned, read_lock, version
from utils import load_translator

ROOT = Path(__file__).resolve().parents[1]
LOCK = read_lock()
SITE = read_lock(SITE_LOCK)
INSTALLED = {canonicalize_name(d.metadata["Name"]): d for d in importlib.metadata.distributions()}
IN_THE_COURSE_ENVIRONMENT = Path(sys.prefix).resolve() == ROOT / ".venv"


def conda_pins() -> dict[str, str]:
    """The pip list of environment.yml as {canonical name: version}."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    listed = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert listed[-1] == "-e .", "the package itself comes last"
    return {canonicalize_name(name): version for name, version in (pin.split("==") for pin in listed[:-1])}


def test_the_locks_pin_every_package_and_nothing_else():
    for path, lock in ((ROOT / "requirements.txt", LOCK), (SITE_LOCK, SITE)):
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        for line in lines:
            assert re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line), f"no plain pin: {line}"
            assert pinned(line) == line, f"the same on every supported machine, or needed by none: {line}"
        assert len(lock) == len(lines), "a package stands twice"
    assert version(LOCK["torch"]) == "2.13.0"
    assert not LOCK.keys() & SITE.keys(), "the second lock holds what the first one lacks"
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["site"]
    assert set(asked) <= SITE.keys()
    assert not [name for name in LOCK if CUDA.match(name)], "CUDA libraries are torch's own affair"


def test_pyproject_lock_and_environment_agree():
    names = {canonicalize_name(name) for name in direct_names()}
    assert conda_pins() == {name: version(LOCK[name]) for name in names}
    assert {"jupyter", "torch", "numpy", "matplotlib", "seaborn", "nbval"} <= names


def test_the_supported_pythons_are_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    supported = SpecifierSet(project["project"]["requires-python"])
    assert [minor for minor in range(8, 20) if supported.contains(f"3.{minor}.0")] == [11, 12, 13]
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == list(PYTHONS)
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in (ROOT / "Makefile").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("python, system", MACHINES)
def test_the_lock_is_complete(python: str, system: str):
    """Whatever a locked package needs, on each Python and system, is locked too, in a version that fits."""
    machine = MACHINES[python, system]
    locked = {name: pin for name, pin in (SITE | LOCK).items() if pin.marker is None or pin.marker.evaluate(machine)}
    for package in locked.keys() & INSTALLED.keys():
        distribution = INSTALLED[package]
        asked = distribution.metadata["Requires-Python"] or ""
        assert SpecifierSet(asked).contains(f"{python}.0"), f"{package} needs Python {asked}"
        for need in map(Requirement, distribution.requires or ()):
            if need.marker is not None and not need.marker.evaluate(machine) or CUDA.match(need.name):
                continue
            pin = locked.get(canonicalize_name(need.name))
            assert pin, f"{package} needs {need}, which the lock lacks"
            assert package in SITE or canonicalize_name(need.name) in LOCK, "no lesson needs what only the site has"
            assert need.specifier.contains(version(pin), prereleases=True), f"{package} needs {need}, not {pin}"


def test_markers_of_the_lock_are_those_that_a_supported_machine_needs():
    assert pinned("a==1 ; sys_platform == 'win32'") == "a==1 ; sys_platform == 'win32'"
    assert pinned("a==1 ; platform_machine != 'i386' and sys_platform != 'emscripten'") == "a==1"
    assert pinned("a==1 ; sys_platform == 'emscripten'") is None
    assert pinned("nvidia-cublas==13.1 ; sys_platform == 'linux'") is None and pinned("triton==3.7") is None


@pytest.mark.skipif(not IN_THE_COURSE_ENVIRONMENT, reason="not run with .venv's Python")
def test_what_is_installed_is_what_is_locked():
    here = {name: version(pin) for name, pin in LOCK.items() if pin.marker is None or pin.marker.evaluate()}
    installed = {name: INSTALLED[name].version.split("+")[0] for name in here if name in INSTALLED}  # 2.13.0+cpu
    assert installed == here


@pytest.mark.slow
@pytest.mark.skipif(platform.system() == "Windows", reason="Binder runs Linux")
def test_binder_installs_a_cpu_torch_fetches_the_corpus_and_trusts_the_lessons(tmp_path):
    pip = tmp_path / "pip"  # a stand-in that only notes what it is asked for
    pip.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/asked"\n')
    pip.chmod(0o755)
    environ = os.environ | {
        "PATH": os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "JUPYTER_DATA_DIR": str(tmp_path),
    }
    done = subprocess.run(["binder/postBuild"], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lock, course = (tmp_path / "asked").read_text().splitlines()
    assert lock.endswith("-r requirements.txt") and course.endswith("-e .")
    there = (ROOT / "binder/environment.yml").read_text()
    assert f"pytorch-cpu={version(LOCK['torch'])}\n" in there, "the build for CPUs, of the version in the lock"
    assert "training pairs" in done.stdout
    notary = NotebookNotary(data_dir=str(tmp_path))
    lessons = list((ROOT / "notebooks").rglob("*.ipynb"))
    assert lessons and all(notary.check_signature(nbformat.read(lesson, 4)) for lesson in lessons)


def test_nothing_names_a_package_index():
    """Which index a machine installs from is its owner's affair."""
    for name in (
        "requirements.txt",
        "requirements-site.txt",
        "environment.yml",
        "pyproject.toml",
        "Makefile",
        ".ci/run",
        "binder/environment.yml",
        "binder/postBuild",
        ".github/workflows/ci.yml",
        ".github/workflows/pages.yml",
    ):
        text = (ROOT / name).read_text()
        assert not re.search(r"--(extra-)?index-url|--find-links|https?://", text), name


@pytest.mark.skipif(platform.system() == "Windows", reason="no make")
def test_make_lists_its_commands_and_refuses_a_wrong_python(tmp_path):
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in ("lab", "test", "run", "train", "train-rnn", "experiments", "lint", "site", "clean"):
        assert f"make {command} " in listed

    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$*" in *version_info*) exit 1;; --version) echo Python 3.9.1;; esac\n')
    old.chmod(0o755)
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    refused = subprocess.run(["make", "setup", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode != 0 and "needs Python 3.11, 3.12 or 3.13" in refused.stdout
    old.write_text('#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\n')  # as on Debian without python3-venv
    refused = subprocess.run(["make", "setup", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode != 0 and "install the package python3-venv" in refused.stdout
    missing = subprocess.run(["make", "setup", "PYTHON=no-such-python"], cwd=tmp_path, capture_output=True, text=True)
    assert missing.returncode != 0 and "no-such-python is not on this machine" in missing.stdout
    assert not (tmp_path / ".venv").exists()


@pytest.mark.skipif(platform.system() == "Windows", reason="no make")
def test_make_clean_spares_what_takes_hours_to_train(tmp_path):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    quick = ["data/cache/pairs", "data/cache/tatoeba.tsv", "build", ".venv/bin"]
    hours = ["data/cache/stages/there-1", "data/cache/runs/recipe", "data/cache/taught", "data/checkpoints/zh-en-rnn"]
    kept = ["work", "data/checkpoints/zh-en"]
    for folder in quick + hours + kept:
        (tmp_path / folder).mkdir(parents=True)
    for command, gone in (("clean", quick), ("clean-trained", quick + hours)):
        subprocess.run(["make", command], cwd=tmp_path, check=True, capture_output=True)
        left = {folder for folder in quick + hours + kept if (tmp_path / folder).exists()}
        assert left == {*quick, *hours, *kept} - {*gone}


def test_the_data_card_names_every_file():
    card = (ROOT / "data/README.md").read_text()
    git = subprocess.run(["git", "ls-files", "data"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for path in git.splitlines():
        _, name, *inside = path.split("/")
        name += f"/{inside[0]}/" if name == "checkpoints" else "/" * bool(inside)
        assert name == "README.md" or f"`{name}`" in card, f"the table of data/README.md lacks {name}"


PAGES = ["README.md", "CONTRIBUTING.md", "benchmarks/README.md", "data/README.md", "notebooks/README.md"]
PAGES += ["notebooks/teachers.md", "README.zh.md", "notebooks/zh/teachers.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page: str):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)\)", (ROOT / page).read_text())
    assert not [link for link in links if not ((ROOT / page).parent / link).exists()]


def test_every_lesson_is_in_the_readmes_table():
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| (\d\db?) \| \[[^\]]+\]\(notebooks/(.+)\) \| .+\? \|$", readme, re.MULTILINE)
    assert rows == [(path.name.partition("_")[0], path.name) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]


def test_the_readmes_translation_is_what_the_command_prints():
    readme = (ROOT / "README.md").read_text()
    text, printed = re.search(r'-m utils.translate "(.+)"\n(.+)\n', readme).groups()
    assert load_translator(device="cpu").translate(text) == printed
