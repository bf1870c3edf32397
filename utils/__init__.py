"""The course's shared package: one lesson, one module.

Read the modules in this order, each imports only from those before it:
config, files, provenance, runtime, attention, positional, dropout, transformer, loss, recurrent, fetch, text, corpus,
dictionary, numbers, names, augment, tokenizer, batching, pairs, checkpoint, decoding, translate, limits, evaluation,
distributed, trainer, training. `figures` draws; nothing depends on it.
"""

import os

__all__ = ["load_translator"]

# A thread of PyTorch's that waits for work spins for a moment before it sleeps. Where two programs share the cores, one
# spins where the other could compute: with libgomp's own, long moment both nearly stop. PyTorch reads this when it is
# loaded, so it stands here; what the user has set stays.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def __getattr__(name):
    # The front door loads tokenizers and the rest only when it is opened: `import utils` stays cheap.
    if name == "load_translator":
        from utils.translate import load_translator

        return load_translator
    raise AttributeError(f"module 'utils' has no attribute {name!r}")
