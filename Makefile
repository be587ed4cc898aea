# Every target works on a fresh machine with Python 3.11+ and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_VENV := .venv-bench
BENCH := $(BENCH_VENV)/bin
BENCH_STAMP := $(BENCH_VENV)/.installed
COMPARISON_STAMP := $(BENCH_VENV)/.comparison
AUDIT_VENV := .venv-audit
AUDIT := $(AUDIT_VENV)/bin
AUDIT_STAMP := $(AUDIT_VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup train sweep report serve promote load test test-quick test-services test-all dist lint format docs clean \
	chaos bench bench-quick bench-report bench-compare lock audit

help:  ## Print every target with its line
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 24

$(STAMP): pyproject.toml setup.py constraints.txt requirements/install requirements/build.txt requirements/dev.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	bash requirements/install $(BIN)/python dev --editable .
	touch $(STAMP)

$(BENCH_STAMP): pyproject.toml constraints.txt requirements/install requirements/build.txt requirements/bench.txt
	test -d $(BENCH_VENV) || $(PYTHON) -m venv $(BENCH_VENV)
	bash requirements/install $(BENCH)/python bench --editable .
	touch $(BENCH_STAMP)

$(AUDIT_STAMP): requirements/install requirements/build.txt requirements/audit.txt
	test -d $(AUDIT_VENV) || $(PYTHON) -m venv $(AUDIT_VENV)
	bash requirements/install $(AUDIT)/python audit
	touch $(AUDIT_STAMP)

$(COMPARISON_STAMP): $(BENCH_STAMP) benchmarks/comparison/environments.py
	$(BENCH)/python -m benchmarks.comparison.environments
	touch $(COMPARISON_STAMP)

setup: $(STAMP)  ## Make .venv and install everything

train: $(STAMP)  ## Train on MovieLens 100K: fetch, fit, refit, test, export; ARGS="data=ml_1m …" overrides
	$(BIN)/python -m recsys.train $(ARGS)

sweep: $(STAMP)  ## Sweep over embedding size, dropout and lambda; ARGS="hparams_search=optuna …"
	$(BIN)/python -m recsys.train -m $(or $(ARGS),hparams_search=grid)

report: $(STAMP)  ## Compare the runs in outputs/: a table, and outputs/report.html; RUN=outputs/… for some of them
	$(BIN)/python -m recsys.report $(or $(RUN),outputs) $(ARGS)

serve: $(STAMP)  ## Serve the newest run at http://127.0.0.1:8000; ARGS="--port 9000 …"
	$(BIN)/python -m serve $(ARGS)

promote: $(STAMP)  ## Let outputs/serving name RUN=outputs/…; a service with --pointer outputs/serving swaps to it
	@test -n "$(RUN)" || { echo "error: name the run: make promote RUN=outputs/<date>/<time>-…"; exit 1; }
	$(BIN)/python -m serve.promote "$(RUN)" $(ARGS)

load: $(STAMP)  ## Load-test the newest run's service: throughput and percentiles by route
	$(BIN)/python -m benchmarks.load.mix $(ARGS)

test: $(STAMP)  ## Tests, about a minute and a half on two cores
	$(BIN)/python -m pytest -n auto --dist worksteal

test-quick: $(STAMP)  ## Those that take no process, no browser and no long fit, for the inner loop
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not long and not services"

test-services: $(STAMP)  ## Tests that start PostgreSQL or nginx; skipped where it is not installed
	$(BIN)/python -m pytest -m services -rs

test-all: $(STAMP)  ## All tests, the slow ones and those with services too
	$(BIN)/python -m pytest -m "slow or not slow"

chaos: $(STAMP)  ## Disturb service, files and runs: overload, attacks, damage, kills; hours; ARGS="--short" …
	$(BIN)/python -m benchmarks.chaos $(ARGS)

bench: $(COMPARISON_STAMP)  ## Measure recsys beside its peers, and its speed: hours; ARGS="--data ml_100k …" for the peers
	$(BENCH)/python -m benchmarks.comparison $(ARGS)
	$(BENCH)/python -m benchmarks.comparison --time-to-rmse $(ARGS)
	$(BENCH)/python -m benchmarks.training_loop
	$(BENCH)/python -m benchmarks.scaling

bench-quick: $(COMPARISON_STAMP)  ## The quick ones of these on ML-100K, and the training loop: minutes
	$(BENCH)/python -m benchmarks.comparison --quick $(ARGS)
	$(BENCH)/python -m benchmarks.training_loop --epochs 1 --repeats 2 --print-only

bench-report: $(STAMP)  ## Write the tables of README and docs/benchmarks.md from benchmarks/results
	$(BIN)/python -m benchmarks.tables $(ARGS)

bench-compare: $(BENCH_STAMP)  ## Has anything become slower? The micro-benchmarks against the stored ones
	$(BENCH)/python -m benchmarks.micro.compare $(ARGS)

DOCS_BUILDER ?= html
docs: $(STAMP)  ## Build the documentation site into docs/_build/html; warnings are errors
	$(BIN)/python -m sphinx -b $(DOCS_BUILDER) -W --keep-going -q docs docs/_build/$(DOCS_BUILDER)

dist: $(STAMP)  ## Build the sdist and, from it, the wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --quiet --no-isolation

lint: $(STAMP)  ## ruff, strict mypy, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## Format with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

COMPILE = $(AUDIT)/uv pip compile --quiet --constraint constraints.txt
lock: $(AUDIT_STAMP)  ## Write requirements/*.txt, all with hashes, from pyproject.toml and constraints.txt
	{ echo pip; sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml; } | $(COMPILE) - --output-file requirements/build.txt
	$(COMPILE) pyproject.toml --extra serve --extra signing --extra postgres --output-file requirements/serve.txt
	$(COMPILE) pyproject.toml --extra train --extra serve --extra signing --output-file requirements/train.txt
	for use in dev bench audit; do $(COMPILE) pyproject.toml --extra $$use --output-file requirements/$$use.txt || exit 1; done

audit: $(AUDIT_STAMP) $(STAMP)  ## Known vulnerabilities of every pin, and the licences; asks the package index
	$(AUDIT)/pip-licenses --python $(BIN)/python --packages $$(sed -n 's/==.*//p' constraints.txt) >/dev/null
	$(AUDIT)/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

clean:  ## Remove all environments and caches; outputs/ stays
	rm -rf $(VENV) $(BENCH_VENV) $(AUDIT_VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
