# The four words: run, test, check, bench. Each sets up what it needs; see README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Any process of ours may be asked to print progress; make's own lines stay out of the way.
.SILENT:
.PHONY: run test check bench lock clean

$(VENV)/run.stamp: lock/run.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r lock/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp lock/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r lock/dev.txt
	touch $@

run: $(VENV)/run.stamp
	$(BIN)/meterkeep demo
	$(BIN)/meterkeep serve

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n auto --dist loadfile

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev.stamp
	$(BIN)/python -m bench

# Pins every dependency by hash; names no index. Run it to take newer versions.
lock:
	$(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install --quiet uv
	printf 'setuptools>=80\n' | $(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --upgrade pyproject.toml - -o lock/run.txt
	printf 'setuptools>=80\n' | $(VENV)/lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --upgrade --extra dev -c lock/run.txt pyproject.toml - -o lock/dev.txt

clean:
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache build *.egg-info
