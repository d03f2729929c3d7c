PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: install demo test slow faults lint clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar off \
		--constraint constraints.txt --editable '.[dev,dask]'
	@touch $@

demo: install
	$(BIN)/setvae train

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto -m "not slow" --ignore tests/faults

slow: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto -m slow --ignore tests/faults

faults: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto tests/faults

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
