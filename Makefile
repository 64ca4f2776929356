# Zerohour: `make run` plays the demo day, `make test` runs the tests; both build .venv first if need be.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info[:2] < (3,14))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
PY := $(VENV)/bin/python
CLIENTS := .venv-clients
IB_ASYNC := .venv-ib-async
RAY := .venv-ray
PEERS := .venv-peers
LAB := .venv-notebooks
TRADING_TESTS := tests/gateways/ib tests/gateways/test_broker_contract.py tests/scenarios/test_session_end_to_end.py \
  tests/scenarios/test_live_day.py tests/commands/test_doctor_gateway.py tests/commands/test_hard_stop.py \
  tests/commands/test_clean_stop.py tests/commands/test_clean_stop_live.py tests/commands/test_flat_by_the_broker.py
# In a container there is often no other user; the lab listens on this machine alone, with a token.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
# One line a library as it comes, so that a slow network is seen; pip's own errors pass.
PIP := -m pip install --disable-pip-version-check --progress-bar off --require-hashes
PROGRESS := awk '/^Collecting /{n++; printf "  %d: %s\n", n, $$2; fflush()} /^Installing collected/{print "  installing..."; fflush()} /^ERROR|^error/{print; fflush()}'

.PHONY: run test test-ib-async ray test-ray quick sabotage check bench bench-peers notebooks screenshots lock clean
run: $(VENV)/.ready            ## the demo day, from market to money
	$(PY) main.py run --profile demo

test: $(VENV)/.ready $(CLIENTS)/.ready  ## all tests, foreign clients of the simulated gateway included
	@echo "All tests: about 12 minutes on two cores, longer on a busy machine; the first dots come after a minute or two."
	env -u PYTHONDONTWRITEBYTECODE $(PY) -m pytest -n 4 --dist loadfile --no-loadscope-reorder

test-ib-async: $(IB_ASYNC)/.ready  ## the tests of trading, on ib_async in place of ib_insync
	ZEROHOUR_IB_LIBRARY=ib_async $(IB_ASYNC)/bin/python -m pytest $(TRADING_TESTS)

ray: $(RAY)/.ready             ## the program with Ray, for `sweep --address`

test-ray: $(RAY)/.ready        ## the tests of sweeps on a cluster, on a local Ray
	$(RAY)/bin/python -m pytest tests/simulation/backtest/test_cluster.py

quick: $(VENV)/.ready          ## the pure rooms and the rules of the code itself, in seconds
	$(PY) -m pytest tests/domain tests/actors tests/house -m "not slow"

sabotage: $(VENV)/.ready       ## removes each guard in turn and sees its named test fail, in minutes
	$(PY) -m pytest tests/mutants -m sabotage

check: $(VENV)/.ready          ## what CI checks besides the tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy .

bench: $(VENV)/.ready          ## the figures of benchmarks/RESULTS.md
	$(PY) -m benchmarks

bench-peers: $(VENV)/.ready $(PEERS)/.ready  ## the common day through other engines and ours, in turns (NEWEST=a Python with a newer one)
	$(PY) -m benchmarks.peers --python $(PEERS)/bin/python $(if $(NEWEST),--newest $(NEWEST)) $(PEERS_ARGS)

screenshots: $(VENV)/.ready    ## pictures of the dashboard on a demo day, in docs/pictures (needs chromium)
	$(PY) -m commands.screenshots

notebooks: $(LAB)/.ready       ## open the notebooks on the last demo day, also while it runs
	JUPYTER_PATH=$(abspath $(LAB))/share/jupyter $(LAB)/bin/jupyter lab --notebook-dir=notebooks $(AS_ROOT) $(LAB_ARGS)

lock:                          ## pin the libraries afresh (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group dev pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements-clients.in -o requirements-clients.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --excludes <(echo ib_insync) -c <(grep -o '^[^ ]*==[^\\]*' requirements.lock | grep -v '^tzdata=') \
	  pyproject.toml requirements-ib-async.in -o requirements-ib-async.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements-notebooks.in -o requirements-notebooks.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  -c <(grep -o '^[^ ]*==[^\]*' requirements.lock) requirements-ray.in -o requirements-ray.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements-peers.in -o requirements-peers.lock

clean:
	rm -rf $(VENV) $(CLIENTS) $(IB_ASYNC) $(LAB) $(RAY) $(PEERS) .pytest_cache .mypy_cache .ruff_cache

$(VENV)/.ready: requirements.lock
	@test -n "$(PYTHON)" || { echo "Zerohour needs Python 3.11, 3.12 or 3.13 on the PATH (none was found)."; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON): $$(grep -c '==' requirements.lock) libraries, about a minute, 1 GB."
	@$(PYTHON) -m venv $(VENV)
	@$(PY) $(PIP) -r requirements.lock | $(PROGRESS)
	@touch $@

$(CLIENTS)/.ready: requirements-clients.lock $(VENV)/.ready
	@echo "Setting up $(CLIENTS): the other clients that the simulated gateway is tested with."
	@$(PY) -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python $(PIP) -r requirements-clients.lock | $(PROGRESS)
	@touch $@

# Not the program's own environment with one library more: the event packages of the two overwrite each other.
$(IB_ASYNC)/.ready: requirements-ib-async.lock
	@test -n "$(PYTHON)" || { echo "Zerohour needs Python 3.11, 3.12 or 3.13 on the PATH (none was found)."; exit 1; }
	@echo "Setting up $(IB_ASYNC): the program on ib_async."
	@$(PYTHON) -m venv $(IB_ASYNC)
	@$(IB_ASYNC)/bin/python $(PIP) -r requirements-ib-async.lock | $(PROGRESS)
	@touch $@

# The program's own libraries in their versions, and Ray; the environment that trades has no cluster in it.
$(RAY)/.ready: requirements.lock requirements-ray.lock
	@test -n "$(PYTHON)" || { echo "Zerohour needs Python 3.11, 3.12 or 3.13 on the PATH (none was found)."; exit 1; }
	@echo "Setting up $(RAY): the program with Ray."
	@$(PYTHON) -m venv $(RAY)
	@$(RAY)/bin/python $(PIP) -r requirements.lock -r requirements-ray.lock | $(PROGRESS)
	@touch $@

$(PEERS)/.ready: requirements-peers.lock
	@test -n "$(PYTHON)" || { echo "Zerohour needs Python 3.11, 3.12 or 3.13 on the PATH (none was found)."; exit 1; }
	@echo "Setting up $(PEERS): NautilusTrader and hftbacktest, about 1.2 GB."
	@$(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python $(PIP) -r requirements-peers.lock | $(PROGRESS)
	@touch $@

# JupyterLab has an environment of its own; the notebooks run in that of the program, which its kernel names.
$(LAB)/.ready: requirements-notebooks.lock $(VENV)/.ready
	@echo "Setting up $(LAB): JupyterLab, to open the notebooks with."
	@$(PY) -m venv $(LAB)
	@$(LAB)/bin/python $(PIP) -r requirements-notebooks.lock | $(PROGRESS)
	@$(PY) -m ipykernel install --prefix $(LAB) --name python3 --display-name "Python 3 (Zerohour)" >/dev/null
	@touch $@
