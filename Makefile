# Every target works on a fresh machine with Python 3.11+ and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup train sweep report serve promote load test test-all lint format clean

help:  ## Print every target with its line
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 20

$(STAMP): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

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

test: $(STAMP)  ## Tests, about two minutes on two cores
	$(BIN)/python -m pytest -n auto --dist worksteal

test-all: $(STAMP)  ## All tests, the slow ones too
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(STAMP)  ## ruff and strict mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## Format with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove .venv and caches; outputs/ stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
