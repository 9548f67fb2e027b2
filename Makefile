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

# nomsgpack leaves a codec out of gin that nothing here speaks, 6 MB of binary; grpcnotrace leaves a debugging
# page out of gRPC, 0.6 MB in each plugin's memory.
BUILDFLAGS := -tags nomsgpack,grpcnotrace -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)'
FUZZTIME   ?= 10s
BENCH      ?= .
BENCHFLAGS ?=
KILLS      ?= 25
PROMOTIONS ?= 3

# What CI runs, in this order: the README's two commands first.
VERIFY := demo test lint lint/arrows vet test/race examples chaos generate/check tidy/check image/check helm/lint rules/check

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
	@go test -timeout 30m ./...

.PHONY: test/race
test/race: ## Run all tests with the race detector, a package at a time; needs a C compiler
	@CGO_ENABLED=1 go test -race -p 1 -timeout 30m ./...

.PHONY: test/timing
test/timing: ## Look for a difference in time between known and unknown addresses (T01)
	@PASSMEND_TIMING=1 go test -count=1 -v -run '^TestT01' ./core/httpapi

.PHONY: examples
examples: build ## Put the examples of plugins, and what 'plugin new' writes, through the conformance kit; needs protoc and Debian's python3-grpcio, -protobuf and -cryptography
	@$(MAKE) -C examples/plugin-python clean test PASSMEND=$(CURDIR)/bin/passmend
	@cd examples/plugin-go-maildir && go test ./... && go build -o bin/passmend-maildir . && \
		$(CURDIR)/bin/passmend plugin test bin/passmend-maildir --settings conformance.json --without-cage
	@go test ./cmd/passmend -count=1 -run VendorPath -vendor

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

# Two sites at a time: their clocks, leases and deadlines are real, and no machine is to miss them by being full.
.PHONY: chaos
chaos: ## Kill everything KILLS (25) times, lose PostgreSQL's primary PROMOTIONS (3) times, and compare what was accepted with what arrived; needs PostgreSQL's binaries
	@go test ./cmd/passmend/chaos -count=1 -v -timeout 90m -parallel 2 -run Chaos -chaos.kills=$(KILLS) -chaos.promotions=$(PROMOTIONS)

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

# --- Image and chart

# Architectures of the image, as linux/amd64 linux/arm64.
PLATFORMS ?= linux/$(shell go env GOARCH)
# The time of everything in the image, so that a commit gives one image.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

.PHONY: image
image: ## Build the image for PLATFORMS into bin/image, an OCI layout with SBOM and provenance; needs only Go
	@for platform in $(PLATFORMS); do \
		directory=bin/.image/linux-$${platform#linux/}; mkdir -p $$directory; \
		GOOS=linux GOARCH=$${platform#linux/} go build $(BUILDFLAGS) -o $$directory/ $(COMMANDS); \
	done
	@cd deploy/image && go run . -binaries ../../bin/.image -layout ../../bin/image -license ../../LICENSE \
		-version $(VERSION) -revision $(COMMIT) -epoch $(SOURCE_DATE_EPOCH) $(PLATFORMS)

.PHONY: image/check
image/check: ## Test what builds the image
	@cd deploy/image && go vet ./... && go test -count=1 ./...

# Never from the cache: go test does not see changes of files outside the module.
.PHONY: helm/lint
helm/lint: ## Render the chart for many values and hold it against schemas, the restricted profile and what was reviewed
	@cd deploy/helm/test && go vet ./... && go test -count=1 -timeout 30m ./...

# Tests of alerts stay where they are.
.PHONY: helm/sync
helm/sync: ## Copy alerts and dashboards into the chart
	@rm -rf deploy/helm/passmend/files && mkdir -p deploy/helm/passmend/files/alerts deploy/helm/passmend/files/dashboards
	@for file in observability/alerts/*.yaml; do case $$file in *_test.yaml | *'*'*) ;; *) cp "$$file" deploy/helm/passmend/files/alerts/ ;; esac; done
	@for file in observability/dashboards/*.json; do case $$file in *'*'*) ;; *) cp "$$file" deploy/helm/passmend/files/dashboards/ ;; esac; done

# Never from the cache: go test does not see changes of promtool.
.PHONY: rules/check
rules/check: ## Prove alerts, dashboards and runbooks on a service that a real Prometheus scrapes; needs Debian's prometheus
	@go test -count=1 -timeout 30m ./observability/oncall -prometheus

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
