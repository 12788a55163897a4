# Every target sets itself up: .venv is made when it is missing or pyproject.toml or constraints.txt have changed.
.DEFAULT_GOAL := help
.PHONY: help setup quiet-setup demo test check format fuzz wheel clean
python := .venv/bin/python

# Tests run in two processes, a file to each at a time: JOBS=4 make test for more.
JOBS ?= 2

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

setup: ## make .venv with everything in it, and say what is done
	@scripts/setup

quiet-setup:
	@scripts/setup --quiet

demo: quiet-setup ## fuse a real sentence encoder, compare it with the original, write minilm.html
	@$(python) -m mosaic fuse minilm --report minilm.html

test: quiet-setup ## the tests
	@$(python) -m pytest -n $(JOBS) --dist loadfile

check: quiet-setup ## lint, format, strict types, and the order of imports
	$(python) -m ruff check
	$(python) -m ruff format --check
	$(python) -m mypy
	$(python) -m pytest -q tests/test_imports.py

format: quiet-setup ## put the code into the format that check wants
	$(python) -m ruff check --fix
	$(python) -m ruff format

fuzz: quiet-setup ## every property on new examples, then all random graphs; prints what repeats a failure
	@$(python) -m pytest -m "hypothesis and not fuzz and not gpu" --hypothesis-profile fresh -n $(JOBS) --dist loadfile
	@MOSAIC_FUZZ=full $(python) -m pytest -m fuzz

wheel: quiet-setup ## build dist/*.whl
	@$(python) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist

clean: ## remove what the other targets made
	rm -rf .venv build dist minilm.html .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
