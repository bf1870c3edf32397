"""Every test of the package runs with its shapes checked (jaxtyping's import hook, with beartype)."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("utils", "beartype.beartype")
