# One-line targets. A fresh clone needs Python 3.11 or newer and make, nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
GENERATED := client/gradmesh/v1

.PHONY: fuzz fuzz-decoder conformance deploy-check image-check setup oracle demo test lint format types proto proto-check bench bench-peers bench-compare examples clean ci

setup: $(READY) ## Make the virtual environment and install everything but torch.

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gradmesh needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cluster,dev]'
	@touch $@

oracle: $(READY) ## Add torch, which the tests then compare with.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[oracle]'

demo: $(READY) ## Serve with two workers, run the tutorial, train on digits, split a big regression.
	$(BIN)/python examples/demo.py

test: $(READY) ## Every test; those that compare with torch run when it is installed.
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

types: $(READY)
	$(BIN)/mypy

proto: ## Regenerate the committed stubs, with generators of their own.
	PYTHON=$(PYTHON) sh proto/generate.sh

proto-check: $(READY) ## The contract lints and the committed stubs are what it generates.
	$(BIN)/python tests/house/stubs_fresh.py && $(BIN)/buf lint

bench: $(READY) ## Timings and peak memory beside the peers that are installed; `make bench ARGS="--quick mlp"` for some.
	$(BIN)/python benchmarks/bench.py $(ARGS)

bench-peers: $(READY) ## Add the peers: torch, JAX, autograd.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[oracle,bench]'

bench-compare: $(READY) ## This checkout beside BASE=revision, in turns; fails where a workload is 15 % slower.
	$(BIN)/python benchmarks/compare.py $(BASE) $(ARGS)

examples: $(READY) ## Every example, as CI runs them.
	$(BIN)/python examples/demo.py && $(BIN)/python examples/custom_function.py

conformance: $(READY) ## Certify two servers of our own: one that computes in process, one with workers.
	$(BIN)/python tests/service/certify.py

SECONDS ?= 60
SEED ?= 0

fuzz: $(READY) ## Generated and mutated requests for SECONDS; another SEED makes others.
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED)

fuzz-decoder: $(READY) ## Coverage-guided bytes for what reads a request, for SECONDS.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz.decoder --seconds $(SECONDS) --seed $(SEED)

deploy-check: $(READY) ## The manifests render, are valid, fit each other and the code; the Dockerfile lints.
	$(BIN)/python -m pytest tests/deploy

image-check: $(READY) ## Build the image with buildah, run it, certify it; `make image-check BASE=debootstrap` without a registry.
	BASE=$(BASE) tests/deploy/image_check.sh

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

ci:
	bash .ci/run
