# Every command that the course needs. `make` alone lists them.
# Written for GNU make 3.81 and a plain /bin/sh, so that it runs as it is on macOS.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
SITE   := $(VENV)/.site-ready
TRAINED := data/cache/stages data/cache/runs data/cache/taught data/checkpoints/zh-en-rnn

# As the user wrote it after `make lab`. In the environment LANGUAGE is the desktop's (zh_CN:zh), and zh alone is ours.
ASKED  := $(if $(filter command,$(origin LANGUAGE)),$(LANGUAGE),$(filter zh,$(LANGUAGE)))

.PHONY: help setup lab test quick lint run train train-rnn results explorer site experiments bench soak colab handout lock clean clean-trained

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' Makefile | sort | awk -F ':.*## ' '{ printf "  make %-13s %s\n", $$1, $$2 }'

setup: $(READY) ## make .venv, install the lock, fetch the corpus (the commands below do it by themselves)

lab: $(READY) ## open your own copies of the lessons in JupyterLab
	@$(if $(ASKED),TRANSFORMER_COURSE_LANGUAGE='$(ASKED)' )$(PY) tools/lab.py

test: $(READY) $(SITE) ## run every test: lint, the package, all lessons and solutions
	@$(PY) tools/check.py

quick: $(READY) ## lint, and the tests that are not slow: about two minutes on 2 cores
	@$(PY) tools/check.py lint quick

lint: $(READY) ## check the code's style
	@$(PY) tools/check.py lint

run: $(READY) ## run the lessons' text twins again and store their outputs (LESSON=02 for one)
	@$(PY) tools/run_lessons.py $(LESSON)
	@$(PY) -m tools.weave

train: $(READY) ## train the translator that ships: all stages of the recipe (ARGS="--jobs 2" for two at a time)
	@$(PY) -m utils.recipe $(ARGS)

train-rnn: $(READY) ## train the RNN with attention on the same data
	@$(PY) -m utils.training --model rnn --out data/checkpoints/zh-en-rnn $(ARGS)

results: $(READY) ## score the shipped checkpoint; renew evaluation.json, limits.json, the results in both READMEs and the picture
	@$(PY) -m utils.evaluation --save
	@$(PY) -m utils.limits --save
	@$(PY) tools/results.py
	@$(PY) tools/overview.py
	@$(PY) -m tools.weave

explorer: $(READY) ## the page that shows the translator from inside, in build/explorer/ (ARGS="--checkpoint FOLDER")
	@rm -rf build/explorer
	@$(PY) -m utils.export --to browser --out build/explorer --lessons "../../notebooks/{}.ipynb" $(ARGS)

site: $(READY) $(SITE) ## the course as a website, in build/site/ (ARGS=--no-solutions)
	@$(PY) -m tools.build_site $(ARGS)

experiments: $(READY) ## run the long experiments behind some figures (EXPERIMENT=name for one)
	@$(PY) tools/run_experiments.py $(EXPERIMENT)

bench: $(READY) ## measure the package's speed against other implementations (ARGS="--only training --rounds 5"; --help)
	@$(PY) -m benchmarks $(ARGS)

soak: $(READY) ## run the lessons as on another processor, their cells a second time; translate random lines for ten minutes (ARGS="--minutes 60")
	@$(PY) tools/check.py elsewhere
	@$(PY) -m tools.run_again
	@$(PY) tools/soak.py $(ARGS)

colab: $(READY) ## copies of the lessons for Google Colab, which fetch the course by themselves
	@$(PY) tools/colab.py

handout: $(READY) ## make a folder of the course without its solutions (ARGS="--out FOLDER")
	@$(PY) tools/handout.py $(ARGS)

lock: $(READY) ## write the lock and environment.yml from pyproject.toml (ARGS=--upgrade for newer versions)
	@$(PY) tools/lock.py $(ARGS)

clean: ## remove what the commands above made, but for work/, your copies, and what takes hours to train
	rm -rf $(VENV) .bench build .pytest_cache .ruff_cache .hypothesis *.egg-info
	rm -rf $(filter-out $(TRAINED),$(wildcard data/cache/*))
	find utils tools tests notebooks experiments benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

clean-trained: ## remove what takes hours to train: the stages of make train, the experiments' runs, the RNN
	rm -rf $(TRAINED)

# Set-up happens once, and again only when the lock changes: the stamp is the last thing it makes, so
# that a set-up which failed half-way goes on from there at the next call.
$(READY): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "$(PYTHON) is not on this machine: install Python 3.11, 3.12 or 3.13 first, or name yours: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "The course needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is `$(PYTHON) --version 2>&1`: name another one, as in make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: on Debian or Ubuntu, install the package python3-venv and call make again."; exit 1; }
	@echo "Setting up $(VENV): a few minutes, only this once."
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@if [ -t 1 ]; then quiet=; else quiet=--quiet; fi; \
	  $(PY) -m pip install --disable-pip-version-check $$quiet -r requirements.txt
	@$(PY) -m pip install --disable-pip-version-check --quiet --no-build-isolation --no-deps -e .
	@$(PY) -m utils.corpus
	@touch $@

$(SITE): requirements-site.txt $(READY)
	@if [ -t 1 ]; then quiet=; else quiet=--quiet; fi; \
	  $(PY) -m pip install --disable-pip-version-check $$quiet -r requirements-site.txt
	@touch $@
