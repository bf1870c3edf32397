"""The package as a whole: the order in which to read it, and what importing it costs."""

import ast
import subprocess
import sys
import tomllib

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


def test_an_installed_package_has_all_its_files():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    carried = {path for path in (ROOT / "utils").rglob("*.py")}
    for package, patterns in settings["package-data"].items():
        carried |= {path for pattern in patterns for path in ROOT.joinpath(*package.split(".")).glob(pattern)}
    files = {path for path in (ROOT / "utils").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert not files - carried
