"""Training: the loss is PyTorch's, many small batches are one large one, and stopping changes nothing."""

import io
import json
import math
import re
import shlex
import shutil
import signal
import sys
import threading
from functools import partial

import pytest
import torch
from helpers import forked
from helpers.tiny import FLAGS, PAIRS, SRC, TGT, tiny_checkpoint, tiny_model
from torch.testing import assert_close

from utils import augment, corpus, dictionary, load_translator, training
from utils.batching import EpochBatches, make_batch
from utils.checkpoint import load_model
from utils.config import ModelConfig, TrainConfig
from utils.loss import batch_loss
from utils.tokenizer import EOS
from utils.trainer import NotFinite
from utils.training import Trainer, dev_nll, main, schedule

pytestmark = pytest.mark.usefixtures("shapes_unchecked")
CPU = torch.device("cpu")


# ---------------------------------------------------------------------------------------------------- trainer


def trainer(seed=0, kind="transformer", dtype=torch.float32, dropout=0.2, **changes):
    settings = {"steps": 14, "batch_tokens": 30, "warmup": 3, "lr": 0.01, "seed": 5, "ema": 0.9}
    config = TrainConfig(**settings | changes)
    model = tiny_model(kind, seed, dropout=dropout).to(dtype)
    torch.manual_seed(config.seed)
    return Trainer(model, config, EpochBatches(SRC, TGT, config.batch_tokens, config.seed), CPU)


@pytest.mark.slow
def test_compiled_is_eager(monkeypatch):
    """The compiler sees through the step, also where lengths change; what it makes of it is tested on a GPU."""
    graphs = []
    backend = lambda graph, _: graphs.append(graph) or graph  # noqa: E731 - the graph as it is, not translated
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    found = []
    for on in (False, True):
        config = TrainConfig(steps=9, batch_tokens=30, compile=on)
        one = Trainer(tiny_model(n_layers=1), config, EpochBatches(SRC, TGT, config.batch_tokens), CPU)
        found.append([one.train_step([one.data.batch(i)])[0] for i in one.data.indices(0)[:3]])
    assert_close(found[1], found[0])
    assert graphs


def weights(trained: Trainer) -> dict:
    return {"model": dict(trained.model.named_parameters()), "average": trained.average}


@pytest.mark.parametrize("kind", ["transformer", "rnn"])
def test_accumulated_is_one_large_batch(kind):
    """Also when the batches have unlike numbers of tokens: losses are summed, and divided once."""
    large, small = (trainer(kind=kind, dtype=torch.float64, dropout=0.0, clip=0.5, lr=1.0) for _ in range(2))
    for one in (large, small):  # plain descent: Adam's division would blow up the rounding of gradients near zero
        one.optimizer = torch.optim.SGD(one.model.parameters(), lr=1.0, fused=True)
    cuts = [(0, 2), (2, 3), (3, 12)]
    for step in range(3):
        src, tgt = SRC[12 - 4 * step :][:12], TGT[12 - 4 * step :][:12]
        nll, n = large.train_step([make_batch(src, tgt)])
        sums = small.train_step([make_batch(src[a:b], tgt[a:b]) for a, b in cuts])
        assert n == sums[1] == sum(len(t) + 1 for t in tgt)
        assert_close(nll, sums[0])
    assert_close(weights(large), weights(small), rtol=1e-9, atol=1e-12)
    start = tiny_model(kind, dropout=0.0)
    assert all((p - q).abs().max() > 1e-7 for p, q in zip(large.model.parameters(), start.parameters(), strict=True))


class Stopped(Exception):
    pass


def stop_after(trained: Trainer, steps: int) -> None:
    """Let `trained` do some steps, then interrupt it as a person would: where the next would begin."""
    train_step = trained.train_step

    def step(*args):
        if trained.progress.step == steps:
            raise Stopped
        return train_step(*args)

    trained.train_step = step
    with pytest.raises(Stopped):
        trained.fit(bar=False)
    del trained.train_step


@pytest.mark.parametrize(
    ("kind", "accumulate"),
    [("transformer", 1), *(pytest.param(*both, marks=pytest.mark.slow) for both in (("transformer", 2), ("rnn", 1)))],
)
def test_resumed_is_uninterrupted(kind, accumulate):
    """To the last bit and with dropout: stopped within an epoch, at its end, in a later one, and twice."""
    whole = trainer(kind=kind, accumulate=accumulate).fit(bar=False)
    n = math.ceil(len(whole.data.indices(0)) / accumulate)
    assert 2 < n < 7  # 14 steps: several epochs
    for stops in ([2], [n], [n + 1], [2, 2 * n + 1]):
        part = trainer(kind=kind, accumulate=accumulate)
        for steps in stops:
            stop_after(part, steps)
            file = io.BytesIO()
            torch.save(part.state(), file)
            file.seek(0)
            part = trainer(seed=7, kind=kind, accumulate=accumulate)  # another process: other random numbers
            torch.rand(99)
            part.load_state(torch.load(file, weights_only=True))
            assert part.progress.step == steps
        part.fit(bar=False)
        assert_close(weights(part), weights(whole), rtol=0, atol=0)
        ours, theirs = (vars(one.progress) | {"minutes": 0} for one in (part, whole))
        assert ours == theirs


def test_every_step_drops_others():
    """The same batch and weights: other losses at every step, and the same ones in another run."""
    losses = []
    for _ in range(2):
        still, batch = trainer(lr=0.0, warmup=0), make_batch(SRC, TGT)
        torch.rand(3)
        losses.append([still.train_step([batch])[0].item() for _ in range(4)])
    assert losses[0] == losses[1] and len(set(losses[0])) == 4


def test_a_state_goes_only_with_its_model_its_pairs_and_its_recipe():
    state = trainer().state()
    other = trainer()
    other.data = EpochBatches(SRC, TGT[::-1], 30)
    stranger = Trainer(other.model, other.config, other.data, CPU)
    with pytest.raises(ValueError, match="begun with other pairs"):
        stranger.load_state(state)
    with pytest.raises(ValueError, match="begun with --model transformer, and now --model is rnn"):
        trainer(kind="rnn").load_state(state)
    with pytest.raises(ValueError, match="begun with --weight-decay 0.01, and now --weight-decay is 0.5"):
        trainer(weight_decay=0.5).load_state(state)
    trainer(steps=20, minutes=1.0, eval_minutes=1.0).load_state(state)


def test_the_learning_rate_rises_stays_and_falls():
    c = trainer(steps=100, warmup=10, cooldown=0.4).config
    factors = [schedule(step / 100, step, c.warmup, c.cooldown) for step in range(101)]
    assert_close(torch.tensor(factors[:10]), torch.arange(1, 11) / 10)
    assert factors[10:61] == [1.0] * 51
    assert_close(torch.tensor(factors[60:]), torch.linspace(1, 0, 41))


def test_the_average_follows_the_weights():
    """average <- decay * average + (1 - decay) * weights, with a decay that starts small."""
    trained, by_hand = trainer(ema=0.5), None
    by_hand = {name: p.detach().clone() for name, p in trained.model.named_parameters()}
    for step in range(1, 12):
        trained.train_step([make_batch(SRC[:4], TGT[:4])])
        decay = min(0.5, (1 + step) / (10 + step))
        by_hand = {name: decay * by_hand[name] + (1 - decay) * p for name, p in trained.model.named_parameters()}
    assert_close(trained.weights(), by_hand)
    assert_close(trainer(ema=0.0).weights(), dict(trainer().model.named_parameters()))


def test_gradients_are_clipped():
    torch.manual_seed(0)
    trained = trainer(clip=1e-3, dtype=torch.float64, dropout=0.0, warmup=0, cooldown=0.0, lr=1.0)
    trained.optimizer = torch.optim.SGD(trained.model.parameters(), lr=1.0, fused=True)
    before = torch.cat([p.detach().flatten() for p in trained.model.parameters()])
    trained.train_step([make_batch(SRC, TGT)])
    after = torch.cat([p.detach().flatten() for p in trained.model.parameters()])
    assert (after - before).norm().item() == pytest.approx(1e-3, rel=1e-4)


def test_reports_and_saves_come_with_the_end_and_cost_no_training_time():
    calls = []
    done = trainer(eval_minutes=1e9).fit(
        lambda t: {"figure": t.progress.step}, lambda t: calls.append("saved"), bar=False
    )
    assert calls == ["saved"] and [row["figure"] for row in done.progress.history] == [14]
    often = trainer(eval_minutes=0.0).fit(lambda t: {}, calls.append, bar=False)
    assert len(often.progress.history) == 14 and often.progress.history[-1]["train_nll"] > 0


@pytest.mark.parametrize("report", [None, lambda trained: {}])
def test_it_saves_at_the_end_and_in_between_with_and_without_a_report(report):
    saved = []
    trainer(eval_minutes=1e9).fit(report, lambda t: saved.append(t.progress.step), bar=False)
    assert saved == [14]
    trainer(eval_minutes=0.0).fit(report, lambda t: saved.append(t.progress.step), bar=False)
    assert saved == [14, *range(1, 15)]


def spoil(trained: Trainer, what: str, at: int) -> None:
    """Let the loss, or one number of the gradient, be infinite in one step."""
    loss, parameter = trained.loss, trained.model.tgt_embedding.weight
    now = lambda: trained.progress.step + 1 == at  # noqa: E731
    if what == "loss":
        trained.loss = lambda batch: (loss(batch)[0] + (math.inf if now() else 0.0), loss(batch)[1])
    else:
        parameter.register_hook(lambda grad: grad.index_fill(0, torch.tensor([5]), math.nan) if now() else grad)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_is_never_applied_and_never_saved(what):
    trained, good, saved = trainer(eval_minutes=0.0), trainer(eval_minutes=0.0), []
    spoil(trained, what, at=6)
    with pytest.raises(NotFinite, match="In step 6 "):
        trained.fit(save=lambda t: saved.append(t.progress.step), bar=False)
    stop_after(good, 5)
    assert saved == [1, 2, 3, 4, 5]
    assert_close(dict(trained.model.named_parameters()), dict(good.model.named_parameters()), rtol=0, atol=0)


def test_after_a_step_that_is_not_finite_no_step_is_made_until_somebody_asks():
    """As on a GPU, where nobody asks after every step."""
    trained = trainer()
    spoil(trained, "gradient", at=3)
    found = []
    for _ in range(6):
        trained.train_step([make_batch(SRC[:4], TGT[:4])])
        found.append([p.detach().clone() for p in trained.model.parameters()])
    assert_close(found[2:], [found[1]] * 4, rtol=0, atol=0)
    assert any((a - b).abs().max() > 0 for a, b in zip(found[0], found[1], strict=True))
    with pytest.raises(NotFinite, match="In step 3 "):
        trained.check_finite()


def test_a_clip_of_0_is_no_limit():
    """The same weights as with a limit that no gradient reaches."""
    off, high, low = (trainer(clip=clip).fit(bar=False) for clip in (0.0, 1e9, 1e-3))
    assert_close(weights(off), weights(high), rtol=0, atol=0)
    with pytest.raises(AssertionError):
        assert_close(weights(low), weights(high))


def no_thread_is_left() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_batches_are_made_ahead_in_a_thread_that_ends_with_training():
    """An error of making one is raised, no step later than it would have been; and no thread stays behind."""
    trained, makers = trainer(), set()
    batch = trained.data.batch

    def recorded(*args):
        makers.add(threading.current_thread().name)
        if trained.progress.step > 3:
            raise ZeroDivisionError("of this batch")
        return batch(*args)

    trained.data.batch = recorded
    with pytest.raises(ZeroDivisionError, match="of this batch"):
        trained.fit(bar=False)
    assert 3 < trained.progress.step < 8 and no_thread_is_left()
    assert threading.current_thread().name not in makers and len(makers) == 1
    trainer().fit(bar=False)
    assert no_thread_is_left()


def test_a_dev_sentence_of_any_length():
    model = tiny_model(n_layers=1).float()
    long = [4 + i % 7 for i in range(4100)]
    src, tgt = [*SRC[:2], [*long, EOS]], [*TGT[:2], long[:9]]
    alone = [batch_loss(model, make_batch([s], [t]), 0.0)[1].item() for s, t in zip(src, tgt, strict=True)]
    assert dev_nll(model, src, tgt, CPU) == pytest.approx(sum(alone) / sum(len(t) + 1 for t in tgt), rel=1e-5)


def test_training_learns():
    trained = trainer(steps=80, dropout=0.0, label_smoothing=0.0)
    before = dev_nll(trained.model, SRC, TGT, CPU)
    trained.fit(bar=False)
    assert dev_nll(trained.model, SRC, TGT, CPU) < 0.5 * before


# ---------------------------------------------------------------------------------------------------- command


@pytest.fixture(scope="module")
def command(command):
    """18 steps (two epochs of eight, and two more), each checked and saved (--eval-minutes 0)."""
    return [*command, "--steps", "18", "--eval-minutes", "0"]


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """The folder of the uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "checkpoint"
    assert main([*command, "--out", str(out)]) == 0
    return out


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


def assert_same_result(folder, whole):
    """The same weights, averages and moments, to the last bit; and nothing else left in the folder."""
    ours, theirs = (torch.load(one / "train_state.pt", weights_only=True) for one in (folder, whole))
    for key in ("model", "average", "optimizer", "data"):
        assert_close(ours[key], theirs[key], rtol=0, atol=0)
    assert (folder / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in whole.iterdir())


def test_a_run_leaves_a_checkpoint_its_log_and_its_state(command, whole):
    names = ["config.json", "model.safetensors", "tokenizer.json", "train_state.pt", "training.json"]
    assert sorted(path.name for path in whole.iterdir()) == names
    log = json.loads((whole / "training.json").read_text())
    model, _ = load_model(whole)
    assert log["parameters"] == sum(p.numel() for p in model.parameters())
    assert log["training"]["steps"] == 18 and log["machine"] and log["pairs"] == 52
    assert [row["step"] for row in log["history"]] == list(range(1, 19)) and log["history"][-1]["epoch"] == 2
    assert {"dev_nll", "dev_bleu", "train_nll"} <= log["history"][-1].keys()
    assert isinstance(load_translator(whole).translate("我喜欢学习。"), str)


def test_the_same_command_again_says_that_training_is_complete(command, copy, whole, capsys):
    assert main([*command, "--out", str(copy)]) == 0
    printed = capsys.readouterr().out
    assert "is complete (18 steps" in printed and "give a larger --steps or --minutes" in printed
    assert printed.count("\n") == 2  # that, and what was read
    assert_same_result(copy, whole)


def test_a_larger_limit_goes_on_and_fresh_starts_anew(command, copy, capsys):
    assert main([*command, "--out", str(copy), "--steps", "20"]) == 0
    assert "at step 18" in capsys.readouterr().out
    assert torch.load(copy / "train_state.pt", weights_only=True)["progress"]["step"] == 20
    assert main([*command, "--out", str(copy), "--steps", "2", "--fresh"]) == 0
    assert torch.load(copy / "train_state.pt", weights_only=True)["progress"]["step"] == 2


KILLS = [
    # function, its call that dies, steps in the training state then, steps in the weights then
    ("os.replace", 3, 1, None),  # the very first save: the state is there, the weights are not
    ("train_step", 8, 8, 8),  # after the last step of the first epoch
    ("train_step", 4, 11, 11),  # in the middle of the second
    ("write_bytes", 11, 13, 13),  # half of the third save's state is written
    ("write_bytes", 9, 14, 14),  # the second save's state is written, half of its weights are
    ("os.replace", 8, 16, 15),  # between two renames of a save: the state is new, the weights are old
    ("os.replace", 8, 18, 17),  # the same, and there is nothing left to train
]


@pytest.mark.slow
def test_killed_and_called_again_and_again_is_uninterrupted(command, whole, tmp_path):
    """kill -9 in the middle of training and of writing; each time the same command goes on."""
    out = tmp_path / "out"
    arguments = [*command, "--out", str(out)]
    for function, call, in_state, in_weights in KILLS:
        killed = forked.start(tmp_path / "log", forked.killed_training, function, call, arguments)
        assert forked.join([killed]) == [-signal.SIGKILL], (tmp_path / "log").read_text()
        state = torch.load(out / "train_state.pt", weights_only=True)
        assert state["progress"]["step"] == in_state
        assert any(path.suffix == ".tmp" for path in out.iterdir()) == (function != "train_step")
        if in_weights is None:
            assert not (out / "model.safetensors").exists()
        else:
            current = load_model(out)[0].state_dict()  # whole, whatever was being written
            same = all(torch.equal(w, state["average"][name].half().float()) for name, w in current.items())
            assert same == (in_state == in_weights)
    assert main(arguments) == 0
    assert_same_result(out, whole)


def signalled(monkeypatch, at: int, *signals: int) -> None:
    """Let training get the signals in the middle of the step after `at` steps, where some weights are new."""
    train_step = Trainer.train_step

    def interrupted(self, *args):
        if self.progress.step == at:
            step = self.optimizer.step
            self.optimizer.step = lambda: (step(), *map(signal.raise_signal, signals))
        return train_step(self, *args)

    monkeypatch.setattr(Trainer, "train_step", interrupted)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_ends_the_step_saves_and_goes_on(command, whole, tmp_path, monkeypatch, capfd, number):
    arguments = [*command, "--out", str(tmp_path / "out")]
    handler = signal.getsignal(number)
    signalled(monkeypatch, 7, number)
    assert main([*arguments, "--eval-minutes", "99"]) == 130
    printed = capfd.readouterr().err
    assert "Stopped and saved" in printed and ("Ctrl-C again" in printed) == (number == signal.SIGINT)
    assert signal.getsignal(number) == handler
    assert torch.load(tmp_path / "out" / "train_state.pt", weights_only=True)["progress"]["step"] == 8
    load_model(tmp_path / "out")
    monkeypatch.undo()
    assert main(arguments) == 0
    assert_same_result(tmp_path / "out", whole)


@pytest.fixture
def ctrl_c():
    """Ctrl-C interrupts, as in a terminal: what a shell starts in the background is born deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_interrupted_twice_stops_at_once_and_saves_nothing(command, copy, monkeypatch, capfd):
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    signalled(monkeypatch, 18, signal.SIGINT, signal.SIGINT)
    assert main([*command, "--out", str(copy), "--steps", "20"]) == 130
    assert "Stopped at once" in capfd.readouterr().err
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


# Each is another run than that of the folder; what follows is what the sentence says.
OTHERS = {
    "--d-model 16": "--d-model 8, and now --d-model is 16",
    "--n-heads 4": "--n-heads 2, and now --n-heads is 4",
    "--n-layers 2": "--n-layers 1, and now --n-layers is 2",
    "--model decoder-only": "--model transformer, and now --model is decoder-only",
    "--dropout 0.3": "--dropout 0.2, and now --dropout is 0.3",
    "--batch-tokens 70": "--batch-tokens 60, and now --batch-tokens is 70",
    "--lr 0.5": "--lr 0.0015, and now --lr is 0.5",
    "--weight-decay 0.5": "--weight-decay 0.01, and now --weight-decay is 0.5",
    "--label-smoothing 0": "--label-smoothing 0.1, and now --label-smoothing is 0.0",
    "--accumulate 2": "--accumulate 1, and now --accumulate is 2",
    "--seed 3": "--seed 0, and now --seed is 3",
    "--precision bfloat16": "--precision float32, and now --precision is bfloat16",
    "--tgt-vocab 60": "--tgt-vocab 70, and now --tgt-vocab is 60",
    "--source any": "--source auto, and now --source is any",
}


def drop_state(folder):
    (folder / "train_state.pt").unlink()


def spoil_state(folder):
    (folder / "train_state.pt").write_bytes((folder / "train_state.pt").read_bytes()[:1000])


def empty_state(folder):
    (folder / "train_state.pt").write_bytes(b"")


def other_pairs(folder):
    state = torch.load(folder / "train_state.pt", weights_only=True)
    torch.save(state | {"data": 1}, folder / "train_state.pt")


def old_state(folder):
    state = torch.load(folder / "train_state.pt", weights_only=True)
    torch.save({key: state[key] for key in ("model", "average", "optimizer", "progress")}, folder / "train_state.pt")


@pytest.mark.parametrize(
    ("harm", "flags", "message"),
    [
        (drop_state, "", "a finished checkpoint without its training state: give another --out, or --fresh"),
        (spoil_state, "", "train_state.pt is damaged .*: give --fresh or another --out"),
        (empty_state, "", "train_state.pt is damaged .*: give --fresh or another --out"),
        (old_state, "", "an earlier version of the course wrote it, .*: repeat .* or give --fresh or another --out"),
        (other_pairs, "", "begun with other pairs .*fingerprint was 1, and now is [0-9]+"),
        *((None, flags, f"begun with {message}: repeat the command") for flags, message in OTHERS.items()),
        (None, "--pairs nowhere.tsv", "Cannot read nowhere.tsv"),
        (None, "--device gpu", "no device called 'gpu'"),
        (None, "--steps 0", "steps is 0"),
        (None, "--threads 100000", "threads is 100000; it must be a whole number from 1 to "),
        (
            None,
            "--batch-tokens 5",
            r"^Line \d+ of .*pairs.tsv has \d+ tokens.* --batch-tokens 5: give --batch-tokens \d+",
        ),
        (None, "--d-model 10 --n-heads 4", "cannot be split"),
        (None, "--glosses 7", "--glosses: not with --pairs, whose file is all"),
        (None, "--d-ff 10000000000000", "memory is too small"),
    ],
)
def test_what_cannot_go_on_is_told_in_one_sentence(command, copy, capsys, harm, flags, message):
    if harm:
        harm(copy)
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert main([*command, "--out", str(copy), *flags.split()]) == 1
    error = capsys.readouterr().err
    assert re.search(message, error) and len(error) < 600 and error.count("\n") == 1
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_what_changes_nothing_of_what_is_learned_may_change(command, copy):
    flags = ["--steps", "19", "--eval-minutes", "1", "--threads", "1", "--minutes", "9"]
    arguments = training.parse_arguments([*command, "--out", str(copy), *flags])
    run = training.prepare(arguments)
    run.resume(training.saved_state(copy))
    assert run.trainer.progress.step == 18 and run.trainer.config.steps == 19


def test_a_run_that_is_not_finite_ends_with_a_sentence_and_leaves_the_checkpoint(command, copy, monkeypatch, capsys):
    train_step = Trainer.train_step

    def spoiled(self, *args):
        if self.progress.step == 19:
            self.model.tgt_embedding.weight.data[5] = math.nan
        return train_step(self, *args)

    monkeypatch.setattr(Trainer, "train_step", spoiled)
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert main([*command, "--out", str(copy), "--steps", "25", "--eval-minutes", "9"]) == 1
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("In step 20 the loss or its gradient became infinite or not a number: it was not applied")
    assert f"saved in {copy} is as it was. Begin anew (--fresh, or another --out) with a lower --lr" in error
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_the_log_tells_the_command_that_was_given(command, tmp_path, monkeypatch):
    """Quoted, so that it can be typed again; also where another program calls `main`."""
    out = tmp_path / "a folder; of 'mine'"
    monkeypatch.setattr(sys, "argv", ["an experiment", "--of", "its own"])
    assert main([*command, "--steps", "1", "--out", str(out)]) == 0
    typed = json.loads((out / "training.json").read_text(encoding="utf-8"))["command"]
    assert shlex.split(typed) == ["python", "-m", "utils.training", *command, "--steps", "1", "--out", str(out)]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--out file/x", "--out file/x cannot be a folder, since file is a file: give another --out."),
        ("--out file", "--out file cannot be a folder, since file is a file: give another --out."),
        ("--synthetic file,nofile", "--synthetic: there is no file nofile; `python -m utils.synthetic` writes one."),
        ("--model encoder-only", "--model encoder-only does not write: it cannot learn to translate."),
    ],
)
def test_what_needs_no_pairs_is_told_before_they_are_read(flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(training, "read", lambda *_: pytest.fail("read for nothing"))
    assert main([*FLAGS.split(), "--out", "out", *flags.split()]) == 1
    assert capsys.readouterr().err == message + "\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_tatoeba_and_glosses_are_the_default(monkeypatch):
    tatoeba = corpus.Corpus([corpus.Pair(*pair) for pair in PAIRS], [corpus.TestItem("我", ("I",))], [])
    monkeypatch.setattr(corpus, "load", lambda: tatoeba)
    monkeypatch.setattr(dictionary, "glosses", lambda found, limit: [corpus.Pair("机器", "machine")] * limit)
    flags = FLAGS.replace("--n-heads 2", "--model rnn")
    arguments = [*flags.split(), "--eval-minutes", "0", "--steps", "1"]
    for glosses in (0, 3):
        run = training.prepare(training.parse_arguments([*arguments, "--glosses", str(glosses)]))
        assert len(run.trainer.data.src) == len(PAIRS) + glosses and run.dev == tatoeba.dev
    assert run.trainer.model.config == ModelConfig(run.tokenizer.src_vocab, 70, "rnn", 8, n_layers=1, d_ff=12)
    assert training.prepare(training.parse_arguments(FLAGS.split())).trainer.config.minutes > 0  # some limit


@pytest.fixture
def tatoeba(monkeypatch):
    """A corpus of PAIRS, of which the last is dev."""
    found = corpus.Corpus(
        [corpus.Pair(*pair) for pair in PAIRS[:-1]], [corpus.TestItem(PAIRS[-1][0], (PAIRS[-1][1],))], []
    )
    monkeypatch.setattr(corpus, "load", lambda: found)
    return [*FLAGS.split(), "--glosses", "0", "--steps", "2"]


def test_pairs_of_models_and_numbers_join_the_training_pairs_but_not_the_vocabulary(tatoeba, tmp_path):
    file = tmp_path / "pairs.tsv"
    file.write_text("犬来了。\tThe dog came.\n" * 5, encoding="utf-8")
    plain, more = (
        training.prepare(training.parse_arguments([*tatoeba, "--numbers", "7", *extra]))
        for extra in ([], ["--synthetic", f"{file},{file}"])
    )
    assert len(plain.trainer.data.src) == len(PAIRS) - 1 + 7
    assert len(more.trainer.data.src) == len(PAIRS) - 1 + 7 + 10
    assert more.tokenizer.to_json() == plain.tokenizer.to_json() and more.dev == plain.dev
    assert more.trainer.fingerprint != plain.trainer.fingerprint


@pytest.mark.parametrize(
    ("option", "module", "maker"),
    [
        ("--compounds", dictionary, "compounds"),
        ("--numbers", augment, "pairs"),
        ("--names", augment, "other_names"),
        ("--copies", augment, "copies"),
        ("--practice", augment, "practice"),
        ("--more-practice", augment, "more_practice"),
    ],
)
def test_pairs_that_are_made_join_without_those_that_are_held_out(option, module, maker, tatoeba, monkeypatch):
    asked, answer = PAIRS[-1]  # of dev
    leaks = [(asked, "x"), ("狗", answer), (f"{dictionary.unseen()[0].zh}很难。", "It is hard.")]
    made = [corpus.Pair("狗", "dog"), *(corpus.Pair(*leak) for leak in leaks)]
    monkeypatch.setattr(module, maker, lambda data, n: made * n)
    run = training.prepare(training.parse_arguments([*tatoeba, option, "2"]))
    assert len(run.trainer.data.src) == len(PAIRS) - 1 + 2


def test_reversed_it_learns_to_write_chinese(tatoeba, tmp_path):
    """And its log scores characters, since a Chinese sentence has no spaces between words."""
    assert main([*tatoeba, "--reverse", "--out", str(tmp_path / "back")]) == 0
    translator = load_translator(tmp_path / "back")
    assert translator.tokenizer.source == "any" and translator.tokenizer.encode_src(["We"])[0][-1] == EOS
    assert isinstance(translator.translate("We like music."), str)
    again = [*tatoeba, "--reverse", "--start", str(tmp_path / "back")]  # English, of --tgt-vocab, is its source
    assert training.prepare(training.parse_arguments(again)).trainer.model.config.src_vocab == 70


def test_a_training_may_begin_with_a_checkpoint(tatoeba, tmp_path, capsys):
    """Its weights, sizes and tokenizer; dropout may be another, sizes and direction may not."""
    first = tmp_path / "first"
    assert main([*tatoeba, "--out", str(first)]) == 0
    flags = ["--glosses", "0", "--steps", "2", "--start", str(first), "--batch-tokens", "100"]
    run = training.prepare(training.parse_arguments([*flags, "--dropout", "0.5"]))
    model, tokenizer = load_model(first)
    assert_close(dict(run.trainer.model.named_parameters()), dict(model.named_parameters()), rtol=0, atol=0)
    assert_close(run.trainer.average, dict(model.named_parameters()), rtol=0, atol=0)
    assert run.tokenizer.to_json() == tokenizer.to_json()
    assert run.trainer.model.config.dropout == 0.5
    capsys.readouterr()
    for wrong, message in (
        (["--reverse"], "translates the other way"),
        (["--start", str(tiny_checkpoint(tmp_path / "reader", "encoder-only"))], "reads and does not write"),
        (["--d-model", "4"], "--start .* has --d-model 8"),
        (["--tgt-vocab", "60"], "--start .* has --tgt-vocab 70: leave out --tgt-vocab 60"),
    ):
        assert main([*flags, *wrong, "--out", str(tmp_path / "second")]) == 1
        error = capsys.readouterr().err
        assert re.search(message, error) and error.count("\n") == 1
        assert not (tmp_path / "second").exists()


def test_help(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "Called again, it goes on where it was" in " ".join(capsys.readouterr().out.split())
