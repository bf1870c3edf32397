"""A checkpoint for other programs: `python -m utils.export --to onnx|ctranslate2 --out FOLDER`.

`ctranslate2` and `onnx` each write the files of one target; `__main__` checks them against PyTorch and keeps them.
`programs/` has what translates with them: a folder that is exported needs nothing else of the course.
"""
