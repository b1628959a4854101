# make install     the environment, in .venv
# make quickstart  fine-tune a small encoder on the demo corpus
# make test        lint, types, documentation and tests
# make docs        the documentation as a site, in site/; warnings are errors
# make lowest      the tests with the oldest versions that pyproject.toml allows, in .venv-lowest
# make release     build the source distribution and the wheel in dist/, check both, and try the wheel in .venv-release
# make gpu         on a machine with an NVIDIA GPU: the tests that need one, and speed, in gpu.json and a table
# make bench       speed against the Hugging Face Trainer; GLUE_DIR=FOLDER names the official files
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
export NO_MKDOCS_2_WARNING := 1

.PHONY: install quickstart test docs slow lowest release bench gpu

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,docs,quickstart]"
	@touch $@

quickstart: install
	$(BIN)/glue-lit fit --config configs/quickstart.yaml
	@echo
	@echo "For the commands above, first:  source .venv/bin/activate"

# Files in their order, not those with the most tests first: the few long ones would come last, one after the other.
test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry .
	$(BIN)/mkdocs build --quiet
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not gpu and not network"

docs: install
	$(BIN)/mkdocs build

slow: install
	$(BIN)/python -m pytest -n 2 -m slow

# Warnings are not errors here: old libraries warn of what newer ones have changed.
lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt -e ".[dev,quickstart]"
	.venv-lowest/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -W default -m "not slow and not gpu and not network"

release: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[release]"
	rm -rf build dist
	$(BIN)/python -m build --quiet
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents --toplevel glue_lit dist
	$(PYTHON) -m venv --clear .venv-release
	.venv-release/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt dist/*.whl
	cd dist && ../.venv-release/bin/glue-lit --help >/dev/null && ../.venv-release/bin/glue-lit tasks

bench: install
	$(BIN)/python -m benchmarks speed --glue_dir $(or $(GLUE_DIR),$(error make bench GLUE_DIR=FOLDER with the official GLUE files))

gpu: install
	$(BIN)/python -m pytest -m gpu
	$(BIN)/python -m benchmarks gpu
