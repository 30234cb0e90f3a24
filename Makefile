# Every target installs what it needs first; none needs another, root, Docker or a server.
#
#   make demo    ingest three patients that come with pydicom and ask them two questions
#   make test    run the tests
#   make soak    run the long attacks of docs/reliability.md, some twelve minutes
#   make check   run what CI runs besides the tests; changes nothing
#   make dev     serve Dagster at http://127.0.0.1:3000
#   make docs    write docs/data-dictionary.md from the headers of sql/
#   make bench   measure, and write docs/benchmarks.md; with DICOM_CORPUS=DIR on your files too
#   make bench-queries   the same for questions to a million instances; docs/benchmarks-queries.md
#   make bench-pixels    the same for series that become arrays; docs/benchmarks-pixels.md
#   make setup   install everything for working on the project

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo-data

.PHONY: setup demo test test-slow soak check format docs bench bench-queries bench-pixels dev clean

setup: $(VENV)/.dev

# A bare Debian has Python without ensurepip: then virtualenv, from the package index, does it.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV) && \
	$(PYTHON) -m pip install --quiet --target $(VENV)-bootstrap virtualenv && \
	PYTHONPATH=$(VENV)-bootstrap $(PYTHON) -m virtualenv --quiet $(VENV) && rm -rf $(VENV)-bootstrap; }

$(VENV)/.package: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[pixels]'
	touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/.package

# Not every peer is to be had on every platform; what is missing is shown as missing.
$(VENV)/.bench: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]' || \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[pixels]'
	touch $@ $(VENV)/.package

demo: $(VENV)/.package
	rm -rf $(DEMO)
	cd "$$($(BIN)/python -c 'import pydicom.data as d; print(*d.__path__)')"/test_files/dicomdirtests && \
	"$(CURDIR)/$(BIN)/dicom-warehouse" ingest 77654033 98892001 98892003 -w "$(CURDIR)/$(DEMO)" --mode full
	@echo; $(BIN)/dicom-warehouse info -w $(DEMO)
	@echo; echo 'SQL: which modalities, from which vendors?'
	@$(BIN)/dicom-warehouse sql "select Modality, count(*) as series, cast(sum(instance_count) as bigint) as instances, list_sort(list(distinct Manufacturer)) as manufacturers from series group by all order by instances desc, Modality" -w $(DEMO)
	@echo; echo 'Polars: how thick are slices?'
	@$(BIN)/python -c "import polars as pl, warehouse; print(warehouse.open('$(DEMO)').table('elements').filter(pl.col('keyword') == 'SliceThickness').group_by('vr').agg(pl.len().alias('values'), pl.col('real').min().alias('thinnest_mm'), pl.col('real').max().alias('thickest_mm')).collect())"

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

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

docs: $(VENV)/.package
	$(BIN)/python -m warehouse.catalog.data_dictionary > docs/data-dictionary.md

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/extraction.py

bench-queries: $(VENV)/.bench
	$(BIN)/python benchmarks/queries.py

bench-pixels: $(VENV)/.bench
	$(BIN)/python benchmarks/pixels.py

dev: $(VENV)/.dev
	DAGSTER_HOME=$(CURDIR) $(BIN)/dagster dev -m pipelines.definitions

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info
