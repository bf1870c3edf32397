"""The package as a whole: the order in which to read it, and what importing it costs."""

import ast
import shutil
import subprocess
import sys
import tomllib

import pytest

import utils
from utils.config import ROOT

MODULES = {path.stem: path for path in (ROOT / "utils").glob("*.py") if path.stem != "__init__"}


def imported(path) -> set[str]:
    """The modules of the package that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "utils":
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("utils."):
            found.add(node.module.split(".")[1])
    return found & set(MODULES)


def test_each_module_imports_only_from_those_before_it():
    order = utils.READING_ORDER.split()
    assert sorted(order) == sorted(MODULES), "READING_ORDER has every module once"
    for at, name in enumerate(order):
        assert imported(MODULES[name]) <= set(order[:at]), name


def test_the_core_is_read_in_the_same_order():
    assert [name for name in utils.READING_ORDER.split() if name in utils.CORE.split()] == utils.CORE.split()


def test_importing_the_package_loads_neither_torch_nor_figures():
    heavy = {"torch", "matplotlib", "seaborn", "tokenizers", "sacrebleu"}
    code = f"import sys, utils; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_translator_loads_without_the_compiler():
    """It takes a second, and translating needs none."""
    code = "import sys; from utils import load_translator; load_translator(); print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"


def test_an_installed_package_has_all_its_files():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    carried = {path for path in (ROOT / "utils").rglob("*.py")}
    for package, patterns in settings["package-data"].items():
        carried |= {path for pattern in patterns for path in ROOT.joinpath(*package.split(".")).glob(pattern)}
    files = {path for path in (ROOT / "utils").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert not files - carried


ALONE = """
import importlib, pkgutil, utils
for module in pkgutil.walk_packages(utils.__path__, "utils."):
    if not module.name.startswith("utils.export.programs"):
        importlib.import_module(module.name)
for name in "{doors}".split():
    try:
        importlib.import_module(name).main(["--help"])
    except SystemExit as end:
        assert end.code == 0, name
for name in ("evaluation", "limits"):
    assert importlib.import_module(f"utils.{{name}}").main(["nowhere"]) == 1
"""


@pytest.mark.slow
def test_an_installed_package_needs_no_repository_to_be_imported_and_to_give_help(tmp_path):
    """The files of utils/ alone: no data/ beside them. Every `python -m utils.NAME` tells what it takes."""
    shutil.copytree(ROOT / "utils", tmp_path / "utils", ignore=shutil.ignore_patterns("__pycache__"))
    doors = [path for path in (ROOT / "utils").rglob("*.py") if "\ndef main(" in path.read_text(encoding="utf-8")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted(doors)]
    assert len(names) >= 8
    code = ALONE.format(doors=" ".join(names))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: python -m utils.") == len(names)
    assert len(done.stderr.splitlines()) == 2, "a sentence each"
