# `make` alone lists what there is. Needs GNU make, Go and a POSIX shell; what needs more says so.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
.SHELLFLAGS := -euc

# Static binaries, and one build cache for every target; only the race detector needs C.
export CGO_ENABLED := 0

# The version that `passmend version` prints; a package outside a git clone sets VERSION and COMMIT itself.
VERSION ?= $(shell git describe --tags --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

COMMANDS := $(patsubst %/main.go,./%,$(sort $(wildcard cmd/*/main.go)))
MODULES  := $(sort $(dir $(wildcard go.mod */go.mod */*/go.mod */*/*/go.mod)))

# nomsgpack leaves a codec out of gin that nothing here speaks: 6 MB of binary.
BUILDFLAGS := -tags nomsgpack -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)'
FUZZTIME   ?= 10s
BENCH      ?= .
BENCHFLAGS ?=
KILLS      ?= 25

# What CI runs, in this order: the README's two commands first.
VERIFY := demo test lint lint/arrows vet test/race generate/check tidy/check

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z\/]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- Build and run

.PHONY: build
build: ## Build the static binaries into bin/
	@mkdir -p bin
	@go build $(BUILDFLAGS) -o bin/ $(COMMANDS)

.PHONY: demo
demo: build ## Walk one reset from request to sign-in, and print each step
	@./bin/passmend demo

.PHONY: run
run: build ## Start the service for development and keep it up
	@./bin/passmend dev

.PHONY: clean
clean: ## Remove what was built
	@rm -rf bin

# --- Test

.PHONY: test
test: ## Run all tests; needs only Go
	@go test ./...

.PHONY: test/race
test/race: ## Run all tests with the race detector; needs a C compiler
	@CGO_ENABLED=1 go test -race ./...

.PHONY: test/timing
test/timing: ## Look for a difference in time between known and unknown addresses (T01)
	@PASSMEND_TIMING=1 go test -count=1 -v -run '^TestT01' ./core/httpapi

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME (10s) each
	@grep -rEo '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' $(sort $(wildcard */)) | sort | \
	while IFS=: read -r file declaration; do \
		name=$${declaration#func }; \
		echo "fuzz $${file%/*} $$name"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "./$${file%/*}" </dev/null; \
	done

.PHONY: bench
bench: build ## Measure the service on this machine, beside the machine's own limits; BENCHFLAGS as of `passmend bench`
	@./bin/passmend bench $(BENCHFLAGS)

.PHONY: bench/go
bench/go: ## Run the Go benchmarks that match BENCH (all)
	@go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: chaos
chaos: ## Kill everything KILLS (25) times and compare what was accepted with what arrived; needs PostgreSQL's binaries
	@go test ./cmd/passmend/chaos -count=1 -v -timeout 60m -run Chaos -chaos.kills=$(KILLS)

# --- Check

.PHONY: lint
lint: bin/golangci-lint ## Run the linters
	@bin/golangci-lint run ./...

# Never from the cache: go test does not see changes of files outside the tools module.
.PHONY: lint/arrows
lint/arrows: bin/golangci-lint ## Prove that every forbidden import is reported
	@cd tools && go test -count=1 ./...

.PHONY: lint/fix
lint/fix: bin/golangci-lint ## Format, and mend what the linters can mend
	@bin/golangci-lint fmt
	@bin/golangci-lint run --fix ./...

.PHONY: vet
vet: ## Run go vet
	@go vet ./...

.PHONY: vuln
vuln: bin/govulncheck ## Look for known vulnerabilities that are reached; needs the network
	@bin/govulncheck ./...

.PHONY: verify
verify: ## Run everything that CI runs
	@passed=0; failed=0; names=; begin=$$(date +%s); \
	for step in $(VERIFY); do \
		echo "== make $$step"; start=$$(date +%s); \
		if $(MAKE) $$step; then verdict=ok; passed=$$((passed + 1)); \
		else verdict=FAILED; failed=$$((failed + 1)); names="$$names $$step"; fi; \
		echo "== make $$step: $$verdict, $$(($$(date +%s) - start)) s"; \
	done; \
	[ $$failed -eq 0 ] || echo "== failed:$$names"; \
	echo "== all: $$(($$(date +%s) - begin)) s"; \
	echo "steps: $$passed passed, $$failed failed"; \
	[ $$failed -eq 0 ]

# --- Generated code and modules

PROTO := plugins/sdk/proto/provider/v1
PB    := plugins/sdk/serve/internal/providerv1
protoc = protoc --plugin=bin/protoc-gen-go --plugin=bin/protoc-gen-go-grpc --proto_path=$(PROTO) \
	--go_out=$(1) --go_opt=paths=source_relative --go-grpc_out=$(1) --go-grpc_opt=paths=source_relative provider.proto

.PHONY: generate
generate: bin/protoc-gen-go bin/protoc-gen-go-grpc ## Regenerate committed code; needs protoc
	@$(call protoc,$(PB))

# protoc's own version is named in a comment of what it writes; another one that writes the same code is no drift.
# The dot keeps the copy out of ./... .
.PHONY: generate/check
generate/check: bin/protoc-gen-go bin/protoc-gen-go-grpc ## Check that committed code is what generate writes; needs protoc
	@rm -rf bin/.generated && mkdir -p bin/.generated
	@$(call protoc,bin/.generated)
	@diff -ru -I '^// .*protoc  *v' $(PB) bin/.generated || { echo 'run: make generate' >&2; exit 1; }

.PHONY: tidy/check
tidy/check: ## Check that every go.mod is tidy and every module is as recorded
	@for module in $(MODULES); do ( cd $$module && go mod tidy -diff && go mod verify ); done

# --- Tools: versions are pinned in tools/go.mod and nowhere else

bin/golangci-lint:      TOOL := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
bin/govulncheck:        TOOL := golang.org/x/vuln/cmd/govulncheck
bin/protoc-gen-go:      TOOL := google.golang.org/protobuf/cmd/protoc-gen-go
bin/protoc-gen-go-grpc: TOOL := google.golang.org/grpc/cmd/protoc-gen-go-grpc

# The first build of golangci-lint takes about two minutes.
bin/golangci-lint bin/govulncheck bin/protoc-gen-go bin/protoc-gen-go-grpc: tools/go.mod tools/go.sum
	@mkdir -p bin
	@cd tools && go build -trimpath -buildvcs=false -o ../$@ $(TOOL)
	@touch $@
