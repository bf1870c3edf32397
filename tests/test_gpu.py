"""On a GPU everything is what it is on the CPU, to rounding: skipped where there is none."""

import copy

import pytest
import torch
from helpers.tiny import SRC, TGT, random_ids, tiny_config, tiny_model, without_key_biases
from torch.testing import assert_close

from utils import load_translator
from utils.attention import attention, fast_attention, padding_mask
from utils.batching import EpochBatches, make_batch
from utils.checkpoint import build
from utils.config import TrainConfig
from utils.decoding import beam, greedy
from utils.loss import batch_loss
from utils.runtime import autocast
from utils.trainer import Trainer

GPU, CPU = torch.device("cuda"), torch.device("cpu")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU")
all_models = pytest.mark.parametrize("kind", ["transformer", "rnn", "decoder-only"])


def on_gpu(model: torch.nn.Module) -> torch.nn.Module:
    return copy.deepcopy(model).to(GPU)


@all_models
def test_logits_loss_and_gradients_are_the_cpus(kind):
    """In float64, where the two agree far better than any mistake would let them."""
    here = tiny_model(kind)
    there = on_gpu(here)
    batch = make_batch(SRC, TGT)
    assert_close(there(batch.src.to(GPU), batch.tgt_in.to(GPU)).cpu(), here(batch.src, batch.tgt_in))
    for model, device in ((here, CPU), (there, GPU)):
        batch_loss(model, batch.to(device), 0.1)[0].backward()
    for one, other in zip(there.parameters(), here.parameters(), strict=True):
        assert_close(one.grad.cpu(), other.grad)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fused_kernel_is_the_plain_attention(dtype, masked):
    """Flash attention takes half precision; a query with nothing to attend to gets zeros from every kernel."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 4, 33, 64, device=GPU) for _ in range(3))
    mask = torch.rand(3, 1, 33, 33, device=GPU) < 0.5 if masked else None
    if masked:
        mask[0, 0, 5] = False
    fast = fast_attention(q.to(dtype), k.to(dtype), v.to(dtype), mask)
    close = {"atol": 0.03, "rtol": 0.03} if dtype == torch.bfloat16 else {"atol": 1e-4, "rtol": 1e-4}
    assert_close(fast.float(), attention(q, k, v, mask)[0], **close)
    assert not masked or not fast[0, :, 5].any()


@all_models
def test_autocast_stays_close(kind):
    model = on_gpu(tiny_model(kind).float())
    batch = make_batch(SRC, TGT).to(GPU)
    plain = batch_loss(model, batch, 0.1)[0]
    with autocast(GPU, "bfloat16"):
        mixed = batch_loss(model, batch, 0.1)[0]
    assert mixed.dtype == torch.float32
    assert_close(mixed, plain, atol=0.0, rtol=0.03)
    # As small as those of a batch of a million tokens: bfloat16 has room for such gradients, float16 has not.
    exact, rough = (torch.autograd.grad(loss / 1e6, list(model.parameters())) for loss in (plain, mixed))
    for (name, _), one, other in zip(model.named_parameters(), rough, exact, strict=True):
        assert (one - other).norm() < 0.3 * other.norm(), name


def trained(config: TrainConfig, device: torch.device, epochs: int = 2) -> tuple[list[float], dict]:
    """Losses and weights after some epochs of the real training loop."""
    torch.manual_seed(0)
    trainer = Trainer(build(tiny_config()), config, EpochBatches(SRC, TGT, 60), device)
    batches = [trainer.data.batch(i) for epoch in range(epochs) for i in trainer.data.indices(epoch)]
    losses = [trainer.train_step([batch])[0].item() for batch in batches]
    return losses, without_key_biases({name: p.detach().cpu() for name, p in trainer.model.named_parameters()})


def test_a_training_step_is_the_cpus():
    config = TrainConfig(steps=100, batch_tokens=60, warmup=1)
    there, here = trained(config, GPU), trained(config, CPU)
    assert_close(there[0], here[0], atol=1e-2, rtol=1e-3)
    assert_close(there[1], here[1], atol=1e-3, rtol=1e-2)


@pytest.mark.usefixtures("shapes_unchecked")  # the compiler does not see through the checks
def test_compiled_is_eager():
    plain = TrainConfig(steps=100, batch_tokens=60, warmup=1)
    compiled = TrainConfig(steps=100, batch_tokens=60, warmup=1, compile=True)
    assert_close(trained(compiled, GPU)[0], trained(plain, GPU)[0], atol=1e-2, rtol=1e-3)


def test_no_step_waits_for_the_gpu():
    """The CPU only queues a step; what it needs to know, such as the number of real tokens, it has counted before."""
    trainer = Trainer(tiny_model().float(), TrainConfig(steps=100), EpochBatches(SRC, TGT, 60), GPU)
    batches = [trainer.data.batch(i).pinned() for i in trainer.data.indices(0)]
    trainer.train_step(batches[:1], batches[0].n_targets)
    try:
        torch.cuda.set_sync_debug_mode("error")
        for batch in batches:
            trainer.train_step([batch], batch.n_targets)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    trainer.check_finite()


@all_models
def test_cached_search_is_the_cpus(kind):
    model, src = tiny_model(kind), random_ids([5, 3, 6, 1], 13)
    there = on_gpu(model)
    assert greedy(there, src.to(GPU), 12) == greedy(model, src, 12)
    assert beam(there, src.to(GPU), [12, 7, 9, 3], 3) == beam(model, src, [12, 7, 9, 3], 3)


def test_step_by_step_is_all_at_once():
    model = on_gpu(tiny_model())
    src, tgt = random_ids([5, 3, 6], 13).to(GPU), random_ids([7, 7, 7], 11).to(GPU)
    state, steps = model.encode(src, padding_mask(src)), []
    for tokens in tgt.unbind(dim=1):
        logits, state = model.step(tokens, state)
        steps.append(logits)
    assert_close(torch.stack(steps, dim=1), model(src, tgt))


def test_the_translator_says_the_same():
    """Rounding may turn a word where two are equally good; so most sentences, not all."""
    sentences = ["我喜欢学习。", "他昨天买了三本书。", "这本书是谁写的？", "今天天气很好。", "你叫什么名字？"]
    there, here = (load_translator(device=device).translate(sentences) for device in ("cuda", "cpu"))
    assert sum(a == b for a, b in zip(there, here, strict=True)) >= 4
