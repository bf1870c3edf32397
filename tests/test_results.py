"""What the READMEs say of the translator is what its runs left in files; and the files are those of the weights."""

import json
import re
import runpy

import pytest

from utils import corpus, load_translator, numbers
from utils.config import CHECKPOINT, ROOT
from utils.evaluation import PLAIN_SEARCH, compounds, scores
from utils.provenance import experiment, read
from utils.translate import LENGTH_PENALTY

pytestmark = pytest.mark.usefixtures("shapes_unchecked")


@pytest.fixture(scope="module")
def translator():
    return load_translator(device="cpu")


def test_the_results_in_the_readmes_are_those_of_the_files():
    tool = runpy.run_path(str(ROOT / "tools" / "results.py"))
    for (name, block), text in tool["results"]().items():
        begin, end = f"<!-- {block}: begin, written by tools/results.py -->\n", f"<!-- {block}: end -->"
        stored = (ROOT / name).read_text(encoding="utf-8")
        assert begin + text + end in stored, f"the {block} changed: call `python tools/results.py`"


def test_the_readmes_name_the_lessons_that_use_a_gpu():
    twins = sorted((ROOT / "notebooks/text").glob("[0-9]*.md"))
    uses = re.compile(r"load_translator\(\)|pick_device\(\)")
    *some, last = (twin.stem.split("_")[0] for twin in twins if uses.search(twin.read_text(encoding="utf-8")))
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))
    assert f"Lessons {', '.join(some)} and {last} use an NVIDIA GPU" in " ".join(english.split())
    assert f"第 {'、'.join(some)} 和 {last} 课会用上它" in chinese


@pytest.mark.parametrize("page", ["README.md", "benchmarks/README.md", "docs/more/speed.md"])
def test_links_to_the_benchmarks_lead_there_from_any_page(page):
    text = runpy.run_path(str(ROOT / "tools" / "results.py"))["speed"](page)
    targets = [((ROOT / page).parent / link).resolve() for link in re.findall(r"\]\(([^)]*)\)", text)]
    assert set(targets) == set((ROOT / "benchmarks" / "results").glob("*.md"))


@pytest.mark.slow
def test_the_scores_are_those_of_the_shipped_weights(translator):
    stored = json.loads((CHECKPOINT / "evaluation.json").read_text(encoding="utf-8"))
    assert stored["parameters"] == sum(p.numel() for p in translator.model.parameters())
    # A sample, for time's sake; other processors round differently, which may turn a word here and there.
    items = corpus.load().test[::10]
    sample = scores(translator.translate([item.zh for item in items]), items)
    assert abs(sample["bleu"] - stored["bleu"]) < 10 and abs(sample["chrf"] - stored["chrf"]) < 6
    assert stored["bleu"] > 25 and stored["chrf"] > 45, "the course promises a translator of at least this quality"


def test_the_compounds_come_out_as_the_file_says(translator):
    stored = json.loads((CHECKPOINT / "evaluation.json").read_text(encoding="utf-8"))
    found = {zh: right for zh, _, right in compounds(translator)}
    said = {zh: english.endswith(" (right)") for zh, english in stored["compounds"].items()}
    assert sum(found[zh] != said[zh] for zh in said) <= 2, "other processors may turn one or two, no more"


def test_the_stages_of_the_recipe_are_told():
    trained = {"stage": "there", "command": "python -m a", "minutes": 56.2, "step": 6000, "pairs": 74048}
    trained |= {"dev_nll": 2.003, "dev_bleu": 25.73}
    made = {"stage": "from-there", "command": "python -m b", "minutes": 5.7, "sentences": 48395, "pairs": 30743}
    made |= {"dropped": {"empty": 0, "held out": 32, "in train": 17620}, "sha256": "12"}
    text = runpy.run_path(str(ROOT / "tools" / "results.py"))["stages"]([trained, made])
    assert "| there | `python -m a` | 56 | 6,000 updates on 74,048 pairs; dev: 2.00 nats a token, BLEU 25.7 (" in text
    assert "| 6 | 30,743 pairs of 48,395 sentences; dropped: 32 held out, 17,620 in train |" in text
    assert "Together 62 minutes" in text


@pytest.mark.slow
def test_the_limits_are_those_of_the_shipped_weights(translator):
    """On every fifth of the sentences with a number: numbers come and go, kind by kind, as the file says."""
    stored = json.loads((CHECKPOINT / "limits.json").read_text(encoding="utf-8"))
    data = corpus.load()
    found = numbers.items(data.dev, data.train, 1000, 200)[::5]
    right = [
        numbers.keeps(en, item)
        for item, en in zip(found, translator.translate([item.zh for item in found], 4), strict=True)
    ]
    assert abs(sum(right) / len(right) - stored["numbers_all"]["share"]) < 0.07


def test_what_lesson_08b_reads_was_measured_with_the_shipped_weights():
    """Scores of the same translations, each measured by two commands."""
    evaluation, limits, stages = (read(CHECKPOINT / f"{name}.json") for name in ("evaluation", "limits", "stages"))
    benched = read(ROOT / "benchmarks/results/decoding.json")["fewer_bits"]["float32"]["beams"]["4"]
    tried = {run["length_penalty"]: run for run in experiment("penalty")}
    plain = tried[PLAIN_SEARCH["length_penalty"]]
    dev = {run["mean_of"]: run for run in experiment("average")}
    *_, last = dev
    assert last == "+".join(stages[-1]["mean of"]), "the last is the model that ships"
    for one, other in (
        (benched["bleu"], evaluation["bleu"]),
        (benched["chrf"], evaluation["chrf"]),
        (100 * tried[LENGTH_PENALTY]["length_ratio"], 100 * limits["length_ratio"]),
        (plain["bleu"], dev[last]["bleu"]),
        (plain["chrf"], dev[last]["chrf"]),
    ):
        assert abs(one - other) < 0.15, "other processors round differently, and turn a word here and there"
    assert abs(experiment("nearest")[-1]["bleu"] - dev["near"]["bleu"]) < 0.1, "the stage `near`, graded twice"


def test_the_checkpoint_stays_small_and_holds_no_pickle():
    files = {path.name: path.stat().st_size for path in CHECKPOINT.iterdir() if path.name != "train_state.pt"}
    logs = {"training.json", "stages.json", "evaluation.json", "limits.json"}
    assert set(files) == {"model.safetensors", "config.json", "tokenizer.json", *logs}
    assert sum(files.values()) < 20e6
