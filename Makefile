# All commands of this repository. Tools are installed into .local, each in a fixed version.

# `make run` builds the functions while it installs the local AWS.
MAKEFLAGS += --jobs=2

PYTHON ?= python3
VENV := .local/venv
TOOLS := .local/tools
BIN := $(VENV)/bin
LOCAL := $(BIN)/python infra/local

.PHONY: run deploy-local functions test unit watch check docs openapi vendor oracles bench soak many-runs zips clean

# AIAS in one process.
run: functions $(VENV)/run.stamp
	@PORT=$(PORT) CLEAN=$(CLEAN) $(LOCAL) run

# template.yaml, deployed to a local AWS.
deploy-local: functions $(VENV)/run.stamp
	@PORT=$(PORT) CLEAN=$(CLEAN) $(LOCAL) deploy_local

functions:
	@$(PYTHON) infra/local/build.py

# `make test ARGS='-E "test(crash)"'` passes arguments to cargo-nextest, and runs only these tests.
test: $(VENV)/run.stamp $(VENV)/test.stamp
	@$(LOCAL) test $(ARGS)

# The tests that need no deployed stack; the others count as skipped.
unit: $(VENV)/run.stamp
	@$(LOCAL) unit $(ARGS)

watch: $(VENV)/run.stamp $(TOOLS)/stamp
	@PORT=$(PORT) $(LOCAL) watch

# Format, lints, documentation, dependencies, template. `make test` runs the tests.
check: $(VENV)/run.stamp $(TOOLS)/stamp
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	infra/check_deny.sh
	$(TOOLS)/bin/cfn-lint template.yaml
	AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0 $(TOOLS)/bin/sam validate --lint --template template.yaml

# docs/openapi.json, docs/errors.md and docs/sources.md, from the code. Tests fail when they are stale.
docs: openapi
	"$${CARGO_TARGET_DIR:-target}/debug/errors" > docs/errors.md
	"$${CARGO_TARGET_DIR:-target}/debug/sources" > docs/sources.md

openapi:
	cargo build --quiet --workspace --bins
	"$${CARGO_TARGET_DIR:-target}/debug/openapi" > docs/openapi.json.new
	mv docs/openapi.json.new docs/openapi.json

# The scripts of others that the console contains, from their npm packages.
vendor:
	$(PYTHON) infra/vendor.py

# Checks the recorded requests of sources with the libraries of their providers.
oracles:
	mkdir -p .local/oracles && cp infra/oracles/* .local/oracles
	cd .local/oracles && npm ci --ignore-scripts --no-audit --no-fund && node check.mjs "$(CURDIR)/shared/domain/sources"

# Measures docs/benchmarks.md, docs/scale.md and their plots.
bench: $(VENV)/run.stamp
	@$(LOCAL) bench

# Posts 100,000 events to AIAS in one process that is killed and whose calls fail; writes docs/soak.md.
soak:
	cargo build --profile embedded --bins -p aias-soak
	rm -rf .local/soak && mkdir -p .local/soak
	"$${CARGO_TARGET_DIR:-target}/embedded/aias-soak" run --data .local/soak/data --page docs/soak.md
	rm -rf .local/soak

# Measures the lists of a tenant with 100,000 runs; writes docs/many-runs.md.
many-runs: $(VENV)/run.stamp
	@RUNS=$(RUNS) $(LOCAL) many_runs

# Builds the functions for Lambda into target/lambda; `make bench` records their sizes.
zips: $(TOOLS)/stamp
	PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH" cargo lambda build --release --arm64

clean:
	rm -rf .local target .aws-sam

$(VENV)/bin/python:
	@echo "  making $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "failed: $(PYTHON) cannot make a virtual environment; install its venv module"; exit 1; }

$(VENV)/run.stamp: infra/local/requirements.txt | $(VENV)/bin/python
	@echo "  installing the local AWS into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r $< || { echo "failed: pip could not install $<; see its message above"; exit 1; }
	@touch $@

$(VENV)/test.stamp: infra/local/requirements-test.txt | $(VENV)/run.stamp
	@echo "  installing schemathesis into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r $< || { echo "failed: pip could not install $<; see its message above"; exit 1; }
	@touch $@

# In a separate environment: the local AWS needs other versions of the same libraries.
$(TOOLS)/stamp: infra/local/requirements-tools.txt
	@echo "  installing cargo-lambda, the SAM CLI and cfn-lint into $(TOOLS)"
	@$(PYTHON) -m venv $(TOOLS) || { echo "failed: $(PYTHON) cannot make a virtual environment; install its venv module"; exit 1; }
	@$(TOOLS)/bin/pip install --quiet --disable-pip-version-check -r $< || { echo "failed: pip could not install $<; see its message above"; exit 1; }
	@touch $@
