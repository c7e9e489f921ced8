#!/usr/bin/env bash
# The wheels in systems that have nothing: Debian 11 (glibc 2.31), 12 and 13, made by debootstrap, with Python and without a compiler, a BLAS
# or libgomp. In each: install, inspect, recall, verify, train, measure again, the operator in a session, the functions of the package; then
# all but training without onnxruntime. Root is needed (chroot), and debootstrap.
#
#     packaging/tests/install.sh [SUITE...]      bullseye bookworm trixie; the wheels are those of `make dist`, else of `make wheels`
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- bullseye bookworm trixie
[ "$(id -u)" = 0 ] || { echo "install.sh: wants root, for chroot" >&2; exit 1; }
command -v debootstrap >/dev/null || apt-get install -y --no-install-recommends debootstrap >/dev/null
wheels=out/dist
[ -n "$(ls $wheels/pdloss-*.whl 2>/dev/null)" ] || wheels=out/wheels
[ -n "$(ls $wheels/pdloss-*.whl 2>/dev/null)" ] || packaging/wheels
# Outside of the checkout, whose folders cargo walks.
roots=${PDLOSS_ROOTS:-/var/tmp/pdloss-roots}
for suite in "$@"; do
    root=$roots/$suite
    if [ ! -e "$root/complete" ]; then
        rm -rf "$root"
        mkdir -p "$root"
        debootstrap --variant=minbase --include=python3-venv "$suite" "$root" >"$root.log" 2>&1 || { tail -20 "$root.log" >&2; exit 1; }
        touch "$root/complete"
    fi
    echo "--- $suite: $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' "$root/etc/os-release"), glibc $(chroot "$root" ldd --version | sed -n '1s/.* //p')"
    rm -rf "$root/trial"
    mkdir -p "$root/trial/wheels"
    # What the registry gives this system's Python; the installation itself then needs no network.
    version=$(chroot "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    python3 -m pip download --quiet --disable-pip-version-check --only-binary=:all: --implementation cp --python-version "$version" \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64 --find-links $wheels \
        --dest "$root/trial/wheels" 'pdloss[onnxruntime]'
    cp -r fixtures docs/install.md .ci/readme.py plugins/examples/loss.onnx packaging/tests/steps.sh packaging/tests/run_operator.py packaging/tests/test_measure.py "$root/trial"
    # The mount ends with the process that made it.
    unshare --mount sh -c 'mount -t proc proc "$1/proc" && exec chroot "$1" sh -eu /trial/steps.sh' sh "$root"
    rm -rf "$root/trial" "$root/bare"
done
