"""A checkpoint for other programs: `python -m utils.export --to TARGET --out FOLDER`.

`browser`, `ctranslate2` and `onnx` each write the files of one target; `__main__` checks them against PyTorch and keeps
them. `explorer/` is the browser's page, `programs/` has what else translates with them: a folder that is exported needs
nothing else of the course.
"""


class ExportError(RuntimeError):
    """An export cannot be made, or does not translate as the model does; the message says why."""
