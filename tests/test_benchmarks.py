"""The benchmarks in miniature: their arithmetic, their processes, and every command that needs no other package."""

import contextlib
import importlib
import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import tiny

from benchmarks import __main__ as bench
from benchmarks import ageing, common, decoding, gpu, growth, quality, sharing, training
from benchmarks.peers import decoding as searches
from benchmarks.peers import quality as runs
from benchmarks.peers import training as steps
from utils import augment, corpus, dictionary, recipe
from utils.attention import attention, fast_attention
from utils.batching import EpochBatches, make_batch
from utils.decoding import greedy
from utils.loss import smoothed_loss
from utils.tokenizer import BOS, EOS, PAD
from utils.trainer import schedule

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")

CPU = torch.device("cpu")
SIZES = {"src_vocab": 13, "tgt_vocab": 11, "d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 16}
ROWS = [
    {"src": tiny.SRC[:6], "tgt": tiny.TGT[:6]},
    {"src": tiny.SRC[6:16], "tgt": tiny.TGT[6:16]},
]
TINY = ["--d-model", "16", "--d-ff", "32", "--tgt-vocab", "300", "--batch-tokens", "60", "--n-layers", "1"]
PARENT = """
import os
from benchmarks.peers import serve
def double(job):
    print("a library says hello")
    def work(task):
        return {"twice": 2 * task["x"] + job["plus"]}
    return {"ready": True}, work
def broken(job):
    raise ModuleNotFoundError("there is no such package")
def variables(job):
    return {name: os.environ.get(name) for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")}, None
if __name__ == "__main__":
    serve({"double": double, "broken": broken, "peer": variables, "ours": variables})
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
    ours_is_broken = PARENT.replace('"ours": variables', '"ours": broken')
    Path(os.environ["PYTHONPATH"], "stand_in.py").write_text(ours_is_broken, encoding="utf-8")
    with pytest.raises(SystemExit, match="our own program stopped: .*no such package"):
        with common.at_work(["ours", "double"], *module, threads=1):
            raise AssertionError("there is nothing to compare with")


def test_threads_of_a_worker_wait_as_its_users_threads_do(module, monkeypatch):
    """What this process was told, or told itself in importing utils, is no business of a peer."""
    monkeypatch.setattr(common, "course_settings", lambda: {"GOMP_SPINCOUNT": "77"})
    for name in common.WAITING:
        monkeypatch.setenv(name, "5")

    def variables(*args) -> tuple:
        with contextlib.closing(common.Worker(args[0], *module, 3, *args[1:])) as worker:
            return tuple(worker.about.values())

    assert variables("peer") == (None, None, "3")
    assert variables("ours") == ("77", None, "3")
    assert variables("ours", {}) == (None, None, "3")
    assert variables("peer", {"OMP_WAIT_POLICY": "PASSIVE"}) == (None, "PASSIVE", "3")


def test_what_the_course_says_of_waiting_threads_is_what_it_sets_by_itself(monkeypatch):
    code = f"import utils, os, json; print(json.dumps({{n: os.environ.get(n) for n in {common.WAITING}}}))"
    clean = common.variables(1, {})
    done = subprocess.run([sys.executable, "-c", code], cwd=common.ROOT, env=clean, capture_output=True, check=True)
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    common.course_settings.cache_clear()
    assert common.course_settings() == {name: x for name, x in json.loads(done.stdout).items() if x is not None}


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


JOB = {"sizes": SIZES, "batches": ROWS, "threads": 1, "batch_tokens": 100}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ours", "ours-bfloat16", "torch", "torch-bfloat16", "torch-real"])
def test_a_step_trains(name):
    about, step = steps.PEERS[name](JOB)
    first, *_, last = (step({}) for _ in range(20))
    assert about["parameters"] == sum(p.numel() for p in tiny.tiny_model(**SIZES).parameters())
    assert first["tokens"] == sum(len(t) + 1 for batch in ROWS for t in batch["tgt"]) and first["seconds"] > 0
    assert last["loss"] < first["loss"], "at a rate of 1e-4 a little, but it learns"
    longer = step({"seconds": 2.5 * last["seconds"]})
    assert longer["tokens"] % first["tokens"] == 0 and longer["seconds"] >= 2.5 * last["seconds"]


def test_in_bfloat16_products_are_rounded_and_weights_are_not():
    (exact, rough), (torchs, torchs_rough) = (
        [steps.PEERS[name](JOB)[1]({})["loss"] for name in names]
        for names in (("ours", "ours-bfloat16"), ("torch", "torch-bfloat16"))
    )
    for one, other in ((exact, rough), (torchs, torchs_rough)):
        assert one != other and abs(one - other) < 0.03 * one


@pytest.mark.parametrize("name", ["ours", "torch", "gpu"])
def test_batches_are_made_inside_the_clock(name, monkeypatch):
    """A benchmark that makes them beforehand measures what no training does."""
    made = []

    def slow(make):
        def waiting(*args, **kwargs):
            made.append(args)
            time.sleep(0.05)
            return make(*args, **kwargs)

        return waiting

    monkeypatch.setattr(steps, "tensors", slow(steps.tensors))
    monkeypatch.setattr(EpochBatches, "batch", slow(EpochBatches.batch))
    if name == "gpu":
        monkeypatch.setattr(gpu, "WARMUP", 1)
        (seconds,) = gpu.training(SIZES, ROWS, "eager", 1, CPU)["seconds"]
    else:
        _, step = steps.PEERS[name](JOB)
        step({})
        seconds = step({})["seconds"]
    assert len(made) >= 2 * len(ROWS) and seconds >= 0.05 * len(ROWS)


def test_the_step_of_nn_transformer_drops_what_ours_drops():
    model, *_ = steps.torch_transformer({"sizes": SIZES})
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
    seconds = {"matrix products": 1.0, "copies": 0.001, "the rest": 0.999}
    assert common.shares(seconds) == "matrix products 50 %, the rest 50 %", "what takes next to nothing is left out"


def test_every_kind_of_operation_is_known_to_pytorch():
    named = [name for names in common.KINDS.values() for name in names]
    assert len(named) == len(set(named)) and all(hasattr(torch.ops.aten, name) for name in named)


def test_padding_moves_nothing_in_the_step_of_nn_transformer():
    torch.manual_seed(0)
    job = {"sizes": SIZES}
    losses = [steps.torch_transformer(job, real_only=real)[:2] for real in (False, True)]
    losses[1][0].load_state_dict(losses[0][0].state_dict())
    src, tgt_in, tgt_out = steps.tensors(ROWS[1])
    wider = [torch.nn.functional.pad(x, (0, 3)) for x in (src, tgt_in, tgt_out)]
    for model, loss in losses:
        model.eval()
        torch.testing.assert_close(loss(src, tgt_in, tgt_out), loss(*wider))
    torch.testing.assert_close(losses[0][1](src, tgt_in, tgt_out), losses[1][1](src, tgt_in, tgt_out))


# ------------------------------------------------------------------------------------------ commands


@pytest.mark.slow
@pytest.mark.parametrize("fast", [True, False])
def test_training_in_miniature(fast, small_corpus, in_process, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "BENCH", tmp_path)
    monkeypatch.setattr(training, "gemm_shapes", lambda *_: [(64, 64, 64)])
    monkeypatch.setattr(training, "has_fast_bfloat16", lambda _: fast)
    few = ["--batches", "1", "--batch-tokens", "60", "--threads", "1", "--rounds", "2", "--out", str(tmp_path)]
    training.main(["--peers", "torch,torch-bfloat16", *few])
    found = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    text = (tmp_path / "training.md").read_text(encoding="utf-8")
    half = {"ours-bfloat16", "torch-bfloat16"} if fast else set()
    assert set(found["tokens_per_second"]) == {"ours", "torch"} | half and not found["failed"]
    assert all(len(speeds) == 2 and min(speeds) > 0 for speeds in found["tokens_per_second"].values())
    assert found["about"]["ours"]["parameters"] == found["about"]["torch"]["parameters"]
    assert set(found["bound"]) == {"float32"} | ({"bfloat16"} if fast else set())
    for precision, rate in found["bound"].items():
        assert rate == found["tokens"] * found["gemm"][precision]["64 x 64 x 64"] / found["flop"]
    assert "| torch.nn.Transformer |" in text
    assert ("| torch.nn.Transformer, bfloat16 |" in text) == ("In bfloat16:" in text) == fast
    assert ("Not in bfloat16" in text) == (not fast)


def test_the_first_of_a_table_is_what_the_others_are_compared_with():
    about = {name: {"parameters": 7e6, "versions": {"torch": "2"}} for name in ("ours", "torch", "marian")}
    speed = {"ours": [30.0, 60.0], "torch": [10.0, 30.0]}
    rows = training.rows_of_table(["ours", "torch", "marian"], speed, 90.0, {"marian": "stopped: why"}, about)
    assert [row[1:4] for row in rows] == [
        ["45", "", "50 %"],
        ["20", "2.50 (2.00..3.00)", "22 %"],
        ["stopped: why", "", ""],
        ["90", "", "100 %"],
    ]
    without = training.rows_of_table(["ours", "torch"], {"torch": [10.0]}, 90.0, {"ours": "stopped"}, about)
    assert without[1][1:4] == ["10", "", "11 %"]


def test_sharing_in_miniature(small_corpus, tmp_path, monkeypatch):
    """While a worker is measured, its neighbor works, and longer; alone, nobody else does."""
    busy, started, closed = [], [], []

    class Stub:
        def __init__(self, peer, module, job, threads, settings):
            assert peer == "ours" and threads == 1
            self.spins = int(settings.get("GOMP_SPINCOUNT", 0))
            started.append(self)

        def send(self, task):
            busy.append((self.spins, task["seconds"]))

        def answer(self):
            busy.pop()
            return {}

        def ask(self, task):
            assert all(seconds > task["seconds"] for _, seconds in busy)
            share = 1 + sum(3 if spins > 1000 else 1 for spins, _ in busy)
            return {"tokens": 1200, "seconds": share}

        def close(self):
            closed.append(self)

    monkeypatch.setattr(sharing, "Worker", Stub)
    monkeypatch.setattr(sharing, "BENCH", tmp_path)
    monkeypatch.setattr(sharing, "course_settings", lambda: {"GOMP_SPINCOUNT": "1000"})
    few = ["--rounds", "2", "--threads", "1", "--batch-tokens", "60", "--out", str(tmp_path)]
    sharing.main([*few, "--settings", "OMP_WAIT_POLICY=PASSIVE"])
    found = json.loads((tmp_path / "sharing.json").read_text(encoding="utf-8"))["tokens_per_second"]
    assert found["torch's default"] == {
        "alone": [1200.0] * 2,
        "beside the same": [300.0] * 2,
        "beside the default": [300.0] * 2,
    }
    ours = {"alone": [1200.0] * 2, "beside the same": [600.0] * 2, "beside the default": [300.0] * 2}
    assert found["this course"] == found["OMP_WAIT_POLICY=PASSIVE"] == ours
    assert not busy and sorted(map(id, closed)) == sorted(map(id, started)) and len(started) == 6
    with pytest.raises(SystemExit):
        sharing.main(["--settings", "PASSIVE"])


@pytest.mark.slow
def test_decoding_in_miniature(small_corpus, in_process, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(decoding, "BENCH", tmp_path)
    monkeypatch.setattr(decoding, "import_seconds", lambda *_: [0.5])
    few = ["--sentences", "3", "--length", "5", "--times", "2", "--threads", "1", "--rounds", "2"]
    decoding.main(["--peers", "ours-bfloat16,ctranslate2", *few, "--out", str(tmp_path)])
    found = json.loads((tmp_path / "decoding.json").read_text(encoding="utf-8"))
    assert found["failed"] == {"ctranslate2": "not installed: no network"}
    assert set(found["sentences_per_second"]["4"]) == {"ours", "ours-bfloat16"} and found["cache"]["equal"] == 1
    plain, half = (found["fewer_bits"][precision] for precision in ("float32", "bfloat16"))
    assert half["megabytes"] == plain["megabytes"] / 2 and plain["beams"]["4"]["identical"] == 1
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


@pytest.mark.slow
def test_the_import_is_timed_without_that_of_torch():
    assert decoding.import_seconds("import torch", 1)[0] < 0.1


@pytest.mark.slow
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


@pytest.fixture
def quality_runs(small_corpus, tmp_path, monkeypatch):
    """`benchmarks.quality` with JoeyNMT's process and our training replaced; what was run, and a way to call it."""
    monkeypatch.setattr(dictionary, "glosses", lambda *_, **__: [])
    monkeypatch.setattr(quality, "environment", lambda name: Path(sys.executable))
    ran = SimpleNamespace(jobs=[], ours=[], error=None)

    def run(command, stdout, **_):
        job, folder = Path(command[-2]), Path(command[-1])
        if ran.error:
            print(ran.error, file=stdout)
            return SimpleNamespace(returncode=1)
        ran.jobs.append(json.loads(job.read_text(encoding="utf-8")))
        n = ran.jobs[-1]["updates"] or 9
        (folder / "progress.json").write_text(json.dumps({"steps": n, "tokens": 10 * n, "minutes": 0.5}))
        (folder / "hypotheses.json").write_text(json.dumps([[] for _ in tiny.PAIRS]))
        return SimpleNamespace(returncode=0)

    def train_and_score(options, folder, test):
        ran.ours.append(options)
        last = {"step": 7, "tokens": 70, "minutes": 0.4}
        return {"bleu": 12.34, "chrf": 30.0, "bleu_multi": 13.0, "history": [last]}, None

    def main(*options):
        quality.main(["--runs", str(tmp_path / "runs"), "--out", str(tmp_path), *options])
        found = json.loads((tmp_path / "quality.json").read_text(encoding="utf-8"))
        return found | {"text": (tmp_path / "quality.md").read_text(encoding="utf-8")}

    monkeypatch.setattr(quality, "subprocess", SimpleNamespace(run=run, DEVNULL=None))
    monkeypatch.setattr(quality, "train_and_score", train_and_score)
    ran.main = main
    return ran


def test_every_arm_of_quality_runs_once_and_gets_the_same(quality_runs):
    found = quality_runs.main("--updates", "8", "--minutes", "0.5")
    by_updates, by_minutes = quality_runs.ours
    assert by_updates[:2] == ["--steps", "8"] and by_minutes[:2] == ["--minutes", "0.5"]
    assert all("float32" in options for options in quality_runs.ours)
    jobs = quality_runs.jobs
    assert [job["updates"] for job in jobs] == [8, 8, None, None]
    assert [job["minutes"] for job in jobs] == [None, None, 0.5, 0.5]
    assert [job["recipe"]["lr"] for job in jobs] == [1.5e-3, 3e-4] * 2
    data = EpochBatches(jobs[0]["src"], jobs[0]["tgt"], 1500)
    order = [list(batch) for epoch in range(8) for batch in data.indices(epoch)]
    assert all(job["batches"][:8] == order[:8] and job["src"] == jobs[0]["src"] for job in jobs)
    assert len(jobs[0]["batches"]) == 8 and jobs[0]["sizes"]["src_vocab"] == max(map(max, jobs[0]["src"])) + 1
    assert [found["runs"]["updates"][arm][0]["steps"] for arm in quality.RECIPES] == [7, 8, 8]
    assert "| this course | 0.0015 | 12.3 | 30.0 | 13.0 | 7 | 0.00 M | 0.4 |" in found["text"]
    quality_runs.main("--updates", "8", "--minutes", "0.5")
    assert len(quality_runs.jobs) == 4 and len(quality_runs.ours) == 2, "what is finished is not repeated"


def test_quality_shows_what_is_finished_whoever_ran_it(quality_runs, monkeypatch):
    one = quality_runs.main("--updates", "8", "--minutes", "0", "--arms", "joeynmt")
    assert one["text"].count("| not run yet |") == 2 and "of computing:" not in one["text"]
    quality_runs.main("--updates", "8", "--minutes", "0", "--arms", "ours", "--seed", "0")
    both = quality_runs.main("--updates", "8", "--minutes", "0", "--arms", "ours", "--seed", "1")
    assert both["text"].count("| not run yet |") == 1 and "12.34 (12.34..12.34)" in both["text"]
    assert len(quality_runs.main("--updates", "8", "--minutes", "0", "--arms", "")["runs"]["updates"]["ours"]) == 2
    monkeypatch.setitem(quality.RECIPES, "joeynmt", quality.IWSLT14 | {"lr": 1e-3})
    quality_runs.main("--updates", "8", "--minutes", "0", "--arms", "joeynmt")
    assert [job["recipe"]["lr"] for job in quality_runs.jobs] == [3e-4, 1e-3], "another recipe is another run"
    quality_runs.error = "much to tell\nno memory left"
    failed = quality_runs.main("--updates", "9", "--minutes", "0", "--arms", "joeynmt")
    assert "| stopped: no memory left |" in failed["text"]
    with pytest.raises(SystemExit, match="no arm called 'marian'; there are ours, joeynmt-ours, joeynmt"):
        quality_runs.main("--arms", "marian")


class Killed(Exception):
    pass


@pytest.mark.parametrize("recipe", [quality.OURS, quality.IWSLT14])
def test_a_peers_training_goes_on_where_it_was_killed_and_ends_in_the_same_weights(recipe, tmp_path, monkeypatch):
    """JoeyNMT itself is in another environment: nn.Transformer stands in for it."""
    monkeypatch.setattr(runs, "SAVE_SECONDS", 0)
    sides = {side: [row for batch in ROWS for row in batch[side]] for side in ("src", "tgt")}
    job = {"sizes": SIZES, "recipe": recipe, "seed": 3, "updates": 8, "minutes": None, **sides}
    job["batches"] = [[0, 1, 2], [3, 4], [5, 6, 7, 8, 9]]
    steps_made, save = [], runs.save

    def build(job, dropout, own_places):
        assert dropout == recipe["dropout"] and own_places == recipe["own_places"]
        return steps.torch_transformer(job)

    def saving(path, state):
        save(path, state)
        steps_made.append(state["progress"]["steps"])
        if killing and state["progress"]["steps"] in (3, 6):
            raise Killed

    def weights(folder, name="first"):
        folder.mkdir(exist_ok=True)
        return runs.train(job, folder, name, build)[0].state_dict()

    killing = False
    monkeypatch.setattr(runs, "save", saving)
    whole = weights(tmp_path / "whole")
    killing = True
    for _ in range(2):
        with pytest.raises(Killed):
            weights(tmp_path / "killed")
    resumed = weights(tmp_path / "killed")
    assert steps_made == [*range(1, 9), *range(1, 9)], "no update twice"
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    progress = json.loads((tmp_path / "killed/progress.json").read_text(encoding="utf-8"))
    counts = [sum(len(sides["tgt"][i]) + 1 for i in batch) for batch in job["batches"]]
    assert progress["steps"] == 8 and progress["tokens"] == 3 * sum(counts) - counts[2]
    killing = False
    weights(tmp_path / "killed", "another job")
    assert steps_made[-8:] == [*range(1, 9)], "another job begins anew"


def test_the_rate_of_a_peers_training_is_our_schedule():
    for progress in (0.0, 0.3, 0.5, 0.75, 1.0):
        for step in (0, 3, 400):
            for warmup, cooldown in ((400, 0.5), (0, 0.5), (3, 0.0)):
                assert runs.schedule(progress, step, warmup, cooldown) == schedule(progress, step, warmup, cooldown)


@pytest.mark.slow
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


def test_ageing_in_miniature(small_corpus, tmp_path, monkeypatch, capsys):
    """A training without threads of its own; then its table, for processes that are not started here."""
    monkeypatch.setattr(augment, "pairs", lambda train, n: train)
    few = ["--updates", "5", "--every", "2"]
    ageing.main([*few, "--alone", "float32", "--options", *TINY])
    assert len(json.loads(capsys.readouterr().out)) == 2, "four updates; the fifth has no figure"
    with pytest.raises(SystemExit):
        ageing.main(["--updates", "1", "--every", "2"])

    asked = []

    class Stub:
        returncode = 0

        def __init__(self, command, env, **_):
            asked.append((command[command.index("--alone") + 1], env.get("GLIBC_TUNABLES")))

        def communicate(self):
            return "[100.0, 50.0]", None

    monkeypatch.setattr(ageing, "subprocess", SimpleNamespace(Popen=Stub, PIPE=None))
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=2")
    ageing.main([*few, "--precisions", "bfloat16", "--out", str(tmp_path)])
    assert asked == [("bfloat16", None), ("bfloat16", recipe.HUGE_PAGES["GLIBC_TUNABLES"])]
    found = json.loads((tmp_path / "ageing.json").read_text(encoding="utf-8"))["tokens_per_second"]
    assert found == {"bfloat16": {"small": [100.0, 50.0], "huge": [100.0, 50.0]}}
    assert "| bfloat16, huge pages | 100 | 50 |" in capsys.readouterr().out
    Stub.returncode = 1
    with pytest.raises(SystemExit, match="A training of the benchmark failed"):
        ageing.main([*few, "--precisions", "bfloat16", "--out", str(tmp_path)])


def test_bench_hands_on_what_each_part_knows(monkeypatch):
    given = {}
    for name in bench.PARTS:
        module = importlib.import_module(f"benchmarks.{name}")
        monkeypatch.setattr(module, "main", lambda argv, name=name: given.update({name: argv}))
    bench.main(["--only", "training,sharing,decoding,growth,quality", "--peers", "marian,joeynmt", "--rounds", "5"])
    assert given == {
        "training": ["--rounds", "5", "--peers", "marian,joeynmt"],
        "sharing": ["--rounds", "5"],
        "decoding": ["--rounds", "5", "--peers", "marian"],
        "growth": [],
        "quality": [],
    }
    bench.main(["--only", "quality", "--updates", "9", "--minutes", "2"])
    assert given["quality"] == ["--updates", "9", "--minutes", "2.0"]
    for wrong in (["--only", "speed"], ["--peers", "pytorch"]):
        with pytest.raises(SystemExit, match=f"{wrong[1]!r}; there are"):
            bench.main(wrong)


def test_bench_says_which_parts_there_are_and_which_know_an_option(capsys):
    package = " ".join(importlib.import_module("benchmarks").__doc__.split())
    assert set(re.search(r"course.*?\. (.*?) are commands", package)[1].replace(" and ", ", ").split(", ")) == set(
        bench.PARTS
    )
    alone = set(bench.PARTS) - set(bench.DEFAULT.split(","))
    assert all(name in bench.__doc__.splitlines()[0] for name in alone)
    with pytest.raises(SystemExit):
        bench.main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "updates of each training: ageing, quality" in said and "computing of each training: quality" in said


@pytest.mark.parametrize("option", ["--threads 0", "--repeats 0", "--lengths 16 0", "--threads two", "--lengths 16"])
def test_a_number_that_measures_nothing_is_refused(option, capsys):
    with pytest.raises(SystemExit):
        growth.main(option.split())
    assert re.search("is no whole number from 1 on|a slope needs two", capsys.readouterr().err)


@pytest.mark.parametrize("part", [training, sharing, decoding, gpu])
def test_no_benchmark_takes_no_rounds(part, capsys):
    with pytest.raises(SystemExit):
        part.main(["--rounds", "0"])
    assert "'0' is no whole number" in capsys.readouterr().err


def test_every_peer_that_is_named_can_be_built_from_exact_versions():
    known = set(steps.PEERS) | set(searches.PEERS)
    assert set(training.PEERS) == set(steps.PEERS) - {"ours"} and set(decoding.PEERS) == set(searches.PEERS) - {"ours"}
    assert common.ENVIRONMENTS.keys() <= known and sys.executable == str(common.python_of("torch"))
    lock = (common.ROOT / "requirements.txt").read_text(encoding="utf-8").split("\n")
    lists = list((common.ROOT / "benchmarks/peers").glob("*.txt"))
    assert {path.stem for path in lists} == set(common.ENVIRONMENTS.values())
    for path in lists:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert all("==" in line for line in lines)
        assert all(line in lock for line in lines if line.startswith("torch=")), "the same torch as the course's"
