# Every target sets up what it needs: a fresh machine with Python 3.11 is enough.
#   make test PYTHON=/path/to/python3.11
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := test
.PHONY: venv test test-all lint docs demo bench bench-whole gpu-check gpu-session cifar-gpu scoreboard scoreboard-vision figures study cifar clean

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "lzero needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; run make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two processes, a file of tests each at a time; their tests have one thread. WORKERS=8 where there are more cores.
WORKERS ?= 2
test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# The site: build/docs/index.html opens from the disk. Warnings are errors; the tests build it too, and follow its links.
docs: $(STAMP)
	$(BIN)/sphinx-build -W --keep-going -q -j auto -b html -c docs . build/docs

# What lzero.integrations works with, for the slow tests; the others run without it.
$(VENV)/.stacks: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[stacks]"
	touch $@

test-all: lint $(VENV)/.stacks
	HYPOTHESIS_PROFILE=default $(BIN)/python -m pytest -m ""

demo: $(STAMP)
	$(BIN)/lzero compare --data digits --target 0.1 --out runs/demo --resume

# What gates cost, in a quarter of an hour on a machine that does nothing else; BENCH="--only step MLP" for a part.
bench: $(STAMP)
	$(BIN)/python benchmarks/bench.py $(BENCH)

# How costs grow, purged inference (eager, compiled, two threads), whole trainings, and budgets of latency: an hour or
# two; DATA is a folder with MNIST and CIFAR-10. They go on where they were stopped.
DATA ?= data
bench-whole: $(STAMP)
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/widths.py
	$(BIN)/python benchmarks/widths.py --only LeNet-5 ResNet-18 ViT GPT --threads 2
	$(BIN)/python benchmarks/widths.py --only LeNet-5 ResNet-18 ViT GPT --compile --round-to 16
	$(BIN)/python benchmarks/whole.py LeNet-5 MLP GPT ResNet-20 --data $(DATA) --below 0.001
	$(BIN)/python benchmarks/latency.py --data $(DATA)

# Every type of model of the installed transformers, in an hour or two; it goes on where it was stopped.
scoreboard: $(STAMP)
	$(BIN)/python scoreboard/run.py
	$(BIN)/python scoreboard/page.py

# The same of torchvision and timm, which need a torch of their own (6 GB); hours, and it goes on where it was stopped.
VISION := $(VENV)-vision
VERSIONS := torch==2.14.1 torchvision==0.29.1 timm==1.0.31
scoreboard-vision: $(STAMP)
	test -d $(VISION) || $(PYTHON) -m venv $(VISION)
	$(VISION)/bin/python -m pip install --quiet --disable-pip-version-check $(VERSIONS) -e .
	$(VISION)/bin/python scoreboard/run.py --of torchvision --limit 200
	$(VISION)/bin/python scoreboard/run.py --of timm --limit 200
	$(BIN)/python scoreboard/page.py

# All that needs a CUDA device, in a few minutes.
gpu-check: $(STAMP)
	$(BIN)/python benchmarks/gpu_check.py --out runs/gpu-check

# The same, and the trainings of figures/axes.py in the rest of eight minutes. DATA holds cifar10-jpeg.tar.gz.
gpu-session: $(STAMP)
	$(BIN)/python benchmarks/gpu_session.py --data-dir "$(DATA)" --out runs/gpu-session

# The study of CIFAR-10 in so many minutes of a CUDA device; DATA as above.
MINUTES ?= 8
cifar-gpu: $(STAMP)
	$(BIN)/python benchmarks/gpu_cifar.py --data-dir "$(DATA)" --minutes "$(MINUTES)" --out runs/gpu-cifar

# One script a figure, in figures/, named after the figure it makes. DATA is a folder with MNIST's IDX files.
DATA ?= data
FIGURES := compare digits mnist_control mnist_cost robustness gate_rate settling defaults gradients \
	deterministic front front_batchnorm plane poster reading start story lessons measured readme
figures: export LZERO_DATA = $(DATA)
figures: $(STAMP) study
	set -e; for script in $(FIGURES); do echo "$$script"; $(BIN)/python "figures/$$script.py"; done

# Hours of trainings: stop it at any time, and run it again to continue. FASHION is the folder that Debian's
# dataset-fashion-mnist installs.
FASHION ?= /usr/share/datasets/fashion-mnist
study: $(STAMP)
	$(BIN)/lzero study mnist --data-dir "$(DATA)" --out figures/study --workers 2
	$(BIN)/lzero study mnist --data fashion-mnist --data-dir "$(FASHION)" --out figures/study-fashion --workers 2 \
		--budgets "mlp 26.6 % params" "lenet5 7.7 % params" --methods "hard concrete, constrained" "magnitude, gradual" \
		"hard concrete, constrained, each example" "straight-through, constrained" "dense, full size"

# The same on CIFAR-10: days on a CPU, which it says beforehand; HOURS at a time, and it goes on where it was stopped.
HOURS ?= 8
cifar: $(STAMP)
	$(BIN)/lzero study cifar --data-dir "$(DATA)" --out figures/cifar --workers 2 --hours "$(HOURS)" --trial 120

clean:
	rm -rf $(VENV) $(VISION) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
