"""How pytest reads the lessons: strict `--nbval`, with three things left out of the comparison.

nbval itself leaves out PNG and JPEG pictures. This file adds stderr (progress bars) and SVG pictures
(random ids), and the sanitizer that turns timings into a placeholder. Every kernel is started with
the Python that runs pytest, whatever other kernels are installed on the machine. Exercises tried by a
test are noted in a temporary file: the learner's own progress is not touched. A lesson in another language is run in
that language.
"""

import os
import tempfile
from pathlib import Path

import pytest

from utils.language import NAMES

SANITIZER = Path(__file__).parent / "tests" / "nbval_sanitize.cfg"
NEVER_COMPARED = ("stderr", "image/svg+xml")


def pytest_configure(config: pytest.Config) -> None:
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    os.environ["TRANSFORMER_COURSE_PROGRESS"] = str(Path(folder.name) / "progress.json")
    if getattr(config.option, "nbval", False):
        config.option.nbval_sanitize_with = config.option.nbval_sanitize_with or str(SANITIZER)
        config.option.nbval_current_env = config.option.nbval_kernel_name is None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if type(item).__name__ == "IPyNbCell":  # before its lesson's kernel starts, which inherits this
        folder = item.path.parent.name
        os.environ["TRANSFORMER_COURSE_LANGUAGE"] = folder if folder in NAMES else "en"


def pytest_collectstart(collector: pytest.Collector) -> None:
    if type(collector).__name__ == "IPyNbFile":
        collector.skip_compare += NEVER_COMPARED
