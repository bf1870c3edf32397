"""The tests of the package run with its shapes checked: jaxtyping's import hook, with beartype.

The hook checks the modules that are imported after it, so nothing before it may import one: neither this file, nor
the helpers that it uses, nor conftest.py in the root.
"""

import os
import pkgutil
import random

import jaxtyping
import numpy as np
import pytest
import torch
import torch._dynamo  # noqa: F401 - its 500 files would be compiled anew if they were first imported under the hook

import utils

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

# `make test` is a make itself: one that a test starts must not take itself for its child, which prints more.
for name in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES"):
    os.environ.pop(name, None)

# Two are spared, which would take twice as long: the checks, handed whatever a learner may hand in, and the corpus, a
# hundred thousand sentences of plain text.
SPARED = ("checks", "corpus", "dictionary", "text")
modules = [f"utils.{module.name}" for module in pkgutil.iter_modules(utils.__path__) if module.name not in SPARED]
jaxtyping.install_import_hook(modules, "beartype.beartype")


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=0, help="another seed for what the tests draw at random")


@pytest.fixture(autouse=True)
def seed(request, monkeypatch) -> int:
    """The seed of every random number of a test: the same in every run but with `--seed`, and printed if it fails."""
    seed = request.config.getoption("seed")
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    drawn = random.Random(seed)
    monkeypatch.setattr(random, "SystemRandom", lambda: drawn)  # where a check of an exercise takes its seed from
    request.node.add_report_section("setup", "seed", f"--seed {seed}")
    return seed


@pytest.fixture
def shapes_unchecked():
    """For tests of whole runs, which call ten thousand times what the tests of its own module have checked."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="session", autouse=True)
def pairs_cache(tmp_path_factory):
    """What tests prepare of `--pairs` is kept apart, for this run alone."""
    os.environ["TRANSFORMER_COURSE_PAIRS"] = str(tmp_path_factory.mktemp("pairs-cache"))


@pytest.fixture
def progress_file(tmp_path, monkeypatch):
    """A file of this test's own for the exercises that it tries."""
    path = tmp_path / "progress.json"
    monkeypatch.setenv("TRANSFORMER_COURSE_PROGRESS", str(path))
    return path


@pytest.fixture
def drawing_style():
    """The course's style for one test, and no figure left open after it."""
    import matplotlib
    import matplotlib.pyplot as plt

    from utils import figures

    with matplotlib.rc_context():
        figures.use_style()
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Arguments of a training run of the tiniest kind on PAIRS, but for its length and --out."""
    from helpers.tiny import FLAGS, write_pairs  # not above: it imports the package, whose shapes are to be checked

    return ["--pairs", str(write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.tsv")), *FLAGS.split()]
