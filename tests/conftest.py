"""Every test of the package runs with its shapes checked (jaxtyping's import hook, with beartype)."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("utils", "beartype.beartype")


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
