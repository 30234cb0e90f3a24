# Every target installs what it needs first; none needs another, root, Docker or a server.
#
#   make demo    ingest two patients that come with pydicom and ask two questions
#   make test    run the tests
#   make soak    run the long attacks of docs/reliability.md, some twelve minutes
#   make check   run what CI runs besides the tests; changes nothing
#   make dev     serve Dagster at http://127.0.0.1:3000
#   make docs    write docs/data-dictionary.md from the headers of sql/
#   make docs-site   build the documentation as a site, build/site/index.html
#   make bench   measure, and write docs/benchmarks.md; with DICOM_CORPUS=DIR on your files too
#   make bench-queries   the same for questions to a million instances; docs/benchmarks-queries.md
#   make bench-pixels    the same for series that become arrays; docs/benchmarks-pixels.md
#   make bench-server    the same for what is asked over the network; docs/benchmarks-server.md
#   make licences    write docs/licences.md from what is installed
#   make viewer  fetch OHIF from npm and put it where `dicom-warehouse serve` finds it
#   make setup   install everything for working on the project
#   make lock    choose the newest versions that pyproject.toml allows, and write them to locks/
#   make test-latest   the tests with the newest versions that pyproject.toml allows
#   make test-lowest   the tests with the oldest ones
#
# What is installed is what locks/ says, with hashes. Other interpreters, each beside the first:
#   make test PYTHON=python3.13 VENV=.venv-3.13

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo-data

.PHONY: setup demo sql test test-long test-slow soak check format docs bench bench-queries bench-pixels bench-server dev clean docs-site viewer \
	lock test-latest test-lowest licences

setup: $(VENV)/.dev

PIP := -m pip install --quiet --disable-pip-version-check
# Every package by its hash, then the checkout itself, built by what the lock brought.
locked = $(BIN)/python $(PIP) --require-hashes -r locks/$(1).txt && \
	$(BIN)/python $(PIP) --no-deps --no-build-isolation --editable .

# A bare Debian has Python without ensurepip: then virtualenv, from the package index, does it.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV) && \
	$(PYTHON) -m pip install --quiet --target $(VENV)-bootstrap virtualenv && \
	PYTHONPATH=$(VENV)-bootstrap $(PYTHON) -m virtualenv --quiet $(VENV) && rm -rf $(VENV)-bootstrap; }

$(VENV)/.package: $(BIN)/python pyproject.toml locks/package.txt
	$(call locked,package)
	touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml locks/dev.txt
	$(call locked,dev)
	touch $@ $(VENV)/.package

# Not every peer is to be had on every platform; what is missing is shown as missing.
$(VENV)/.bench: $(BIN)/python pyproject.toml locks/bench.txt
	$(call locked,bench) || { $(call locked,package); }
	touch $@ $(VENV)/.package

# uv resolves for all interpreters and platforms at once; only this target needs it.
COMPILE = $(VENV)-uv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-strip-extras --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
	pyproject.toml locks/build.in

lock: $(VENV)-uv/bin/uv
	$(COMPILE) --extra dev -o locks/dev.txt
	$(COMPILE) --extra pixels -c locks/dev.txt -o locks/package.txt
	$(COMPILE) --extra bench -c locks/dev.txt -o locks/bench.txt
	$(COMPILE) --extra docs --extra pixels -c locks/dev.txt -o locks/docs.txt

# The ends of the ranges in pyproject.toml, each in an environment made anew.
test-latest test-lowest: test-%: $(VENV)-uv/bin/uv
	rm -rf $(VENV)-$*
	$(VENV)-uv/bin/uv venv --quiet --python $(PYTHON) $(VENV)-$*
	VIRTUAL_ENV=$(VENV)-$* $(VENV)-uv/bin/uv pip install --quiet --editable '.[dev]' -r locks/build.in \
		--resolution $(if $(filter lowest,$*),lowest-direct,highest)
	VIRTUAL_ENV=$(VENV)-$* $(VENV)-uv/bin/uv pip freeze --quiet --exclude-editable > $(VENV)-$*/versions.txt
	$(VENV)-$*/bin/python -m pytest $(PARALLEL)
	@echo "versions: $(VENV)-$*/versions.txt"

$(VENV)-uv/bin/uv:
	$(MAKE) --no-print-directory $(VENV)-uv/bin/python VENV=$(VENV)-uv
	$(VENV)-uv/bin/python $(PIP) 'uv>=0.9'

demo: $(VENV)/.package
	@rm -rf $(DEMO)
	@echo 'dicom-warehouse ingest 77654033 98892001 98892003 -w $(DEMO)'
	@cd "$$($(BIN)/python -c 'import pydicom.data as d; print(*d.__path__)')"/test_files/dicomdirtests && \
	"$(CURDIR)/$(BIN)/dicom-warehouse" ingest 77654033 98892001 98892003 -w "$(CURDIR)/$(DEMO)"
	@echo; $(BIN)/dicom-warehouse info -w $(DEMO)
	@echo; echo 'SQL: which modalities, from which vendors?'
	@$(BIN)/dicom-warehouse sql "select Modality, count(*) as series, cast(sum(instance_count) as bigint) as instances, list_sort(list(distinct Manufacturer)) as manufacturers from series group by all order by instances desc, Modality" -w $(DEMO)
	@echo; echo 'Polars: how thick are slices?'
	@$(BIN)/python -c "import polars as pl, warehouse; print(warehouse.open('$(DEMO)').table('elements').filter(pl.col('keyword') == 'SliceThickness').group_by('vr').agg(pl.len().alias('values'), pl.col('real').min().alias('thinnest_mm'), pl.col('real').max().alias('thickest_mm')).collect())"

# Two processes, each of which runs whole files: what a file makes for its tests is made once.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

# Modules are compiled once, also where the environment says that nothing is to be written.
test: $(VENV)/.dev
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest $(PARALLEL)

# The tests of which `make test` runs a short form. CI runs both.
test-long: $(VENV)/.dev
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest $(PARALLEL) -m 'long and not soak and not slow'

# And properties of Hypothesis with a thousand examples each.
test-slow: $(VENV)/.dev
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -m 'slow or (hypothesis and not soak)'

soak: $(VENV)/.dev
	$(BIN)/python -m pytest -m soak -s -q

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint sql

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Views that say the attributes of `instances`, from sql/rules/instance_attributes.csv.
sql: $(VENV)/.package
	$(BIN)/python -m warehouse.store.instance_sql

docs: $(VENV)/.package
	$(BIN)/python -m warehouse.catalog.data_dictionary > docs/data-dictionary.md

# Sphinx has an environment of its own. What a page loads comes from the site: it is read without a network.
docs-site:
	$(MAKE) --no-print-directory VENV=$(VENV)-docs $(VENV)-docs/.docs
	$(VENV)-docs/bin/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env --write-all -c docs \
		-d build/doctrees . build/site
	@if grep -rlE --include='*.html' '<(script|link|img|iframe)[^>]* (src|href)="(https?:)?//' build/site; \
	then echo 'these pages load something from elsewhere'; exit 1; fi
	@echo 'the site: build/site/index.html'

$(VENV)/.docs: $(BIN)/python pyproject.toml locks/docs.txt
	$(call locked,docs)
	touch $@

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/extraction.py

bench-queries: $(VENV)/.bench
	$(BIN)/python benchmarks/queries.py

bench-pixels: $(VENV)/.bench
	$(BIN)/python benchmarks/pixels.py

# With Debian's orthanc and orthanc-dicomweb where they are installed; ARGUMENTS='--instances 100000' for less.
bench-server: $(VENV)/.dev
	$(BIN)/python benchmarks/server.py $(ARGUMENTS)

# npm serves the tarball; its digest is checked before anything of it is unpacked.
viewer: $(VENV)/.dev
	mkdir -p build && cd build && npm pack --silent @ohif/app@3.13.2
	$(BIN)/dicom-warehouse viewer install --force --from build/ohif-app-3.13.2.tgz

dev: $(VENV)/.dev
	DAGSTER_HOME=$(CURDIR) $(BIN)/dagster dev -m pipelines.definitions

clean:
	rm -rf $(VENV) $(VENV)-* $(DEMO) build dist *.egg-info

# After the dependencies have changed: a test compares it with what is installed.
licences: $(VENV)/.dev
	$(BIN)/python docs/licences.py
