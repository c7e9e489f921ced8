# What a person does on a system that has nothing but Python: docs/install.md, then measuring and training. Run by install.sh inside it.
cd /trial
export HOME=$PWD/home PATH=/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p "$HOME"
for tool in cc gcc g++ ld make cmake cargo; do
    if command -v $tool; then echo "steps.sh: this system has $tool" >&2; exit 1; fi
done
if find /usr/lib /lib -name 'libgomp*' -o -name '*openblas*' -o -name 'libgfortran*' -o -name 'liblapack*' | grep .; then
    echo "steps.sh: this system has what the wheels are to do without" >&2
    exit 1
fi
say() { echo "steps.sh: $*"; }
has() { grep -q -- "$2" "$1" || { cat "$1" >&2; echo "steps.sh: no «$2» in this" >&2; exit 1; }; }

# The page's commands as they stand; the registry is the folder of wheels.
export PIP_NO_INDEX=1 PIP_FIND_LINKS=/trial/wheels PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1
python3 readme.py install.md
PATH=$HOME/pdloss/bin:$PATH
pdloss-eval --version
pdloss-eval inspect --model fixtures/embedder.onnx --json >inspect
has inspect "(in the program's Python environment)"
grep '"library"' inspect

pdloss-eval recall --model fixtures/embedder.onnx --data fixtures/shapes --out recall.json --save-embeddings kept.npy 2>/dev/null
# FAISS for older processors, which is taken on any, finds the same.
PDLOSS_FAISS=x86-64 pdloss-eval --version >version
has version "FAISS for x86-64, having another one"
PDLOSS_FAISS=x86-64 pdloss-eval recall --embeddings kept.npy --save-run older >/dev/null 2>&1
pdloss-eval recall --embeddings kept.npy --save-run newer >/dev/null 2>&1
cmp older/queries.parquet newer/queries.parquet
cmp older/neighbours.parquet newer/neighbours.parquet
pdloss-eval recall --embeddings kept.npy --index RR16,HNSW16 --k 1 2>/dev/null | sed -n 3p
pdloss-eval recall --embeddings kept.npy --index PCA8,IVF4,SQ8 --k 1 2>/dev/null | sed -n 3p
pdloss-eval verify --model fixtures/embedder.onnx --data fixtures/shapes --all-pairs 2>/dev/null | sed -n 1,3p
pdloss train --model fixtures/backbone.onnx --data fixtures/shapes --out run --batch 40 --per-class 4 --steps 20 >/dev/null 2>train.log ||
    { cat train.log >&2; exit 1; }
pdloss-eval recall --model run/embedder.onnx --data fixtures/shapes 2>/dev/null | sed -n 1,3p
python run_operator.py loss.onnx
python test_measure.py
python - <<'PY'
import importlib.metadata as metadata, json, pathlib, pdloss, pdloss_ort

assert metadata.version("pdloss") == pdloss.__version__ == pdloss_ort.__version__ == metadata.version("pdloss-ort")
for package in ("pdloss", "pdloss-ort"):
    files = [str(file) for file in metadata.files(package)]
    for name in ("py.typed", "LICENSE-MIT", "LICENSE-APACHE", "THIRD-PARTY.txt"):
        assert any(file.endswith(name) for file in files), (package, name)
print("recall@1", json.loads(pathlib.Path("recall.json").read_text())[0]["recall@1"])
PY

say "without onnxruntime"
python3 -m venv /bare
/bare/bin/pip install pdloss
if PIP_QUIET=0 /bare/bin/pip list --format=freeze | grep onnxruntime; then exit 1; fi
PATH=/bare/bin:/usr/bin:/bin
pdloss-eval recall --model fixtures/embedder.onnx --data fixtures/shapes --out bare.json >bare.log 2>&1
has bare.log "runs on tract"
has bare.log "pip install onnxruntime"
if pdloss train --model fixtures/backbone.onnx --data fixtures/shapes --out bare --steps 1 >bare.log 2>&1; then exit 1; fi
has bare.log "pip install onnxruntime"
say "all done"
