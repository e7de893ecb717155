# mailtap: `make` lists what there is to do.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help demo build test test-long damage soak bench bench-proxy samples fuzz packages-build packages-test clean

# The oldest toolchain that is promised must do; nothing here may fetch another.
export CARGO_LLVM_COV_SETUP := no
export CARGO_TERM_PROGRESS_WHEN := never

tools   := $(CURDIR)/target/tools
export PATH := $(tools)/bin:$(HOME)/.cargo/bin:$(PATH)
mailtap := target/release/mailtap
seconds ?= 60
minutes ?= 60
# Inputs of each fuzz target that `make test` tries.
inputs  := 3000
# Cases of each property test that `make test-long` tries.
cases   := 4096
step     = printf '\n== %s\n'

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS=$$'\t' read -r name what; do printf 'make %-15s %s\n' "$$name" "$$what"; done

demo: build ## build mailtap and run it over the captures in samples/
	@$(step) 'the summary of all samples'
	cd samples
	rm -f ../target/demo.jsonl
	../$(mailtap) analyze --quiet --log ../target/demo.jsonl *.pcap* > /dev/null
	../$(mailtap) analyze *.pcap*
	$(step) 'the first lines of the session log (target/demo.jsonl)'
	sed -n 1,12p ../target/demo.jsonl

build: packages-build
	@$(step) 'cargo build --release'
	cargo build --release --locked

packages-build:
	@missing=
	for package in libpcap-dev:/usr/include/pcap.h gcc:$$(command -v cc || echo none); do
	  [ -e "$${package#*:}" ] || missing+=" $${package%%:*}"
	done
	if ! command -v cargo > /dev/null; then
	  echo 'mailtap needs cargo of Rust 1.95 or newer on the PATH' >&2
	  exit 1
	fi
	[ -n "$$missing" ] || exit 0
	$(step) "installing$$missing"
	install="apt-get -q -o DPkg::Lock::Timeout=300 install -y --no-install-recommends$$missing"
	if [ "$$(id -u)" = 0 ]; then
	  apt-get -q -o DPkg::Lock::Timeout=300 update
	  DEBIAN_FRONTEND=noninteractive $$install
	elif sudo -n true 2> /dev/null; then
	  sudo apt-get -q -o DPkg::Lock::Timeout=300 update
	  sudo DEBIAN_FRONTEND=noninteractive $$install
	else
	  echo "These packages are missing:$$missing. As root: apt-get install$$missing" >&2
	  exit 1
	fi

packages-test: packages-build
	@$(step) 'servers, clients and capture tools for the tests'
	if [ "$$(id -u)" = 0 ]; then samples/servers install
	elif sudo -n true 2> /dev/null; then sudo samples/servers install
	else samples/servers missing || echo 'Not installed (that takes root): tests with real servers will fail.'; fi
	dashboards/check --install || echo 'Not installed: dashboards are not held against the schema of Grafana.'

test: packages-test ## everything CI runs: format, lints, docs, dependencies, fuzz targets, all tests
	@$(step) 'rustfmt'
	cargo fmt --check
	$(step) 'clippy'
	cargo clippy --locked --all-targets -- -D warnings
	$(step) 'rustdoc'
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items
	$(step) 'cargo deny: bans, licences, sources'
	command -v cargo-deny > /dev/null || cargo install --quiet --locked --root $(tools) cargo-deny
	cargo deny --locked check bans licenses sources
	$(step) 'fuzz targets, a few seconds each, with the same inputs each time'
	fuzz/run inputs=$(inputs)
	$(step) 'tests, those beside real servers included'
	export MAILTAP_REQUIRE_SERVERS=1
	# Property tests try the same cases each time; `make test-long` tries others.
	export PROPTEST_RNG_SEED=$(inputs)
	cargo test --locked --doc
	if command -v cargo-nextest > /dev/null; then
	  cargo nextest run --locked --lib --bins --tests
	else
	  echo 'cargo-nextest is not installed: running cargo test'
	  cargo test --locked --lib --bins --tests
	fi

test-long: packages-build ## longer proofs: many more cases of the property tests, then what damage and fuzz do
	@$(step) 'property tests, other cases each time'
	PROPTEST_CASES=$(cases) cargo test --locked --lib --test engine
	$(MAKE) --no-print-directory damage
	$(MAKE) --no-print-directory fuzz

damage: packages-build ## every dialogue's capture with each packet lost, cut, swapped or late; only=part-of-a-title
	@$(step) 'damaged captures: another order changes no record, loss invents nothing'
	export DAMAGE=all
	$(if $(only),export DIALOGUE='$(only)')
	cargo test --locked --test engine -- another_order loss_invents

soak: packages-test build ## the proxy before real servers for an hour, while things go wrong around it (root); minutes=N for another time
	@samples/servers with tests/soak $(mailtap) target/soak $(minutes)

bench-proxy: ## mailtap proxy beside HAProxy and nginx stream, with a load of its own; flags="--rounds 1 --scenario smtp-1k"
	@benches/proxy $(flags)

bench: ## criterion benches, on this machine
	@cargo bench --locked

samples: build ## record all samples again (root, Debian 12) and what mailtap says of them
	@samples/record capture
	samples/record secrets
	samples/record leaks
	samples/record expect

fuzz: packages-build ## each fuzz target for a minute; seconds=N for another time
	@fuzz/run seconds=$(seconds)

clean: ## remove what was built
	@cargo clean
	cargo clean --manifest-path fuzz/Cargo.toml
