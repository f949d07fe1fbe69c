# Everything runs from .venv, made by `make install` from the hash-locked requirements.lock.
PYTHON ?= python3
BIN := .venv/bin

DEEP := .venv-deep
# Installed by pip from its own index: 2.13.0 is there as a build for processors alone, others bring gigabytes of CUDA.
TORCH ?= torch==2.13.0
SITE := -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])'

.PHONY: demo test test-deep check up install install-deep lock clean

demo: install       ## The main job from raw data to a served champion
	@$(BIN)/merit demo

test: install       ## The whole test suite
	@# Files as tests/conftest.py orders them, the slowest first. Byte code is kept whatever the environment says: with
	@# it, every process that a test starts is there a second earlier.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

check: install      ## Style, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

up: install         ## Prefect, MLflow, a worker and the API until Ctrl-C
	@$(BIN)/merit up

install: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {sys.version.split()[0]}. Set PYTHON=python3.12, for example.")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@# The lock is complete, so pip need not resolve anything.
	@echo "Installing the locked requirements into .venv (one to three minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m models.forecasting.compiled
	@touch $@

install-deep: $(DEEP)/installed  ## Chronos-2, LSTM and autoencoder, in an environment of their own on top of .venv

$(DEEP)/installed: .venv/installed requirements-deep.lock pyproject.toml
	@test -x $(DEEP)/bin/python || $(PYTHON) -m venv $(DEEP)
	@# Everything of .venv is seen from here, nothing of this from there.
	@echo "import site; site.addsitedir(r'$$($(BIN)/python $(SITE))')" > "$$($(DEEP)/bin/python $(SITE))/meritorder-base.pth"
	@echo "Installing torch and the locked requirements of the extra deep into $(DEEP) (some minutes the first time)"
	@$(DEEP)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements-deep.lock
	@$(DEEP)/bin/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	@$(DEEP)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

test-deep: install-deep  ## The tests of what needs the extra deep
	@$(DEEP)/bin/python -m pytest tests/deep

lock: install       ## Resolve requirements.lock again from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --group dev pyproject.toml --output-file requirements.lock
	@# Of the extra deep, only what .venv does not hold already, and in versions that suit it.
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" --extra deep --constraint requirements.lock \
		$$(sed -n 's/^\([A-Za-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements.lock) \
		pyproject.toml --output-file requirements-deep.lock

clean:              ## Remove what runs and installations wrote
	@rm -rf .merit .venv .venv-deep .mypy_cache .ruff_cache .pytest_cache
