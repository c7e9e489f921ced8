#!/bin/sh
# Installs what the build needs: a C++ compiler, cmake, nasm and a BLAS (Debian packages), and ONNX Runtime's library (from its
# PyPI wheel, into .runtime/). Does nothing where all of it is there. Further Debian packages are installed where named:
#
#     ./setup.sh [PACKAGE...]
set -eu
cd "$(dirname "$0")"

ORT_VERSION=1.32.0
RUNTIME=.runtime/onnxruntime

for tool in cargo python3; do
    command -v "$tool" >/dev/null || { echo "setup: $tool is missing; install it first" >&2; exit 1; }
done

# FAISS is built from source. Its speed is its BLAS's: OpenBLAS on OpenMP shares FAISS's own threads, where the variant on
# pthreads fights with them.
links() {
    probe=$(mktemp -d)
    echo 'int main(void) { return 0; }' >"$probe/probe.c"
    if cc "$probe/probe.c" -o "$probe/probe" "$@" 2>/dev/null; then status=0; else status=1; fi
    rm -rf "$probe"
    return $status
}
packages=${1:+ $*}
command -v cmake >/dev/null || packages="$packages cmake"
command -v g++ >/dev/null || packages="$packages g++"
# Without it libjpeg-turbo builds all the same, and decodes at half its speed.
[ "$(uname -m)" != x86_64 ] || command -v nasm >/dev/null || packages="$packages nasm"
links -lblas -llapack || packages="$packages libopenblas-openmp-dev"
if [ -n "$packages" ]; then
    install="apt-get install -y --no-install-recommends$packages"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "setup: $install" >&2
        # a log is shown only where something went wrong
        log=$(mktemp)
        if ! { apt-get update && DEBIAN_FRONTEND=noninteractive $install; } >"$log" 2>&1; then
            cat "$log" >&2
            exit 1
        fi
        rm -f "$log"
    else
        echo "setup: packages are missing; run this and try again:" >&2
        echo "    sudo apt-get update && sudo $install" >&2
        exit 1
    fi
fi

if [ ! -e "$RUNTIME/libonnxruntime.so.$ORT_VERSION" ]; then
    echo "setup: onnxruntime $ORT_VERSION from PyPI" >&2
    wheels=$(mktemp -d)
    # The library inside does not depend on the Python that the wheel is for.
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --implementation cp \
        --python-version 3.12 --platform "manylinux_2_28_$(uname -m)" --platform "manylinux_2_27_$(uname -m)" \
        --dest "$wheels" "onnxruntime==$ORT_VERSION"
    rm -rf "$RUNTIME"
    mkdir -p "$RUNTIME"
    python3 - "$wheels" "$RUNTIME" <<'PYTHON'
import pathlib, shutil, sys, zipfile

wheels, runtime = map(pathlib.Path, sys.argv[1:])
(wheel,) = wheels.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        file = name.rsplit("/", 1)[-1]
        if file.startswith("libonnxruntime") or file in ("LICENSE", "ThirdPartyNotices.txt"):
            with archive.open(name) as source, open(runtime / file, "wb") as target:
                shutil.copyfileobj(source, target)
PYTHON
    ln -s "libonnxruntime.so.$ORT_VERSION" "$RUNTIME/libonnxruntime.so"
    rm -rf "$wheels"
fi
