# Everything sets itself up: a virtual environment in .venv, renewed when pyproject.toml or constraints.txt change.
# Needs only Python 3.11+, make, git and a C compiler. To choose the Python: make venv PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
.DEFAULT_GOAL := help
JOBS ?= 3
OUT ?= runs/demo

# One thread a process: the tests run in JOBS processes, one more than cores since some tests wait for others. In the order of
# their files: sorted by how many tests they have, files of one long test would come last, one process alone at work.
test: export OMP_NUM_THREADS = 1

.PHONY: venv demo test test-slow lint format docs bench architectures library-index clean help

help:
	@echo 'make demo       build a zoo, train a detector and a repairer, open the report (5 to 8 minutes on two cores)'
	@echo 'make test       the tests (8 to 20 minutes on two cores, as they are quick); make test-slow: the slow-marked ones'
	@echo 'make lint       ruff, mypy --strict, import-linter'
	@echo 'make docs       the documentation site, into build/site; a broken link is an error'
	@echo 'make bench      every benchmark, each against its yardstick'
	@echo 'make architectures  the missing rows of docs/architectures.md (an hour or two for all)'
	@echo 'make library-index  which networks of torchvision and timm have which tensors (5 minutes; after raising a version below)'
	@echo 'make venv       only set up .venv'

venv: $(READY)

# torch goes first and by its exact version, so that a local or CPU-only wheel of it is taken where there is one. What is
# imported is compiled then: compiling all that is installed would take a minute.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "zoovet needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "zoovet needs a C compiler (cc); on Debian: apt-get install gcc" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt torch setuptools
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --no-build-isolation --editable '.[dev,docs,wandb,nfn,keras,bom,hub,serve,ray,s3]'
	@touch $@

demo: $(READY)
	$(BIN)/zoovet demo --out $(OUT) --open

test: $(READY)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY)
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: $(READY)
	@for benchmark in benchmarks/[a-z]*.py; do echo "== $$benchmark"; $(BIN)/python $$benchmark || exit 1; done

# torchvision and timm are needed for this table and this index alone, and lie apart; without their dependencies, torch above all.
LIBRARIES := $(VENV)/architectures

$(LIBRARIES)/.ready: $(READY)
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(LIBRARIES) torchvision==0.28.0 timm==1.0.31
	@touch $@

architectures: $(LIBRARIES)/.ready
	PYTHONPATH=$(LIBRARIES) $(BIN)/python benchmarks/architectures

library-index: $(LIBRARIES)/.ready
	PYTHONPATH=$(LIBRARIES) $(BIN)/python benchmarks/architectures/library_index.py

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
