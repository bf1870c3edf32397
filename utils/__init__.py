"""The course's shared package: one lesson, one module.

Read the modules in this order, each imports only from those before it:
config, files, provenance, runtime, attention, positional, dropout, transformer, loss, recurrent, fetch, text, corpus,
dictionary, tokenizer, batching, pairs, checkpoint, decoding, translate, evaluation, distributed, trainer, training.
`figures` draws; nothing depends on it.
"""

__all__ = ["load_translator"]


def __getattr__(name):
    # The front door loads tokenizers and the rest only when it is opened: `import utils` stays cheap.
    if name == "load_translator":
        from utils.translate import load_translator

        return load_translator
    raise AttributeError(f"module 'utils' has no attribute {name!r}")
