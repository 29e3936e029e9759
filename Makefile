# Every target sets up what it needs; `make help` lists them.

PYTHON ?= python3
PYTEST_ARGS ?=
# Processes that run tests: one per core up to four; with 0, pytest runs them itself.
PYTEST_WORKERS ?= auto

# How much `make fuzz` tries, and more options of tools/fuzz.py (--workers 2, --out DIR).
FUZZ_MODULES ?= 20000
FUZZ_FILES ?= 20000
FUZZ_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.bench-installed
FUZZ_STAMP := $(VENV)/.fuzz-installed

.DELETE_ON_ERROR:
.PHONY: help setup demo test test-models test-all fuzz lint format bench bench-quick docs profile-plots lock audit clean

help:
	@echo "make setup     .venv with tfaot, TensorFlow and the development tools (once, about a minute)"
	@echo "make demo      train, compile and run a model from C++, next to TensorFlow"
	@echo "make test      the test suite"
	@echo "make test-models  every layer of Keras, its applications, graph networks (long)"
	@echo "make test-all  the test suite with the slow tests"
	@echo "make fuzz      random modules and damaged files (hours; can be stopped and goes on)"
	@echo "make lint      ruff and mypy"
	@echo "make format    ruff, which rewrites the files"
	@echo "make bench     tfaot next to other engines, into benchmarks/results/ (three quarters of an hour)"
	@echo "make bench-quick  a tenth of it (five minutes)"
	@echo "make docs      docs/support.md, from what the code generator does"
	@echo "make profile-plots  the plots of docs/profiling.md, measured on this machine"
	@echo "make lock      pin the newest versions in requirements.lock and those of the benchmark and of fuzzing"
	@echo "make audit     known vulnerabilities of what the lock files pin (needs a network with PyPI's service)"
	@echo "make clean     remove .venv and what the other targets made"

setup: $(STAMP)

# The lock file holds everything, with hashes; --no-deps keeps out the package `tensorflow`, which
# tf_keras asks for and tensorflow-cpu stands in for.
$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "tfaot: needs Python 3.10 to 3.13 (TensorFlow's range) and '$(PYTHON)' is not one:" \
	       "try make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "tfaot: '$(PYTHON)' can't make virtual environments:" \
	       "apt-get install python3-venv (Debian, Ubuntu), then try again" >&2; exit 2; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || { \
	  echo "making $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "installing TensorFlow, LLVM and tools into $(VENV)"
	@$(BIN)/python -m pip install --disable-pip-version-check -q --only-binary :all: \
	  --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)
	@$(BIN)/python examples/demo/demo.py

test: $(STAMP)
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --maxprocesses 4 -m "not slow" $(PYTEST_ARGS)

test-models: $(STAMP)
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --maxprocesses 4 tests/models $(PYTEST_ARGS)

test-all: $(STAMP)
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --maxprocesses 4 $(PYTEST_ARGS)

# XLA by itself, for comparison, and libFuzzer: without them modules and files are tried all the same.
$(FUZZ_STAMP): $(STAMP) requirements-fuzz.lock
	@if $(BIN)/python -m pip install --disable-pip-version-check -q --only-binary :all: \
	  --require-hashes --no-deps -r requirements-fuzz.lock; then touch $@; \
	  else echo "what requirements-fuzz.lock pins can't be installed: XLA is not asked"; fi

fuzz: $(STAMP) $(FUZZ_STAMP)
	@$(BIN)/python tools/fuzz.py --modules $(FUZZ_MODULES) --files $(FUZZ_FILES) $(FUZZ_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The other engines are many and large: they are installed for the benchmark alone.
$(BENCH_STAMP): $(STAMP) requirements-bench.lock
	@echo "installing the other engines into $(VENV)"
	@$(BIN)/python -m pip install --disable-pip-version-check -q --only-binary :all: \
	  --require-hashes --no-deps -r requirements-bench.lock
	@touch $@

bench: $(BENCH_STAMP)
	@$(BIN)/python benchmarks/bench.py

bench-quick: $(BENCH_STAMP)
	@$(BIN)/python benchmarks/bench.py --quick

docs: $(STAMP)
	@$(BIN)/python tests/docs/support_table.py > docs/support.md.new
	@mv docs/support.md.new docs/support.md

# Runtimes of the poster's model, memory of all three, from one profile.
PROFILE := demo-out/profile
profile-plots: $(BENCH_STAMP)
	@test -d $(PROFILE)/poster || $(BIN)/python benchmarks/make_model.py $(PROFILE)/poster 25 256
	@$(BIN)/tfaot profile --config docs/images/profile.yaml -o $(PROFILE)/results --no-plots
	@$(BIN)/tfaot plot $(PROFILE)/results -o $(PROFILE) --formats png --models "25 layers of 256" \
	  --x-log --y-log --title "25 layers of 256"
	@cp $(PROFILE)/runtime.png docs/images/profile-runtime.png
	@cp $(PROFILE)/memory-parts.png docs/images/profile-memory.png

# uv resolves for all Pythons at once; it is needed here only.
lock: $(STAMP)
	@$(BIN)/python -m venv --clear $(VENV)/lock
	@$(VENV)/lock/bin/python -m pip install --disable-pip-version-check -q uv
	@echo "# Pinned versions of everything that development and the demo use; made by \`make lock\`." \
	  > requirements.lock.new
	@$(VENV)/lock/bin/uv pip compile pyproject.toml $(UV_OPTIONS) --extra tensorflow --extra dev \
	  --upgrade -q >> requirements.lock.new
	@mv requirements.lock.new requirements.lock
	@echo "# The same with the engines that the benchmark compares with; made by \`make lock\`." \
	  > requirements-bench.lock.new
	@$(VENV)/lock/bin/uv pip compile pyproject.toml $(UV_OPTIONS) --extra tensorflow --extra dev \
	  --extra engines --extra bench --extra plot --extra profile \
	  --constraints requirements.lock --upgrade -q >> requirements-bench.lock.new
	@mv requirements-bench.lock.new requirements-bench.lock
	@echo "# What fuzzing needs beside requirements.lock, with all of it; made by \`make lock\`." \
	  > requirements-fuzz.lock.new
	@$(VENV)/lock/bin/uv pip compile pyproject.toml $(UV_OPTIONS) --extra tensorflow --extra dev \
	  --extra fuzz --constraints requirements.lock --upgrade -q >> requirements-fuzz.lock.new
	@mv requirements-fuzz.lock.new requirements-fuzz.lock
	@rm -rf $(VENV)/lock

# What can't be looked up is a failure too (--strict): a service that knows nothing finds nothing.
audit: $(STAMP)
	@$(BIN)/python -m venv --clear $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip install --disable-pip-version-check -q pip-audit
	@for lock in requirements.lock requirements-bench.lock requirements-fuzz.lock; do \
	  echo "auditing $$lock"; \
	  $(VENV)/audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
	    -r $$lock $(AUDIT_ARGS) || exit 1; \
	done
	@rm -rf $(VENV)/audit

UV_OPTIONS := --universal --python-version 3.10 --generate-hashes --no-annotate --no-header

clean:
	rm -rf $(VENV) build dist demo-out .pytest_cache .mypy_cache .ruff_cache .hypothesis
