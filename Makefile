# Kaa's commands. `make run` and `make test` are all a new machine needs, given
# Go and Python 3. Plain `make` lists them.

GO     ?= go
PYTHON ?= python3

# What the binaries say of themselves; without a tag, the version is Kaa's default.
BUILD_VERSION ?= $(shell git describe --tags --match 'v*' --dirty 2>/dev/null)
BUILD_COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
BUILD_DATE    ?= $(shell git log -1 --format=%cI 2>/dev/null)
APP     := github.com/kaa-run/kaa/internal/app
STAMP    = -s -w -X $(APP).version=$(BUILD_VERSION) -X $(APP).commit=$(BUILD_COMMIT) -X $(APP).date=$(BUILD_DATE)
INLINED = -dwarf=false -c=1
CALLED  = $(INLINED) -l
GO_BUILD = CGO_ENABLED=0 GOGC=off GOMEMLIMIT=1GiB $(GO) build -trimpath -tags nomsgpack -gcflags='all=$(CALLED)' \
	$(foreach package,std github.com/klauspost/... $(APP:/app=)/...,-gcflags='$(package)=$(INLINED)') \
	$(foreach package,$(addprefix $(APP:/app=)/,$(PLAIN)) $(COLD),-gcflags='$(package)=$(CALLED)') \
	-gcflags='crypto/internal/...=$(INLINED)' -gcflags='github.com/redis/...=-dwarf=false -l' -ldflags '$(STAMP) -funcalign=16'

# Packages in which no call is inlined, of Kaa and of the standard library: they word requests and answers, wait for Redis, or run seldom.
PLAIN = access api app/... bench blob cli devredis dialect/... door luascript oidc packages queue runner sandboxfs sandboxport schedule service store telemetry webhook
COLD  = archive/... crypto/... database/... debug/... encoding/asn1 encoding/gob encoding/xml expvar flag go/... html/... image/... math/big mime/... net/mail net/netip \
	os/... regexp/... text/... vendor/...

.PHONY: help run build images openapi quick test test-long lint lint-python prose fmt bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: bin/kaa ## run everything in one process on 127.0.0.1:8080
	@bin/kaa dev

# On a fresh machine this is what one waits for. gin's MessagePack is not compiled, nor is
# debug information made that a stripped binary has no place for. It inlines calls in most of the
# standard library, in what compresses, and in the parts of Kaa that execute, but not in other
# libraries, in PLAIN and in COLD: that is a sixth of the time and of the binary, and no call shows
# it. But for go-redis, on which much waits, a compiler is a single thread, since go runs as many of
# them as there are processors. It collects garbage from 1 GiB on; go-redis takes as much in any case.
# Functions begin at multiples of 16 bytes and not of 32, which is 1 % of the binary.
.PHONY: bin/kaa
bin/kaa:
	@mkdir -p bin
	$(GO_BUILD) -o bin/ ./cmd/kaa

build: ## bin/kaa, bin/api, bin/runner
	@mkdir -p bin
	$(GO_BUILD) -o bin/ ./cmd/kaa ./cmd/api ./cmd/runner

images: ## kaa-api and kaa-runner, which say what they were built from
	for target in api runner; do \
		docker build -f deploy/Dockerfile --target $$target -t kaa-$$target -t kaa-$$target:$(or $(BUILD_VERSION),dev) \
			--build-arg BUILD_VERSION=$(BUILD_VERSION) --build-arg BUILD_COMMIT=$(BUILD_COMMIT) --build-arg BUILD_DATE=$(BUILD_DATE) . || exit; \
	done

openapi: ## write docs/openapi.json and the client of it anew, after a change of the API
	KAA_OPENAPI=write $(GO) test -count 1 -run '^TestOpenAPIFile$$' ./internal/api
	$(GO) run ./scripts/genclient

quick: ## lint, prose and unit tests: for every save
	@GO="$(GO)" PYTHON="$(PYTHON)" scripts/check quick

test: ## everything CI checks
	@GO="$(GO)" PYTHON="$(PYTHON)" scripts/check

test-long: ## what takes hours: fuzzing, repetitions, all with the race detector
	@GO="$(GO)" scripts/check-long

lint: bin/golangci-lint lint-python ## the linters alone
	bin/golangci-lint run

prose: ## the words of documentation and comments
	@GO="$(GO)" scripts/prose

# Python's own cache is of no use in folders that are embedded.
lint-python: ## the linter and the type checker of the Python scripts and of clients/python
	@scripts/setup-libs --lint
	cd internal/python && ../../.cache/lint/bin/ruff check --no-cache . && \
		../../.cache/lint/bin/mypy --cache-dir ../../.cache/mypy --no-error-summary .
	cd clients/python && ../../.cache/lint/bin/ruff check --no-cache . && \
		../../.cache/lint/bin/mypy --cache-dir ../../.cache/mypy --no-error-summary

fmt: bin/golangci-lint ## format the Go code
	bin/golangci-lint fmt

bench: ## latency and throughput, against spawning bare interpreters
	$(GO) test -run '^$$' -bench . -benchtime 2s ./...

# These are pinned in a module of its own, so that what they need is not what
# Kaa needs.
bin/golangci-lint: tools/go.mod tools/go.sum
	@mkdir -p bin
	$(GO) build -C tools -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bin/govulncheck: tools/go.mod tools/go.sum
	@mkdir -p bin
	$(GO) build -C tools -o ../bin/govulncheck golang.org/x/vuln/cmd/govulncheck

# It parses Go, Python and Lua for their comments, with a C library: it needs a C compiler.
bin/vale: tools/vale/go.mod tools/vale/go.sum
	@mkdir -p bin
	$(GO) build -C tools/vale -o ../../bin/vale github.com/vale-cli/vale/v3/cmd/vale

bin/vale-texts: scripts/texts/main.go
	@mkdir -p bin
	$(GO) build -o bin/vale-texts ./scripts/texts

clean: ## remove what build and the tests made
	rm -rf bin .cache
