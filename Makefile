# Every target sets up `.venv` first, from constraints.txt, and does nothing when that is done already.
# pip's own settings hold throughout: an index, a mirror, a proxy, a folder of wheels (PIP_FIND_LINKS).

# The first Python that is new enough; `make setup PYTHON=/some/python3.12` takes that one instead.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
# Relative, as are all paths here: the checkout may lie in a folder with spaces in its name.
VENV = .venv
READY = $(VENV)/.ready
MUTATE = .venv-mutate
RUN = $(VENV)/bin/python -m
# What `make constraints` pins. Not vllm: it pins a torch of its own, so it has an environment of its own.
EXTRAS = dev,ray,serve,lens,lm-eval,judge

# Processes that `make test` uses.
JOBS ?= auto

.DEFAULT_GOAL = help
.PHONY: help setup demo test host explore lint types layers check bench constraints mutate clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 14

setup: $(READY) ## make .venv with the pinned packages (PYTHON=... chooses the Python, 3.11 or newer)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "dola needs Python 3.11 or newer, and none was found: make setup PYTHON=/path/to/python3" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "dola needs Python 3.11 or newer, and $(PYTHON) is %d.%d" % v[:2])'
	@$(RUN) pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	$(RUN) pip install --constraint constraints.txt torch
	$(RUN) pip install --constraint constraints.txt --editable '.[dev,judge]'
	@touch $(READY)

demo: $(READY) ## answer a few questions with and without DoLa, on an embedded model
	$(VENV)/bin/dola demo

test: $(READY) ## run the tests (ARGS="-k tap" chooses), one process a core, at most 4 (JOBS=1: one after the other)
	$(RUN) pytest --numprocesses $(JOBS) --maxprocesses 4 --dist worksteal $(ARGS)

host: $(READY) ## transformers' own model tests, plain and with Vanilla attached: what passes plain passes attached
	$(VENV)/bin/python tests/host/source_distribution.py
	$(RUN) pytest --numprocesses $(JOBS) --maxprocesses 4 --dist worksteal --override-ini addopts= $(ARGS) \
		tests/host/common_model_tests.py

explore: $(READY) ## run the property tests (hypothesis) on new, random cases, thousands of each
	$(RUN) pytest -m hypothesis --hypothesis-profile=explore $(ARGS)

lint: $(READY) ## ruff: rules and format
	$(RUN) ruff check
	$(RUN) ruff format --check

types: $(READY) ## mypy, strict
	$(RUN) mypy

layers: $(READY) ## import-linter: imports point downwards only
	$(VENV)/bin/lint-imports

check: lint types layers test ## all four

bench: $(READY) ## tokens per second, vanilla against DoLa (ARGS="--help" lists the options)
	$(VENV)/bin/python benchmarks/decode.py $(ARGS)

constraints: $(READY) ## pin in constraints.txt the newest versions that fit torch's there (on Python 3.11)
	{ sed -n '/^#/p' constraints.txt; \
	  $(RUN) pip install --quiet --dry-run --ignore-installed --report - \
	      "$$(grep '^torch==' constraints.txt)" --editable '.[$(EXTRAS)]' \
	  | $(VENV)/bin/python -c 'import json, sys; \
	      found = {i["metadata"]["name"].lower(): i["metadata"]["version"] for i in json.load(sys.stdin)["install"]}; \
	      unpinned = ("dola", "pip", "nvidia", "cuda", "triton"); \
	      print(*(n + "==" + v.split("+")[0] for n, v in sorted(found.items()) if n.split("-")[0] not in unpinned), sep="\n")'; \
	} > constraints.new && mv constraints.new constraints.txt

mutate: $(MUTATE)/.ready ## a change of the arithmetic that no test notices (ARGS="dola.head.*" chooses)
	OMP_NUM_THREADS=1 $(MUTATE)/bin/mutmut run --max-children 1 $(ARGS)
	$(MUTATE)/bin/mutmut results

# Beside the packages of .venv, so that `make setup` need not fetch it.
$(MUTATE)/.ready: $(READY)
	$(RUN) venv --clear $(MUTATE)
	$(MUTATE)/bin/python -m pip install --quiet mutmut==3.8.1
	$(VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
		> "$$($(MUTATE)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/of-setup.pth"
	@touch $(MUTATE)/.ready

clean: ## remove .venv and the tools' caches, but no fetched model (`dola models` does that)
	rm -rf $(VENV) $(MUTATE) mutants .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
