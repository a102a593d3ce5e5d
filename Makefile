# What can be done here, one line each: `make help`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test test-postgres check e2e fuzz bench screenshots install

help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/' | while IFS=$$'\t' read -r name text; do printf '  make %-13s %s\n' "$$name" "$$text"; done

run: ## start Fanfare for development on 127.0.0.1:6001 (the same as `fanfare dev`)
	cargo run --release

test: ## everything that CI checks: install tools, format, lints, docs, all tests
	scripts/test.sh

test-postgres: ## all stories of the SDKs with every database on a real PostgreSQL (`make test` tells some of them there)
	scripts/test-postgres.sh

check: ## format, lints (clippy, warnings are errors) and documentation
	scripts/check.sh

e2e: ## only the stories of the SDKs and of the pages, against a fresh build
	scripts/e2e.sh

fuzz: ## fuzz each parser of strangers' bytes for FUZZ_SECONDS (600); FUZZ_TARGETS names some of them
	scripts/fuzz.sh $(FUZZ_TARGETS)

bench: ## time single functions (parsing, signatures, frames); whole servers: docs/BENCH.md
	cargo bench --package protocol --package realtime --bench messages --bench frames

screenshots: ## pictures of every page, light and dark, into docs/screenshots/
	scripts/screenshots.sh

install: ## only install what the tests need (Debian, npm and PyPI packages)
	scripts/install.sh
