# Thin wrappers over the Python commands; `make help` lists them. Any of them works as the first command in a fresh clone.
.DEFAULT_GOAL := help
.PHONY: help flow report test lint train regress bench setup clean
SHELL := /bin/bash
PYTHON := .venv/bin/python
unexport WAVES  # an option of the flow; cocotb would take the variable for its own
READY := .venv/.ready

help:  ## list the targets
	@echo 'usage: make TARGET [VARIABLE=value ...]'
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target text; do \
		printf '  %-8s %s\n' "$$target" "$$text"; done

flow: $(READY)  ## run the flow: MODEL=name, file or package.module:factory [CHECKPOINT=file] [VECTORS=n|all] [BACKEND=vitis|vivado] [CONFIG=file] [TARGET_FPS=rate | MAX_LUTS=n] [DATA=folder] [OUT=folder] [WAVES=1] [FORCE=1]
	@$(PYTHON) -m xnorflow run $(if $(MODEL),'$(MODEL)') $(if $(CHECKPOINT),--checkpoint '$(CHECKPOINT)') $(if $(VECTORS),--vectors '$(VECTORS)') \
		$(if $(BACKEND),--backend '$(BACKEND)') $(if $(CONFIG),--config '$(CONFIG)') \
		$(if $(TARGET_FPS),--target-fps '$(TARGET_FPS)') $(if $(MAX_LUTS),--max-luts '$(MAX_LUTS)') $(if $(DATA),--data '$(DATA)') \
		$(if $(OUT),--out '$(OUT)') $(if $(WAVES),--waves) $(if $(FORCE),--force)

report: $(READY)  ## write reports/index.html over all flows that have run
	@$(PYTHON) -m xnorflow report

test: $(READY)  ## run every test, then compare the models with their baselines
	@$(PYTHON) -m pytest -n auto -m 'not slow'
	@$(PYTHON) -m xnorflow regress --no-synthesis
	@$(PYTHON) -m xnorflow regress digits_bnn mnist_bnn
	@$(PYTHON) -m pytest -n auto -m slow

lint: $(READY)  ## check style and types
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy

train: $(READY)  ## train a model of the zoo: MODEL=name [DATA=folder]
	@$(PYTHON) -m xnorflow.models.train $(if $(MODEL),'$(MODEL)') $(if $(DATA),--data '$(DATA)')

regress: $(READY)  ## compare the models with reports/baselines: [MODEL=name or file]; UPDATE=1 rewrites the baselines
	@$(PYTHON) -m xnorflow regress $(if $(MODEL),'$(MODEL)') $(if $(UPDATE),--update)

bench: $(READY)  ## measure the golden model's speed against PyTorch, and the area of unrolled matrices
	@$(PYTHON) -m xnorflow.cosim.bench
	@$(PYTHON) -m xnorflow.hls.rtl.bench

setup: $(READY)  ## install what is missing (every other target does it, too)

clean:  ## remove what flows have made: build/ and the generated reports
	@rm -rf build reports/index.html $(filter-out reports/baselines/ reports/templates/,$(wildcard reports/*/))

$(READY): requirements.lock pyproject.toml flows/setup.sh
	@bash flows/setup.sh
