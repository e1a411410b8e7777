# Needs Go, and root or sudo; everything else is fetched when a target needs it. PG chooses PostgreSQL versions, as in
# PG="15 17" or PG=14..18; without it the installed one and 17 are used.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PG        ?=
FUZZTIME  ?= 20s
BENCH     ?= .
VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
TESTFLAGS ?=

ifeq ($(strip $(PG)),)
MAJORS := 17
else
MAJORS := $(or $(shell .tools/majors $(PG)),$(error PG must be versions, such as PG="15 17" or PG=14..18))
export TIDEMARK_TEST_PG := $(MAJORS)
endif

# Packages whose code runs on several goroutines at once: their tests run under the race detector.
CONCURRENT := /internal/(capture|control|daemon|journal|progress|rpo|sink|snapshot)(/|$$)
PACKAGES    = $(shell go list ./... | grep -v '^tidemark/integration')

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## what the tests run against: PostgreSQL (PG=14..18 for more versions), S3 and NATS servers
	@.tools/setup server
	@.tools/setup compiler
	@.tools/setup major $(MAJORS)
	@.tools/setup s3
	@.tools/setup nats

.PHONY: build
build: ## bin/tidemark, one static program
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/tidemark ./cmd/tidemark

.PHONY: test
test: lint unit integration ## everything that must pass before a change lands

.PHONY: unit
unit: setup ## tests of the packages, under the race detector where code is concurrent
	go test $(TESTFLAGS) $$(printf '%s\n' $(PACKAGES) | grep -vE '$(CONCURRENT)')
	go test -race $(TESTFLAGS) $$(printf '%s\n' $(PACKAGES) | grep -E '$(CONCURRENT)')

.PHONY: integration
integration: setup build ## the real program against real servers (PG=14..18: on each version)
	TIDEMARK_BIN=$(CURDIR)/bin/tidemark go test -count=1 $(TESTFLAGS) ./integration/...

SEED    ?= 0
MINUTES ?= 3

.PHONY: checker
checker: setup build
	go build -o bin/checker ./integration/checker

.PHONY: check
check: checker $(if $(findstring -planted,$(CHECKFLAGS)),planted) ## the consistency checker: random load, random faults, exact oracle (SEED=n MINUTES=3, PG=17)
	bin/checker -bin bin/tidemark -pg $(firstword $(MAJORS)) -seed $(SEED) -minutes $(MINUTES) $(CHECKFLAGS)

.PHONY: planted
planted:
	CGO_ENABLED=0 go build -trimpath -tags planted -o bin/tidemark-planted ./cmd/tidemark

.PHONY: soak
soak: MINUTES = 60
soak: check ## the checker for long, each run with a seed of its own (MINUTES=60)

.PHONY: proof
proof: setup ## the checker catches every planted bug (BUG=regexp chooses)
	go test -count=1 -tags planted -timeout 90m -v -run 'TestPlanted/$(BUG)' ./integration/checker

.PHONY: race
race: setup ## tests of all packages under the race detector
	go test -race $(TESTFLAGS) $(PACKAGES)

.PHONY: lint
lint: ## golangci-lint, and the rules of internal/lint
	@dir=$$(.tools/tool golangci-lint) && "$$dir/golangci-lint" run ./...
	go test ./internal/lint

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (20s)
	@.tools/fuzz $(FUZZTIME)

.PHONY: bench
bench: setup ## benchmarks (BENCH=regexp chooses)
	go test -run '^$$' -bench '$(BENCH)' -benchmem $(PACKAGES)

.PHONY: demo
demo: build ## the whole path on this machine: load, lose a table, restore, compare
	@.tools/setup server
	bin/tidemark demo

.PHONY: generate
generate: ## generated code anew: protobuf and Connect, beside each .proto file
	@dir=$$(.tools/tool buf protoc-gen-go protoc-gen-connect-go) && cd proto && PATH="$$dir:$$PATH" buf lint && PATH="$$dir:$$PATH" buf generate

.PHONY: vuln
vuln: ## known vulnerabilities in what we use (asks vuln.go.dev)
	@dir=$$(.tools/tool govulncheck) && "$$dir/govulncheck" ./...

.PHONY: clean
clean: ## remove what was built here; the cache of servers and tools stays
	rm -rf bin
