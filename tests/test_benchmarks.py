"""The benchmarks in miniature: their arithmetic, their processes, and every command that needs no other package."""

import contextlib
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import tiny

from benchmarks import __main__ as bench
from benchmarks import common, decoding, gpu, growth, quality, training
from benchmarks.peers import decoding as searches
from benchmarks.peers import training as steps
from utils import corpus
from utils.attention import attention, fast_attention
from utils.batching import make_batch
from utils.decoding import greedy
from utils.loss import smoothed_loss
from utils.tokenizer import BOS, EOS, PAD

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")

CPU = torch.device("cpu")
SIZES = {"src_vocab": 13, "tgt_vocab": 11, "d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 16}
ROWS = [
    {"src": tiny.SRC[:6], "tgt": tiny.TGT[:6]},
    {"src": tiny.SRC[6:16], "tgt": tiny.TGT[6:16]},
]
PARENT = """
import sys
from benchmarks.peers import serve
def double(job):
    print("a library says hello")
    def work(task):
        return {"twice": 2 * task["x"] + job["plus"]}
    return {"ready": True}, work
def broken(job):
    raise ModuleNotFoundError("there is no such package")
if __name__ == "__main__":
    serve({"double": double, "broken": broken})
"""


@pytest.fixture
def in_process(monkeypatch):
    """Workers without processes of their own; CTranslate2 is refused."""

    class Here:
        def __init__(self, module, name, job):
            self.about, self.ask = module.PEERS[name](json.loads(job.read_text(encoding="utf-8")))

    for command, module in ((training, steps), (decoding, searches)):

        @contextlib.contextmanager
        def at_work(names, _, job, threads, module=module):
            there = [name for name in names if name != "ctranslate2"]
            failed = {"ctranslate2": "not installed: no network"} if "ctranslate2" in names else {}
            yield {name: Here(module, name, job) for name in there}, failed

        monkeypatch.setattr(command, "at_work", at_work)


@pytest.fixture
def small_corpus(monkeypatch):
    pairs = [corpus.Pair(zh, en) for zh, en in tiny.PAIRS]
    items = [corpus.TestItem(zh, (en,)) for zh, en in tiny.PAIRS]
    monkeypatch.setattr(corpus, "load", lambda: corpus.Corpus(pairs, items, items))


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module with two peers, one of which cannot be built, and a job for them."""
    (tmp_path / "stand_in.py").write_text(PARENT, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "stand_in", training.write_job(tmp_path / "job.json", plus=1)


# ------------------------------------------------------------------------------------------ processes


def test_workers_take_turns_and_a_broken_one_says_why(module, capsys):
    with common.at_work(["double", "broken"], *module, threads=1) as (workers, failed):
        assert workers["double"].about == {"ready": True}, "what a library prints is no answer"
        assert list(workers) == ["double"] and "there is no such package" in failed["broken"]
        answers = common.take_turns(workers, failed, {"x": 4}, rounds=3, warmup=2)
        assert answers == {"double": [{"twice": 9}] * 3}
        with pytest.raises(common.PeerError, match="KeyError: 'x'"):
            workers["double"].ask({})
        answers = common.take_turns(workers, failed, {"x": 4}, rounds=1)  # it has died, the others would go on
        assert answers == {} and workers == {} and "KeyError" in failed["double"]


def test_no_worker_outlives_its_work(module, capsys):
    with pytest.raises(ZeroDivisionError), common.at_work(["double"], *module, threads=1) as (workers, _):
        process = workers["double"].process
        raise ZeroDivisionError
    assert process.poll() is not None
    ours_is_broken = PARENT.replace('"broken": broken', '"ours": broken')
    Path(os.environ["PYTHONPATH"], "stand_in.py").write_text(ours_is_broken, encoding="utf-8")
    with pytest.raises(SystemExit, match="our own program stopped: .*no such package"):
        with common.at_work(["ours", "double"], *module, threads=1):
            raise AssertionError("there is nothing to compare with")


class Noted:
    """A worker that notes when it was asked."""

    def __init__(self, name, asked):
        self.name, self.asked = name, asked

    def ask(self, task):
        self.asked.append(self.name)
        return {}


def test_every_round_another_worker_begins():
    asked = []
    workers = {name: Noted(name, asked) for name in "abc"}
    answers = common.take_turns(workers, {}, {}, rounds=2, warmup=1)
    assert "".join(asked) == "abcbcacab" and {name: len(found) for name, found in answers.items()} == dict.fromkeys(
        "abc", 2
    )


def test_an_environment_is_made_once_and_says_why_it_cannot_be(tmp_path, monkeypatch):
    (tmp_path / "benchmarks/peers").mkdir(parents=True)
    monkeypatch.setattr(common, "ROOT", tmp_path)
    monkeypatch.setattr(common, "BENCH", tmp_path / ".bench")
    packages, ran = tmp_path / "benchmarks/peers/small.txt", []

    def run(command, **_):
        ran.append("venv" if "venv" in command else "pip")
        (tmp_path / ".bench/small").mkdir(parents=True, exist_ok=True)
        missing = ran[-1] == "pip" and "nowhere" in packages.read_text()
        return subprocess.CompletedProcess(command, int(missing), "", "much to tell\nERROR: no package\n\n")

    monkeypatch.setattr(common.subprocess, "run", run)
    packages.write_text("nowhere==1\n")
    with pytest.raises(common.PeerError, match="not installed: ERROR: no package"):
        common.environment("small")
    packages.write_text("small==1\n")
    assert common.environment("small") == common.environment("small") == tmp_path / ".bench/small/bin/python"
    assert ran == ["venv", "pip"] * 2, "after a failure anew, after a success not again"
    packages.write_text("small==2\n")
    common.environment("small")
    assert ran == ["venv", "pip"] * 3, "another list, another environment"


# ------------------------------------------------------------------------------------------ arithmetic


def test_operations_of_a_product_and_of_an_attention_are_counted():
    a, b = torch.randn(3, 5), torch.randn(5, 7)
    assert common.flops(lambda: a @ b) == 2 * 3 * 5 * 7
    q, k, v = (torch.randn(2, 3, n, 8, requires_grad=True) for n in (20, 30, 30))  # not too few for the fused kernel
    product = 2 * 2 * 3 * 20 * 30 * 8
    plain, fused = (common.flops(lambda f=f: f(q, k, v)) for f in (attention, fast_attention))
    assert plain == fused == 2 * product
    plain = common.flops(lambda: attention(q, k, v)[0].sum().backward())
    fused = common.flops(lambda: fast_attention(q, k, v).sum().backward())
    assert plain == 6 * product and fused == 7 * product, "the fused one computes its scores again"


def test_operations_of_a_step_grow_with_the_tokens_and_count_no_logits_of_padding():
    model = tiny.tiny_model(n_layers=1).float().train()
    once, twice = (training.step_flops(model, ROWS[:1] * n, CPU) for n in (1, 2))
    assert twice == 2 * once > 0
    longer = [{"src": ROWS[0]["src"], "tgt": [*ROWS[0]["tgt"][:-1], ROWS[0]["tgt"][-1] * 2]}]
    assert training.step_flops(model, longer, CPU) > once


def test_slope_of_a_power_law():
    x = [1, 2, 4, 8]
    assert math.isclose(common.slope(x, [3 * value**1.5 for value in x]), 1.5)


def test_peak_bytes_is_what_was_held_at_one_moment():
    a = torch.randn(256, 256)  # 256 KiB

    def work():
        b = a + 1
        b = b + 1  # the first b lives until this one is there,
        b = b + 1  # and is gone when the third comes
        return b.sum()

    assert 2 * 2**18 <= growth.peak_bytes(work) < 2 * 2**18 + 4096


def test_ratios_are_taken_round_by_round():
    assert common.ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    assert common.spread([3.0, 1.0, 2.0]) == "2.00 (1.00..3.00)"


# ------------------------------------------------------------------------------------------ the same work for all


def test_peers_get_our_batches():
    batch = ROWS[0]
    ours = make_batch(batch["src"], batch["tgt"])
    for theirs, mine in zip(steps.tensors(batch), (ours.src, ours.tgt_in, ours.tgt_out), strict=True):
        assert torch.equal(theirs, mine)


def test_the_peers_loss_is_ours_but_for_the_share_of_padding():
    logits = torch.randn(2, 5, 11, generator=torch.Generator().manual_seed(0))
    target = tiny.random_ids([5, 2], 11, seed=3)
    real = target != PAD
    ours, _ = smoothed_loss(logits[real], target[real], 0.1)
    assert 0.9 < steps.smoothed(logits, target) / ours < 1.1
    changed = logits.masked_fill(~real[..., None], 3.0)
    torch.testing.assert_close(steps.smoothed(changed, target), steps.smoothed(logits, target))


@pytest.mark.parametrize("name", ["ours", "torch", "torch-real"])
def test_a_step_trains(name):
    job = {"sizes": SIZES, "batches": ROWS, "threads": 1, "batch_tokens": 100}
    about, step = steps.PEERS[name](job)
    first, *_, last = (step({}) for _ in range(60))
    assert about["parameters"] == sum(p.numel() for p in tiny.tiny_model(**SIZES).parameters())
    assert first["tokens"] == sum(len(t) + 1 for batch in ROWS for t in batch["tgt"]) and first["seconds"] > 0
    assert last["loss"] < first["loss"], "at a rate of 1e-4 a little, but it learns"


def test_the_step_of_nn_transformer_drops_what_ours_drops():
    model, _ = steps.torch_transformer({"sizes": SIZES})
    named = {name: m.p for name, m in model.named_modules() if isinstance(m, torch.nn.Dropout)}
    assert {p for name, p in named.items() if name.endswith(".dropout") and ".layers." in name} == {0.0}
    assert {p for name, p in named.items() if ".dropout1" in name or name in ("src.dropout", "tgt.dropout")} == {0.1}
    inner = [m for m in model.modules() if isinstance(m, torch.nn.MultiheadAttention)]
    assert len(inner) == 3 and all(m.dropout == 0 for m in inner)


def test_a_profile_tells_products_from_the_rest():
    a, b = torch.randn(400, 400), torch.randn(3, 8, 16)

    def work():
        for _ in range(20):
            a @ a
        time.sleep(0.05)
        return torch.softmax(b, dim=-1)

    spent = common.profile(work)
    assert set(spent) == {*common.KINDS, "the rest"} and all(seconds >= 0 for seconds in spent.values())
    assert spent["the rest"] >= 0.05, "where no operation runs, Python does"
    assert spent["matrix products"] > 10 * spent["softmax and choice"] > 0 == spent["random numbers"]
    names = {"ours": "this course", "other": "Other"}
    speed = {"ours": [1.0, 2.0, 9.0], "other": [0.5]}
    seconds = {"matrix products": 1.0, "copies": 0.001, "the rest": 0.999}
    assert common.products_alone(seconds, speed, names) == "8.00 times Other"  # twice our median
    assert common.shares(seconds) == "matrix products 50 %, the rest 50 %", "what takes next to nothing is left out"


def test_every_kind_of_operation_is_known_to_pytorch():
    named = [name for names in common.KINDS.values() for name in names]
    assert len(named) == len(set(named)) and all(hasattr(torch.ops.aten, name) for name in named)


def test_padding_moves_nothing_in_the_step_of_nn_transformer():
    torch.manual_seed(0)
    job = {"sizes": SIZES}
    losses = [steps.torch_transformer(job, real_only=real) for real in (False, True)]
    losses[1][0].load_state_dict(losses[0][0].state_dict())
    src, tgt_in, tgt_out = steps.tensors(ROWS[1])
    wider = [torch.nn.functional.pad(x, (0, 3)) for x in (src, tgt_in, tgt_out)]
    for model, loss in losses:
        model.eval()
        torch.testing.assert_close(loss(src, tgt_in, tgt_out), loss(*wider))
    torch.testing.assert_close(losses[0][1](src, tgt_in, tgt_out), losses[1][1](src, tgt_in, tgt_out))


# ------------------------------------------------------------------------------------------ commands


def test_training_in_miniature(small_corpus, in_process, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "BENCH", tmp_path)
    monkeypatch.setattr(training, "gemm_shapes", lambda *_: [(64, 64, 64)])
    few = ["--batches", "1", "--batch-tokens", "60", "--threads", "1", "--rounds", "2", "--out", str(tmp_path)]
    training.main(["--peers", "torch", *few])
    found = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    assert set(found["tokens_per_second"]) == {"ours", "torch"} and not found["failed"]
    assert all(len(speeds) == 2 and min(speeds) > 0 for speeds in found["tokens_per_second"].values())
    assert found["about"]["ours"]["parameters"] == found["about"]["torch"]["parameters"]
    assert found["floor"] == found["tokens"] * found["gemm"]["64 x 64 x 64"] / found["flop"]
    assert "| torch.nn.Transformer |" in (tmp_path / "training.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_decoding_in_miniature(small_corpus, in_process, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(decoding, "BENCH", tmp_path)
    monkeypatch.setattr(decoding, "import_seconds", lambda *_: [0.5])
    few = ["--sentences", "3", "--length", "5", "--times", "2", "--threads", "1", "--rounds", "2"]
    decoding.main(["--peers", "ctranslate2", *few, "--out", str(tmp_path)])
    found = json.loads((tmp_path / "decoding.json").read_text(encoding="utf-8"))
    assert found["failed"] == {"ctranslate2": "not installed: no network"}
    assert set(found["sentences_per_second"]["4"]) == {"ours"} and found["cache"]["equal"] == 1
    assert found["threads_apart"]["4"]["equal"] == 1 and len(found["threads_apart"]["1"]["together"]) == 2
    assert "| CTranslate2, ids to ids | not installed: no network |" in capsys.readouterr().out


def test_the_searches_with_and_without_a_cache_go_on_to_the_limit_and_agree():
    model, src = tiny.tiny_model(), tiny.random_ids([5, 3], 13)
    with torch.no_grad():
        begin = torch.full((2, 1), BOS)
        model.tgt_embedding.weight[EOS] = 100 * model.decoder_output(src, begin)[0, 0]  # at once the end
    assert greedy(model, src, 12)[0] == []
    plain = decoding.uncached(model, src, 12)
    assert plain == greedy(decoding.NeverEnding(model), src, 12)
    assert all(len(row) == 12 and not {PAD, BOS, EOS} & set(row) for row in plain)


def test_the_import_is_timed_without_that_of_torch():
    assert decoding.import_seconds("import torch", 1)[0] < 0.1


def test_growth_in_miniature(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "sizes", lambda: SIZES | {"src_vocab": 2000, "tgt_vocab": 2000})
    some = ["--lengths", "32", "64", "128", "--batches", "1", "4", "--at", "2", "64", "--repeats", "1"]
    growth.main([*some, "--threads", "1", "--out", str(tmp_path)])
    curves = json.loads((tmp_path / "growth.json").read_text(encoding="utf-8"))["curves"]
    assert curves["attention that shows its weights"]["length"]["slope_at_the_end"] > 1.7
    assert curves["fused attention"]["length"]["slope_at_the_end"] < 1.3
    for curve in curves.values():
        assert curve["length"]["x"] == [32, 64, 128] and len(curve["batch"]["y"]) == 2
    explicit, fused = (curves[name]["batch"]["y"] for name in ("attention that shows its weights", "fused attention"))
    assert explicit != fused, "two kernels, not one under two names"


def test_a_finished_run_of_a_peer_is_scored_again_and_any_other_is_repeated(monkeypatch, tmp_path):
    """Same recipe and pairs: no second run. Other pairs, or a run that broke off after an older one: a new one."""
    ran = []

    def run(command, stdout, **_):
        ran.append(command)
        (folder / "model").mkdir(exist_ok=True)
        (folder / "model/progress.json").write_text('{"steps": 7, "tokens": 70}')
        if broken:
            print("no memory left", file=stdout)
            return SimpleNamespace(returncode=1)
        (folder / "hypotheses.test").write_text("It is good.\n")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(quality, "environment", lambda name: Path(sys.executable))
    monkeypatch.setattr(quality.subprocess, "run", run)
    folder, test, broken = tmp_path / "run", [corpus.TestItem("好", ("It is good.",))], False
    pairs = [corpus.Pair("你好", "Hello"), corpus.Pair("好", "Good")]
    for number, train in ((1, pairs), (1, pairs), (2, pairs[:1])):
        found = quality.joeynmt("joeynmt", 1, folder, train, test, test)
        assert len(ran) == number and found["steps"] == 7 and found["chrf"] == 100
    broken = True
    for _ in range(2):
        with pytest.raises(common.PeerError, match="stopped: no memory left"):
            quality.joeynmt("joeynmt", 1, folder, pairs, test, test)
    broken = False
    quality.joeynmt("joeynmt", 1, folder, pairs, test, test)
    assert len(ran) == 5


def test_gpu_in_miniature_on_the_cpu(small_corpus, tmp_path):
    small = ["--d-model", "16", "--n-layers", "1", "--n-heads", "2", "--d-ff", "16", "--square", "32"]
    few = ["--batches", "1", "--batch-tokens", "60", "--rounds", "1", "--sentences", "2", "--modes", "eager"]
    gpu.main([*small, *few, "--device", "cpu", "--out", str(tmp_path)])
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert found["training"]["eager"]["flop"] > 0 and found["sizes"]["d_model"] == 16
    assert set(found["decoding"]) == {"1", "4"} and found["training"]["eager"]["bytes"] is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_without_a_gpu_one_line_says_so(capsys):
    bench.main(["--only", "gpu"])
    assert "GPU: skipped" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="'cuda' is not available"):
        gpu.main([])
    with pytest.raises(SystemExit, match="no mode called 'compiled'; there are eager, compile"):
        gpu.main(["--device", "cpu", "--modes", "eager,compiled"])


def test_bench_hands_on_what_each_benchmark_knows(monkeypatch):
    given = {}
    for name, module in bench.BENCHMARKS.items():
        monkeypatch.setattr(module, "main", lambda argv, name=name: given.update({name: argv}))
    bench.main(["--only", "training,decoding,growth,quality", "--peers", "marian,joeynmt", "--rounds", "5"])
    assert given == {
        "training": ["--rounds", "5", "--peers", "marian,joeynmt"],
        "decoding": ["--rounds", "5", "--peers", "marian"],
        "growth": [],
        "quality": ["--peers", "joeynmt"],
    }
    for wrong in (["--only", "speed"], ["--peers", "pytorch"]):
        with pytest.raises(SystemExit, match=f"{wrong[1]!r}; there are"):
            bench.main(wrong)


def test_every_peer_that_is_named_can_be_built_from_exact_versions():
    known = set(steps.PEERS) | set(searches.PEERS) | set(quality.RECIPES)
    assert set(training.PEERS) | set(decoding.PEERS) | set(quality.PEERS) <= known
    assert common.ENVIRONMENTS.keys() <= known and sys.executable == str(common.python_of("torch"))
    lock = (common.ROOT / "requirements.txt").read_text(encoding="utf-8").split("\n")
    lists = list((common.ROOT / "benchmarks/peers").glob("*.txt"))
    assert {path.stem for path in lists} == set(common.ENVIRONMENTS.values())
    for path in lists:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert all("==" in line for line in lines)
        assert all(line in lock for line in lines if line.startswith("torch=")), "the same torch as the course's"
