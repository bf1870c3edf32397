"""The course's shared package: what the lessons build, ready to be used and read."""

import os

__all__ = ["load_translator"]

# The modules in an order to read them: each imports only from those before it. `figures` draws, `checks` examines and
# `export` writes for other programs; nothing depends on them.
READING_ORDER = "config language files provenance runtime norm positional attention dropout transformer stack loss"
READING_ORDER += " recurrent scan fetch text corpus dictionary paraphrases bag_of_words numbers names augment tokenizer"
READING_ORDER += " trigram sequences batching pairs decoder_only encoder_only checkpoint decoding sampling repeats"
READING_ORDER += " translate ensemble average evaluation limits synthetic distributed trainer training recipe"
# The Transformer, its training and its search: to be read first, and in one sitting.
CORE = "positional attention transformer loss batching decoding trainer"

# A thread of PyTorch's that waits for work spins for a moment before it sleeps. Where two programs share the cores, one
# spins where the other could compute: with libgomp's own, long moment both nearly stop. PyTorch reads this when it is
# loaded, so it stands here; what the user has set stays.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")


def __getattr__(name):
    # The front door loads tokenizers and the rest only when it is opened: `import utils` stays cheap.
    if name == "load_translator":
        from utils.translate import load_translator

        return load_translator
    raise AttributeError(f"module 'utils' has no attribute {name!r}")
