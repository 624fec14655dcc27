# Thin wrappers over the Python commands; `make help` lists them. Any of them works as the first command in a fresh clone.
.DEFAULT_GOAL := help
.PHONY: help flow report test test-all lint mutants planted docs train regress bench setup all-extras clean

# What the user gives is text, never make's or the shell's language: the variables of the command line lose their meaning
# to make here, and reach the program through the environment.
override export XNORFLOW_GIVEN := \
	$(strip $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name))))
$(foreach name,$(filter-out XNORFLOW_GIVEN,$(XNORFLOW_GIVEN)),$(eval override export $(name) := $$(value $(name))))
override SHELL := /bin/bash
override PYTHON := .venv/bin/python
override READY := .venv/.ready
override EVERYTHING := keras qonnx cluster train docs test
override RUN := $(PYTHON) -m xnorflow.flows.make

override STRANGE := $(filter-out help flow report test test-all lint mutants planted docs train regress bench setup clean $(READY),$(MAKECMDGOALS))
ifneq ($(STRANGE),)
$(error no target $(firstword $(STRANGE)): the model is a variable, as in: make flow MODEL=$(firstword $(STRANGE)); `make help` lists the targets)
endif
ifneq ($(XNORFLOW_GIVEN),)
ifneq ($(filter help test test-all lint planted docs setup,$(MAKECMDGOALS))$(if $(MAKECMDGOALS),,help),)
$(error $(filter help test test-all lint planted docs setup,$(MAKECMDGOALS)) takes no variables, got $(XNORFLOW_GIVEN); `make help` lists who takes which)
endif
endif

help:  ## list the targets
	@echo 'usage: make TARGET [VARIABLE=value ...]'
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r target text; do \
		printf '  %-8s %s\n' "$$target" "$$text"; done

flow: $(READY)  ## run the flow: MODEL=name, file or package.module:factory [CHECKPOINT=file] [VECTORS=n|all] [BACKEND=vitis|vivado] [CONFIG=file] [FIXED=bits] [TARGET_FPS=rate | MAX_LUTS=n] [DATA=file.npz or folder] [OUT=folder] [WAVES=1] [FORCE=1]
	@$(RUN) flow

report: $(READY)  ## write reports/index.html over all flows that have run
	@$(RUN) report

test: $(READY) all-extras  ## run the tests, then compare the models with their baselines
	@$(PYTHON) -m pytest -n auto -m 'not slow'
	@$(PYTHON) -m xnorflow regress --no-synthesis
	@$(PYTHON) -m xnorflow regress digits_bnn mnist_bnn
	@$(PYTHON) -m pytest -n auto -m 'slow and not exhaustive'

test-all: test  ## run every test, those beyond CI's time, too
	@$(PYTHON) -m pytest -n auto -m exhaustive

lint: $(READY) all-extras  ## check style and types
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy

mutants: $(READY) all-extras  ## change the code in small ways, and count what the tests notice (hours): [FILES=bnn/folding.py,...] [SHARE=n of each package, 0 for all] [SEED=n]
	@bash flows/setup.sh mutants
	@$(PYTHON) tests/mutants.py

planted: $(READY) all-extras  ## plant faults in the Verilog templates and the C++ headers: each must be caught in simulation (an hour)
	@$(PYTHON) -m tests.planted

docs: $(READY)  ## build the manual, strictly, in site/
	@bash flows/setup.sh docs
	@$(PYTHON) -m mkdocs build --strict

train: $(READY)  ## train a model of the zoo, in runs/: MODEL=name [DATA=folder] [EPOCHS=n] [SEED=n] [OUT=file | REPLACE_CHECKPOINT=1]
	@$(RUN) train

regress: $(READY)  ## compare the models with reports/baselines: [MODEL=name or file]; UPDATE=1 rewrites the baselines
	@$(RUN) regress

bench: $(READY)  ## measure the golden model's speed against PyTorch and onnxruntime, C-simulation of packed against stock hls4ml projects, the area of unrolled matrices and of hls4ml layers, what coverage takes, and what a step costs beside its work: [LOWER=AVX2]
	@bash flows/setup.sh qonnx cluster
	@$(PYTHON) -m xnorflow.cosim.bench
	@$(PYTHON) -m xnorflow.cosim.csim_bench
	@$(PYTHON) -m xnorflow.hls.rtl.bench
	@$(PYTHON) -m xnorflow.hls.calibration
	@$(PYTHON) -m xnorflow.flows.coverage_bench
	@$(PYTHON) -m xnorflow.flows.bench

setup: $(READY) all-extras  ## install everything, what tests need, too (every other target installs what it needs)

all-extras: $(READY)
	@bash flows/setup.sh $(EVERYTHING)

clean:  ## remove what flows have made, and nothing else, from build/ and reports/
	@rm -f build/setup.log build/setup.lock
	@[ ! -x $(PYTHON) ] || $(RUN) clean

$(READY): $(wildcard requirements*.lock) pyproject.toml flows/setup.sh
	@bash flows/setup.sh
