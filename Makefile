# What people and CI type. Every target sets up what it needs; a second run starts at once.
.PHONY: help setup demo test test-ort-matrix test-training test-valgrind wheel test-wheel lint bench-recall bench-loss bench-operators fixtures

BENCH_PYTHON = .runtime/bench/bin/python

help:
	@echo "make demo          build, measure the fixtures' embedder on the fixtures, print the table"
	@echo "make test          build, run all tests"
	@echo "make lint          rustfmt, clippy and docs, warnings denied"
	@echo "make test-ort-matrix  the operators in onnxruntime 1.17.3, 1.19.2 (training), 1.24.4 and 1.32.0 (VERSIONS=...)"
	@echo "make test-training the operators in ORT training, and the Python example judged by pdloss-eval"
	@echo "make test-valgrind the operators' cases under valgrind"
	@echo "make wheel         the Python package with the library inside, in out/wheels"
	@echo "make test-wheel    that wheel in an empty environment"
	@echo "make bench-loss    the loss against the plain version in Rust and numpy"
	@echo "make bench-operators  the operators against the loss in standard operators"
	@echo "make bench-recall  side by side with a Python script (DATA=list.csv MODEL=model.onnx)"
	@echo "make fixtures      draw the fixtures again and compare checksums"

setup:
	@./setup.sh

demo: setup
	cargo build --quiet --locked -p pdloss-eval
	target/debug/pdloss-eval recall --model fixtures/embedder.onnx --data fixtures/shapes

test: setup
	cargo test --locked --workspace --all-features

test-ort-matrix: setup
	plugins/tests/matrix.sh $(VERSIONS)

test-training: setup
	plugins/tests/training.sh
	plugins/tests/example.sh

test-valgrind: setup
	plugins/tests/valgrind.sh

wheel:
	python3 plugins/python/build_wheel.py out/wheels

test-wheel:
	plugins/tests/wheel.sh

lint: setup
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --all-features --document-private-items

$(BENCH_PYTHON):
	python3 -m venv .runtime/bench
	.runtime/bench/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 pillow==13.0.0 onnx==1.23.2 onnxruntime==1.32.0 faiss-cpu==1.15.1

bench-recall: setup $(BENCH_PYTHON)
	cargo build --quiet --locked -p pdloss-eval --bins --example search
	$(BENCH_PYTHON) eval/benches/recall.py $(if $(DATA),--data $(DATA)) $(if $(MODEL),--model $(MODEL))

bench-loss: $(BENCH_PYTHON)
	PDLOSS_BENCH_PYTHON=$(abspath $(BENCH_PYTHON)) cargo bench --locked -p pdloss --features testing

bench-operators:
	plugins/tests/training.sh plugins/benches/training.py

fixtures: $(BENCH_PYTHON)
	rm -rf .runtime/fixtures
	mkdir -p .runtime/fixtures
	$(BENCH_PYTHON) fixtures/make.py .runtime/fixtures
	diff fixtures/SHA256SUMS .runtime/fixtures/SHA256SUMS && echo "the fixtures are what the script makes"
