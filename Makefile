# make demo: two workers, a hundred delayed tasks, and one of the workers is killed.
# Needs Python 3.11 or later; PYTHON=python3.13 takes another than python3.

PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help demo

help:
	@echo "make demo   install into .venv, once, and run the demonstration (about half a minute)"

demo: .venv/installed-demo
	@cd example_project && exec ../.venv/bin/python -m demo

# Installed in place, so that only a change of the dependencies takes a new installation.
.venv/installed-demo: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed, and $(PYTHON) is " + sys.version.split()[0] + ": make demo PYTHON=python3.13")'
	@echo "installing into .venv ..."
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@
