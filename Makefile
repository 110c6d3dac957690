# Everything below needs Go alone. What a machine lacks for a step (a C compiler,
# a kernel that runs 32-bit programs, Node, Chromium) is left out in one visible
# line, or is an error with REQUIRE_ALL=1.

GO           ?= go
ADDR         ?= 127.0.0.1:8080
DEMOFLAGS    ?=
TESTFLAGS    ?=
FUZZTIME     ?= 100000x
MODEL_FUZZ   ?= 1000x
MODEL_CHECKS ?= 2000
MODEL_STEPS  ?= 200
BENCH        ?= .
BENCHFLAGS   ?=
BUDGET       ?= 14m
HTTPFLAGS    ?=
SESSIONS     ?= 1M
RESULTS      ?= results/full.jsonl
NODE         ?= node
BENCHTIME    ?= 1s
COUNT        ?= 1
HISTORIES    ?= 1000
SOAKTIME     ?= 10m
SOAKFLAGS    ?=
REQUIRE_ALL  ?= 0
STATICCHECK  ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2

SHELL := /bin/sh
export REQUIRE_ALL

# The Go version of go.mod, and the nested modules: each directory below this one
# with a go.mod of its own.
NEEDED := $(shell awk '$$1 == "go" { print $$2 }' go.mod)
# The tests of E2E have a step of their own.
E2E    := lapsehttp/e2e
NESTED := $(patsubst ./%/go.mod,%,$(shell find . -mindepth 2 -name go.mod -not -path '*/testdata/*' -not -path '*/node_modules/*' | sort))

step = @printf '\n== %s: %s\n' '$@' '$(1)'
careful = set -eu; left_out() { \
	printf 'LEFT OUT: %s\n' "$$1"; \
	test "$$REQUIRE_ALL" != 1 || { echo 'REQUIRE_ALL=1: nothing may be left out' >&2; exit 1; }; }

.PHONY: help demo embed test build vet fmt lint tidy readme unit race nested client e2e model fuzz test32 cover bench bench-full bench-http plots bench-docs bench-root lincheck soak clean check-go
.NOTPARALLEL:
.DEFAULT_GOAL := help

help: ## show this list
	@echo 'lapse: make TARGET [VARIABLE=value ...]'
	@echo
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: check-go ## run the demo site; ADDR=127.0.0.1:8080, DEMOFLAGS='-idle 10s -cap 1m'
	@$(GO) build -o bin/demo ./examples/demo
	@exec bin/demo -addr $(ADDR) $(DEMOFLAGS)

embed: check-go ## run the small site with the engine embedded by hand; ADDR, DEMOFLAGS
	@$(GO) build -o bin/embed ./examples/embed
	@exec bin/embed -addr $(ADDR) $(DEMOFLAGS)

test: check-go build vet fmt lint tidy readme unit race nested client e2e model fuzz test32 ## everything: all the targets from build to test32
	@printf '\nAll is well.\n'

build: check-go ## compile all packages
	$(call step,all packages)
	$(GO) build ./...

vet: check-go ## go vet
	$(call step,go vet)
	$(GO) vet ./...

fmt: check-go ## fail if gofmt would change a file
	$(call step,gofmt)
	@bad=$$("$$($(GO) env GOROOT)/bin/gofmt" -l -s .); test -z "$$bad" || { echo "gofmt -s would change:"; echo "$$bad"; exit 1; }

lint: check-go ## staticcheck, in the version pinned here
	$(call step,$(STATICCHECK))
	@$(careful); \
	if ! $(GO) run $(STATICCHECK) -version; then left_out 'staticcheck, which could not be fetched'; exit; fi; \
	for dir in . $(NESTED); do echo "staticcheck in $$dir"; (cd "$$dir" && $(GO) run $(STATICCHECK) ./...); done

tidy: check-go ## fail if go mod tidy would change a go.mod or go.sum
	$(call step,go.mod and go.sum)
	@set -eu; for dir in . $(NESTED); do echo "go mod tidy -diff in $$dir"; (cd "$$dir" && $(GO) mod tidy -diff); done

readme: check-go ## run the program in README.md
	$(call step,the program in README.md)
	@set -eu; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	awk '/^```go$$/ { on = 1; next } on && /^```/ { exit } on' README.md >"$$dir/main.go"; \
	bad=$$("$$($(GO) env GOROOT)/bin/gofmt" -l "$$dir"); test -z "$$bad" || { echo 'it is not formatted as gofmt does'; exit 1; }; \
	$(GO) vet "$$dir/main.go"; $(GO) run "$$dir/main.go"

unit: check-go ## the tests
	$(call step,tests)
	$(GO) test $(TESTFLAGS) ./...

race: check-go ## the tests with the race detector; it needs a C compiler
	$(call step,tests with the race detector)
	@$(careful); \
	if ! CGO_ENABLED=1 $(GO) build -race -o /dev/null runtime/race runtime/cgo 2>/dev/null; then \
		left_out "the race detector, which needs a C compiler ($$($(GO) env CC)) and a platform that has it"; exit; \
	fi; \
	echo "$(GO) test -race $(TESTFLAGS) ./..."; CGO_ENABLED=1 $(GO) test -race $(TESTFLAGS) ./...

nested: check-go ## build, vet and test each nested module
	$(call step,$(or $(NESTED),there are none))
	@set -eu; for dir in $(NESTED); do echo "module $$dir"; (cd "$$dir" && $(GO) build ./... && $(GO) vet ./... && \
		{ test "$$dir" = $(E2E) || $(GO) test $(TESTFLAGS) ./...; }); done

client: check-go ## the browser client: its small files are what the sources give, and its tests in Node
	$(call step,lapsehttp/client)
	@cd lapsehttp/minify && $(GO) run . -check
	@$(careful); if ! command -v $(NODE) >/dev/null 2>&1; then left_out "the client's tests in Node ($(NODE) was not found)"; exit; fi; \
	cd lapsehttp/client && $(NODE) --test --test-reporter=dot

e2e: check-go ## the browser client in a real Chromium; CHROMIUM=its name
	$(call step,lapsehttp and its client in Chromium)
	@$(careful); for name in "$${CHROMIUM:-}" chromium chromium-browser google-chrome none; do \
		test -z "$$name" || ! command -v "$$name" >/dev/null 2>&1 || break; done; \
	if test "$$name" = none; then left_out 'the tests in a browser, which need Chromium'; exit; fi; \
	cd $(E2E) && CHROMIUM="$$name" $(GO) test -count=1 $(TESTFLAGS) .

model: check-go ## random programs against a simple model; MODEL_CHECKS=2000, MODEL_STEPS=200
	$(call step,$(MODEL_CHECKS) programs of $(MODEL_STEPS) steps)
	@$(GO) test -list '^TestModel' . | grep -q '^TestModel' || { echo 'no test named TestModel was found' >&2; exit 1; }
	$(GO) test -count=1 -run '^TestModel' -rapid.checks=$(MODEL_CHECKS) -rapid.steps=$(MODEL_STEPS) $(TESTFLAGS) .

# By number and not by time: at the end of a time Go 1.26 may report "context
# deadline exceeded" where nothing was found (go.dev/issue/75804).
fuzz: check-go ## each fuzz target for a while; FUZZTIME=100000x, MODEL_FUZZ=1000x of FuzzModel, whose inputs are programs
	$(call step,$(FUZZTIME) for each target)
	@set -eu; for pkg in $$($(GO) list ./...); do \
		targets=$$($(GO) test -run '^$$' -list '^Fuzz' "$$pkg"); \
		for target in $$(printf '%s\n' "$$targets" | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			time=$(FUZZTIME); test "$$target" != FuzzModel || time=$(MODEL_FUZZ); \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime "$$time" -fuzzminimizetime=1x "$$pkg"; \
		done; \
	done

test32: check-go ## the tests as 32-bit programs
	$(call step,tests as 32-bit programs)
	@$(careful); export CGO_ENABLED=0 GOARCH=386; \
	if test "$$($(GO) env GOHOSTOS)" = darwin; then export GOOS=linux; fi; \
	$(GO) vet ./...; \
	dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	$(GO) build -o "$$dir/embed" ./examples/embed; \
	if ! "$$dir/embed" -h >/dev/null 2>&1; then left_out 'running 32-bit programs, which this machine cannot (they compile)'; exit; fi; \
	echo "GOARCH=386 $(GO) test $(TESTFLAGS) ./..."; $(GO) test $(TESTFLAGS) ./...

cover: check-go ## how much of the code the tests run, in coverage.out and coverage.html
	$(call step,coverage)
	$(GO) test -coverpkg=./... -coverprofile=coverage.out ./...
	@$(GO) tool cover -html=coverage.out -o coverage.html
	@$(GO) tool cover -func=coverage.out | tail -n 1

# What bench measures is written afresh. Whether the bars are met does not decide
# whether it succeeds: they are only then missed if nothing else was running.
bench: check-go ## lapse and its peers: all bars and the main table in ten minutes; SESSIONS=1M, BENCHFLAGS='-only peer=lapse'
	$(call step,a quick set)
	@set -eu; cd bench; mkdir -p ../bin; for name in measure http report; do $(GO) build -o ../bin/bench-$$name ./cmd/$$name; done; \
	rm -f results/quick.jsonl; ../bin/bench-measure -set quick -table=false -sessions $(SESSIONS) $(BENCHFLAGS); \
	../bin/bench-http -o results/quick.jsonl -runs 1 -time 2s -sites bare,lapsehttp -streams 0 -sessions $(SESSIONS) >/dev/null; \
	../bin/bench-report -from results/quick.jsonl -table readme; echo; ../bin/bench-report -from results/quick.jsonl -bars || test $$? = 1

bench-full: check-go ## everything, into RESULTS, in parts of 20 minutes at most: again and again; BUDGET=14m, SESSIONS, BENCHFLAGS=-list
	$(call step,what $(RESULTS) has not got)
	@mkdir -p bin; cd bench && $(GO) build -o ../bin/bench-measure ./cmd/measure && ../bin/bench-measure -set full -sessions $(SESSIONS) -o $(RESULTS) -budget $(BUDGET) $(BENCHFLAGS)

bench-http: check-go ## web servers and event streams, into RESULTS, in six minutes; HTTPFLAGS='-runs 1 -time 1s'
	$(call step,what $(RESULTS) has not got)
	@mkdir -p bin; cd bench && $(GO) build -o ../bin/bench-http ./cmd/http && ../bin/bench-http -sessions $(SESSIONS) -o $(RESULTS) $(HTTPFLAGS)

plots: check-go ## draw docs/img/*.svg from bench/RESULTS; RESULTS=results/full.jsonl
	@cd bench && $(GO) run ./cmd/plots -from $(RESULTS) -to ../docs/img

bench-docs: plots ## and put the tables of RESULTS into README.md and docs/performance.md
	@cd bench && $(GO) run ./cmd/report -from $(RESULTS) -readme ../README.md -docs ../docs/performance.md

bench-root: check-go ## the benchmarks of lapse alone, for benchstat; BENCH=., BENCHTIME=1s, COUNT=1
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -count $(COUNT) ./...

lincheck: check-go ## is every history linearizable? with the race detector; HISTORIES=1000 of each kind
	cd lincheck && CGO_ENABLED=1 $(GO) test -race -count=1 -v -histories $(HISTORIES) .

soak: check-go ## a million sessions, everything at random; SOAKTIME=10m, SOAKFLAGS='-sessions 100000'
	@cd bench && $(GO) run ./cmd/soak -time $(SOAKTIME) $(SOAKFLAGS)

clean: ## remove what the targets made
	rm -rf bin coverage.out coverage.html

# The go command, in the version of go.mod or newer; one that fetches that version
# by itself is as good.
check-go:
	@command -v $(GO) >/dev/null 2>&1 || { \
		echo "lapse needs Go $(NEEDED) or newer, and the command '$(GO)' was not found: see https://go.dev/dl/"; exit 1; } >&2
	@have=$$({ $(GO) env GOVERSION 2>/dev/null || GOTOOLCHAIN=local $(GO) version; } | sed 's/^[^0-9]*\([0-9]*[.][0-9]*\).*/\1/'); \
	echo "$(NEEDED) $$have" | awk '{ split($$1, need, "."); split($$2, have, "."); \
		exit !(have[1] > need[1] + 0 || have[1] == need[1] + 0 && have[2] >= need[2] + 0) }' || { \
		echo "lapse needs Go $(NEEDED) or newer, and this is Go $$have: see https://go.dev/dl/"; exit 1; } >&2
