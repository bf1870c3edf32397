"""Translating batches of source ids, as each peer does it: `python -m benchmarks.peers.decoding PEER JOB` is a worker.

A task is {"beam": size}; the answer has the seconds and, where the weights are ours, the target ids found.
"""

import importlib.metadata
import tempfile
import time

from benchmarks.peers import serve

PAD, BOS, EOS = 0, 1, 2


def ours(job: dict, precision: str = "float32"):
    """The front door: text in, text out, with the cleaning and the cutting into tokens that the others are spared."""
    import torch

    from utils import load_translator

    torch.set_num_threads(job["threads"])
    translator = load_translator(job["checkpoint"], "cpu", precision)

    def translate(task):
        began = time.perf_counter()
        translator.translate(job["sentences"], beam_size=task["beam"])
        return {"seconds": time.perf_counter() - began}

    return {"versions": {"torch": torch.__version__}}, translate


def ctranslate2(job: dict, patience: float = 1.0, precision: str = "float32"):
    """CTranslate2 with our weights and our batches, as many at a time as there are threads, like ours.

    Its beam ends when `patience` times as many hypotheses have finished as it is wide. With 1, its default, it stops
    as soon as any four have, however good the live ones are; ours stops when no live one is among the best four.
    """
    import ctranslate2
    import numpy as np

    from utils.export.ctranslate2 import specification  # of all of ours the only part that needs no PyTorch

    weights = dict(np.load(job["weights"]))
    with tempfile.TemporaryDirectory() as folder:
        specification(weights, job["sizes"], job["src_tokens"], job["tgt_tokens"]).save(folder)
        translator = ctranslate2.Translator(
            folder, device="cpu", compute_type=precision, inter_threads=job["threads"], intra_threads=1
        )
    vocabulary = {token: i for i, token in enumerate(job["tgt_tokens"])}
    batches = [[[job["src_tokens"][i] for i in row] for row in batch] for batch in job["batches"]]
    limits = [max(2 * len(row) + 10 for row in batch) for batch in batches]

    def translate(task):
        options = {
            "beam_size": task["beam"],
            "patience": patience,
            "length_penalty": job["length_penalty"],
            "asynchronous": True,
        }
        began = time.perf_counter()
        promised = [
            translator.translate_batch(batch, max_decoding_length=limit, **options)
            for batch, limit in zip(batches, limits, strict=True)
        ]
        found = [promise.result() for batch in promised for promise in batch]
        spent = time.perf_counter() - began
        return {"seconds": spent, "ids": [[vocabulary[t] for t in result.hypotheses[0]] for result in found]}

    return {"versions": {"ctranslate2": ctranslate2.__version__}}, translate


def marian(job: dict):
    """MarianMTModel.generate with its cache and fused attention. Its weights are random and never end a sentence, so
    each batch gets exactly as many tokens as our longest translation of it, <eos> counted: what a trained model of its
    would need, for its rows do not leave the batch when they have ended."""
    import torch

    from benchmarks.peers import training

    torch.set_num_threads(job["threads"])
    model = training.marian(job)[0].eval()

    @torch.inference_mode()
    def translate(task):
        began = time.perf_counter()
        for batch, n in zip(job["batches"], job["longest"][str(task["beam"])], strict=True):
            src = training.pad(batch)
            out = model.generate(
                input_ids=src,
                attention_mask=(src != PAD).long(),
                num_beams=task["beam"],
                do_sample=False,
                min_new_tokens=n,
                max_new_tokens=n,
            )
            assert out.shape[1] == n + 1, (out.shape, n)
        return {"seconds": time.perf_counter() - began}

    return {"versions": {"transformers": importlib.metadata.version("transformers")}}, translate


PEERS = {
    "ours": ours,
    "ours-bfloat16": lambda job: ours(job, "bfloat16"),
    "ctranslate2": ctranslate2,
    "ctranslate2-patience2": lambda job: ctranslate2(job, patience=2.0),
    "ctranslate2-int8": lambda job: ctranslate2(job, patience=2.0, precision="int8"),
    "marian": marian,
}

if __name__ == "__main__":
    serve(PEERS)
