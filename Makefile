# Targets of otto_pipeline. Each sets up what it needs: a virtual environment from
# requirements.lock. Nothing else is needed on the machine but Python, git and make.

PYTHON ?= python3
BIN := .venv/bin
SCALE ?= full

# dagster.yaml lies here; what Dagster writes here is ignored by git
export DAGSTER_HOME := $(CURDIR)

.PHONY: help install demo run ui test lint bench

help:
	@echo "make demo                                generate a log, rebuild everything, show the scores"
	@echo "OTTO_DATA_DIR=… make run SCALE=full      the same for your log (full, pct10 or pct1)"
	@echo "make ui                                  the Dagster UI on 127.0.0.1:3000"
	@echo "make bench SCALE=pct1 STAGE=log          measure stages on a generated log (12.6 GB)"
	@echo "make test | lint | install               what they say"

install: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else f"Python 3.11, 3.12 or 3.13 is needed, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=/path/to/python3.11 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

demo:
	@$(MAKE) --no-print-directory run SCALE=demo

run: install
	@$(BIN)/otto prepare $(SCALE)
	PYTHONWARNINGS=ignore $(BIN)/dagster job execute -m otto_pipeline.definitions -j rebuild --tags '{"dagster/partition": "$(SCALE)"}'
	@$(BIN)/otto report $(SCALE)

ui: install
	@$(BIN)/otto prepare demo
	$(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p 3000

# STAGE: paths of artifacts or their beginnings, or another benchmark (python -m bench --help)
bench: install
	$(BIN)/python -m bench --scale $(SCALE) $(STAGE)

# two processes, as many as the smallest machine has cores; what the tests of a file share is made once
test: install
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
