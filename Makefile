# Thin: every target is one command of .venv. Works with GNU make 3.81, which macOS ships.

PYTHON := .venv/bin/python
RUN_STAMP := .venv/.run-stamp
DEV_STAMP := .venv/.dev-stamp
DEPLOY_STAMP := .venv/.deploy-stamp

# As typed: quotes and dollar signs reach the command through its environment, not through make.
override CSV := $(value CSV)
override SQL := $(value SQL)
override CMD := $(value CMD)
override REASON := $(value REASON)
override GROUP := $(value GROUP)
override SINCE := $(value SINCE)
override FROM := $(value FROM)
override TO := $(value TO)
override KEY := $(value KEY)
override ENTITY := $(value ENTITY)
override ENTITY_ID := $(value ENTITY_ID)
override ID := $(value ID)
override WHERE := $(value WHERE)
override CURSOR := $(value CURSOR)
override OUT := $(value OUT)
override Q := $(value Q)
export Q CSV SQL CMD REASON GROUP SINCE FROM TO KEY ENTITY ENTITY_ID ID WHERE CURSOR OUT

LETTERS = $(if $(ID),--id "$$ID") $(if $(filter 1 yes,$(ALL)),--all)
ASKED = $(if $(filter 1 yes,$(DRY_RUN)),--dry-run) $(if $(filter 1 yes,$(YES)),--yes)
AS_JSON = $(if $(filter 1 yes,$(JSON)),--json)

# The servers and programs of `make run`, unless the environment names others, or the file with a secret.
SERVERS = $(foreach name,DATABASE_URL REDIS_URL SNAPSHOT_ADDRESS SEARCH_INDEX,$(name)="$${$(name):-$$(test -n "$$$(name)_FILE" || sed -n 's/^$(name)=//p' .dev/env 2>/dev/null)}")

KNOWN = test -n "$$DATABASE_URL$$DATABASE_URL_FILE" || test -f .dev/env || \
	  { echo "No database: start one with make run, or set DATABASE_URL." >&2; exit 4; }

KNOWN_REDIS = test -n "$$REDIS_URL$$REDIS_URL_FILE" || test -f .dev/env || \
	  { echo "No Redis: start one with make run, or set REDIS_URL." >&2; exit 4; }

.DEFAULT_GOAL := help
.PHONY: help run reset psql redis-cli import search schema status group-drop pause resume verify replay explain backfill dead-letters requeue discard reanchor serve snapshot snapshot-diff snapshot-status consumer-dead-letters consumer-requeue consumer-discard test check format deploy-check chaos bench proto proto-lint lock clean

help:
	@awk 'BEGIN {FS = ":.*## "; print "usage: make <target>"} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  %-21s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

##@ Try it

run: $(RUN_STAMP) ## Start servers and programs, show the events; Ctrl-C stops everything
	@$(PYTHON) -m embedded run

psql: $(RUN_STAMP) ## Open psql on the catalog, or run SQL="UPDATE …"
	@$(PYTHON) -m embedded psql $(if $(SQL),--command "$$SQL")

redis-cli: $(RUN_STAMP) ## Open redis-cli on the stream, or run CMD="XLEN catalog:events"
	@$(PYTHON) -m embedded redis-cli $(if $(CMD),--command "$$CMD")

import: $(RUN_STAMP) ## Import a catalog: CSV=path
	@test -n "$$CSV" || { echo "usage: make import CSV=path" >&2; exit 2; }
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m examples.import_catalog "$$CSV"

search: $(RUN_STAMP) ## Search the index that `make run` keeps: Q="words or beginn" (LIMIT=10, JSON=1)
	@test -n "$$Q" || { echo "usage: make search Q=\"words\" [LIMIT=10] [JSON=1]" >&2; exit 2; }
	@$(SERVERS) $(PYTHON) -m consumer query $(if $(LIMIT),--limit $(LIMIT)) $(AS_JSON) -- "$$Q"

reset: $(RUN_STAMP) ## Remove the data of `make run` (asks; YES=1 does not)
	@$(PYTHON) -m embedded reset $(if $(filter 1 yes,$(YES)),--yes)

##@ Operate

schema: $(RUN_STAMP) ## Apply schema.sql; with CDN_BASE_URL= manifests must be below it
	@$(PYTHON) -m embedded psql --quiet --file schema.sql \
	  $(if $(CDN_BASE_URL),--command "SELECT catalog.set_cdn_base_url('$(CDN_BASE_URL)')")

status: $(RUN_STAMP) ## How far table, publisher and streams are (JSON=1 for programs, WATCH=1)
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m publisher status $(AS_JSON) $(if $(filter 1 yes,$(WATCH)),--watch)

group-drop: $(RUN_STAMP) ## Declare a consumer group dead: GROUP=name (asks; DRY_RUN=1, YES=1)
	@test -n "$$GROUP" || { echo "usage: make group-drop GROUP=name [DRY_RUN=1] [YES=1]" >&2; exit 2; }
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m publisher group-drop $(AS_JSON) $(if $(filter 1 yes,$(DRY_RUN)),--dry-run) \
	  $(if $(filter 1 yes,$(YES)),--yes) -- "$$GROUP"

pause: $(RUN_STAMP) ## Stop publishing in every process: REASON="…"
	@test -n "$$REASON" || { echo "usage: make pause REASON=\"why\"" >&2; exit 2; }
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m publisher pause --reason "$$REASON" $(AS_JSON)

resume: $(RUN_STAMP) ## Publish again after a pause
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m publisher resume $(AS_JSON)

verify: $(RUN_STAMP) ## Compare outbox and streams, ID by ID (SINCE=2h or a position; JSON=1)
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m publisher verify $(if $(SINCE),--since "$$SINCE") $(AS_JSON)

replay: $(RUN_STAMP) ## Old events into a side stream: FROM= (TO= ENTITY= ENTITY_ID= KEY= RATE=1000 CONTINUE=1 DRY_RUN=1)
	@test -n "$$FROM" || { echo "usage: make replay FROM=position [TO=position] [ENTITY=series] [KEY=stream]" >&2; exit 2; }
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m publisher replay --from "$$FROM" $(if $(TO),--to "$$TO") \
	  $(if $(ENTITY),--entity "$$ENTITY") $(if $(ENTITY_ID),--entity-id "$$ENTITY_ID") $(if $(KEY),--key "$$KEY") \
	  $(if $(RATE),--rate $(RATE)) $(if $(filter 1 yes,$(CONTINUE)),--continue) \
	  $(if $(filter 1 yes,$(DRY_RUN)),--dry-run) $(AS_JSON)

explain: $(RUN_STAMP) ## One event's way: ID=, or ENTITY_ID= for its newest (LAST=10)
	@test -n "$$ID$$ENTITY_ID" || { echo "usage: make explain ID=position, or ENTITY_ID=id [ENTITY=series] [LAST=10]" >&2; exit 2; }
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m publisher explain $(if $(ID),--id "$$ID") $(if $(ENTITY_ID),--entity-id "$$ENTITY_ID") \
	  $(if $(ENTITY),--entity "$$ENTITY") $(if $(LAST),--last $(LAST)) $(if $(WITHIN_S),--within-s $(WITHIN_S)) $(AS_JSON)

backfill: $(RUN_STAMP) ## Emit fresh events for existing rows: ENTITY=series [WHERE="…"] (DRY_RUN=1, AGAIN=1)
	@test -n "$$ENTITY" || { echo "usage: make backfill ENTITY=series [WHERE=\"status = 'PUBLISHED'\"]" >&2; exit 2; }
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m publisher backfill --entity="$$ENTITY" --where="$$WHERE" $(AS_JSON) \
	  $(if $(filter 1 yes,$(DRY_RUN)),--dry-run) $(if $(filter 1 yes,$(AGAIN)),--again)

dead-letters: $(RUN_STAMP) ## Events that could not be published and were set aside
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m publisher dead-letters $(AS_JSON)

requeue: $(RUN_STAMP) ## Publish dead letters after all, with new IDs: ID=, or ALL=1 (asks; DRY_RUN=1, YES=1)
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m publisher requeue $(LETTERS) $(ASKED) $(AS_JSON)

discard: $(RUN_STAMP) ## Give dead letters up: ID=, or ALL=1 (asks; DRY_RUN=1, YES=1)
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m publisher discard $(LETTERS) $(ASKED) $(AS_JSON)

reanchor: $(RUN_STAMP) ## Publish a database that was restored, above all that was published (asks; DRY_RUN=1, YES=1)
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m publisher reanchor $(ASKED) $(AS_JSON)

serve: $(RUN_STAMP) ## One more snapshot server, beside that of `make run` or alone: GRPC_BIND_ADDRESS=127.0.0.1:50061
	@$(KNOWN)
	@$(SERVERS) GRPC_BIND_ADDRESS="$${GRPC_BIND_ADDRESS:-127.0.0.1:$$(test -f .dev/env && echo 0 || echo 50061)}" ALLOW_UNAUTHENTICATED=1 \
	  $(PYTHON) -m snapshot_server

snapshot: $(RUN_STAMP) ## Take the catalog from the snapshot server: CURSOR= (what changed) LIMIT=1000 OUT=file (JSON=1)
	@$(SERVERS) $(PYTHON) -m snapshot_server snapshot $(if $(CURSOR),--cursor "$$CURSOR") $(if $(LIMIT),--limit $(LIMIT)) \
	  $(if $(OUT),--out "$$OUT") $(AS_JSON)

snapshot-diff: $(RUN_STAMP) ## Compare the feed with the tables, item by item (JSON=1)
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m snapshot_server diff $(AS_JSON)

snapshot-status: $(RUN_STAMP) ## Where the feed is, how far behind, and who keeps it (JSON=1)
	@$(KNOWN)
	@$(SERVERS) $(PYTHON) -m snapshot_server status $(AS_JSON)

consumer-dead-letters: $(RUN_STAMP) ## Events that a consumer group could not handle: GROUP=name (JSON=1)
	@test -n "$$GROUP" || { echo "usage: make consumer-dead-letters GROUP=name" >&2; exit 2; }
	@$(KNOWN_REDIS)
	@$(SERVERS) $(PYTHON) -m consumer dead-letters --group="$$GROUP" $(AS_JSON)

consumer-requeue: $(RUN_STAMP) ## Handle them once more: GROUP=name ID=, or ALL=1 (asks; DRY_RUN=1, YES=1)
	@test -n "$$GROUP" || { echo "usage: make consumer-requeue GROUP=name ID=… (or ALL=1)" >&2; exit 2; }
	@$(KNOWN_REDIS)
	@$(SERVERS) $(PYTHON) -m consumer requeue --group="$$GROUP" $(LETTERS) $(ASKED) $(AS_JSON)

consumer-discard: $(RUN_STAMP) ## Give them up: GROUP=name ID=, or ALL=1 (asks; DRY_RUN=1, YES=1)
	@test -n "$$GROUP" || { echo "usage: make consumer-discard GROUP=name ID=… (or ALL=1)" >&2; exit 2; }
	@$(KNOWN_REDIS)
	@$(SERVERS) $(PYTHON) -m consumer discard --group="$$GROUP" $(LETTERS) $(ASKED) $(AS_JSON)

##@ Develop

check: $(DEV_STAMP) ## All that CI runs: ruff, mypy, import contracts, tests
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	$(PYTHON) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test: $(DEV_STAMP) ## Run the tests; ARGS="-k name" is passed on
	$(PYTHON) -m pytest $(ARGS)

format: $(DEV_STAMP) ## Format and mend what ruff can mend
	$(PYTHON) -m ruff format
	$(PYTHON) -m ruff check --fix

deploy-check: $(DEPLOY_STAMP) ## Look at deploy/ with the tools that read such files, without running anything
	@$(PYTHON) -m deploy.checks

chaos: $(DEV_STAMP) ## Every fault at random, and a count of events: SECONDS=60 SEED=1 PARTITIONS=3
	$(if $(SECONDS),CHAOS_SECONDS=$(SECONDS)) $(if $(SEED),CHAOS_SEED=$(SEED)) \
	  $(if $(PARTITIONS),CHAOS_PARTITIONS=$(PARTITIONS)) \
	  $(PYTHON) -m pytest tests/acceptance/test_chaos.py tests/acceptance/test_snapshot_chaos.py \
	    tests/acceptance/test_consumer_chaos.py tests/acceptance/test_viewer_chaos.py -s

bench: $(DEV_STAMP) ## Measure: ONLY=name for one, QUICK=1 for a short run
	$(PYTHON) -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(filter 1 yes,$(QUICK)),--quick)

##@ Maintain

proto: $(DEV_STAMP) ## Generate content_proto/ anew from proto/content.proto
	mkdir -p $(GENERATED)
	PATH="$(abspath $(dir $(PYTHON))):$$PATH" $(PYTHON) -m grpc_tools.protoc --proto_path=proto \
	  --python_out=$(GENERATED) --pyi_out=$(GENERATED) --python_betterproto2_out=$(GENERATED) \
	  --python_betterproto2_opt=client_generation=async,server_generation=async,google_protobuf_descriptors \
	  content.proto

proto-lint: ## Check proto/content.proto with buf (needs npm): style, and that nothing breaks since AGAINST=branch=main
	npx --yes $(BUF) lint
	npx --yes $(BUF) breaking --against '.git#$(AGAINST)'

lock: $(DEV_STAMP) ## Write the lock files anew from pyproject.toml
	$(PYTHON) -m uv pip compile $(COMPILE) --extra embedded pyproject.toml -o requirements.lock
	$(PYTHON) -m uv pip compile $(COMPILE) --extra embedded --extra dev pyproject.toml -o requirements-dev.lock
	$(PYTHON) -m uv pip compile $(COMPILE) --constraint requirements-dev.lock --extra image pyproject.toml -o requirements-image.lock
	$(PYTHON) -m uv pip compile $(COMPILE) --constraint requirements-dev.lock --extra deploy pyproject.toml -o requirements-deploy.lock

clean: ## Remove .venv and caches; the data of `make run` stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

GENERATED := content_proto
BUF := @bufbuild/buf@1.75.0
AGAINST := branch=main

COMPILE := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url

# The environment: hash-checked, from the lock files; by uv where there is one, by pip otherwise.
INSTALL = if command -v uv >/dev/null 2>&1; \
	then uv pip install --quiet --python $(PYTHON) --require-hashes -r $<; \
	else $(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r $<; fi

$(RUN_STAMP): requirements.lock $(PYTHON)
	@echo "Installing $< into .venv (once; half a minute or so)" >&2
	@$(INSTALL)
	@touch $@

# Holds all that the other lock holds, so `make run` has nothing left to install.
$(DEV_STAMP): requirements-dev.lock $(PYTHON)
	@echo "Installing $< into .venv (once; half a minute or so)" >&2
	@$(INSTALL)
	@touch $@ $(RUN_STAMP)

# The tools of deploy-check, beside whatever else is there, at the same versions of what both need.
$(DEPLOY_STAMP): requirements-deploy.lock $(PYTHON)
	@echo "Installing $< into .venv (once; a minute or so)" >&2
	@$(INSTALL)
	@touch $@

# Run to be believed: a shim may exist without its Python, a Python without its ensurepip.
$(PYTHON):
	@for python in python3.13 python3.12 python3.11 python3; do \
	  if "$$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "Making .venv with $$python" >&2; \
	    "$$python" -m venv .venv && exit 0; \
	    rm -rf .venv; exit 1; \
	  fi; \
	done; \
	echo "No Python 3.11 or newer with its venv module was found." >&2; \
	echo "Install one (Debian: python3 and python3-venv; macOS: brew install python), then try again." >&2; \
	exit 1
