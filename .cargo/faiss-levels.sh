#!/bin/sh
# Two FAISS in the place of one: libfaiss_c.a gets a second copy of C API and library, compiled for x86-64-v3, and for each function of
# the C API one that goes on to that of the level which the processor has.
#
#     faiss-levels.sh CXX LD OBJCOPY AR NM libfaiss_c.a libfaiss_c_avx2.a libfaiss_avx2.a
set -eu
cxx=$1 ld=$2 objcopy=$3 ar=$4 nm=$5 c_api=$6 second_c_api=$7 second=$8
here=$(dirname "$0")
# Built again where nothing has changed.
if "$ar" t "$c_api" | grep -qx levels.o; then exit 0; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"$nm" --defined-only "$c_api" | awk '$2 == "T" && $3 ~ /^faiss_/ { print $3 }' | sort -u >names
sed 's/.*/& pdloss_plain_&/' names >plain
sed 's/.*/& pdloss_v3_&/' names >v3
sed 's/^/pdloss_v3_/' names >kept

# All of the second in one object, in which nothing but its C API can be seen: an inline function that both have is compiled in both, and a
# linker would take one of the two for all, which an older processor may not be able to run.
"$ld" -r --force-group-allocation -o whole.o --whole-archive "$second_c_api" "$second"
# What it does before `main`, too, waits until the processor is known: faiss-levels.cpp does it.
"$objcopy" --redefine-syms=v3 --rename-section .init_array=pdloss_v3_start,alloc,load,data,contents \
    --add-symbol pdloss_v3_start=pdloss_v3_start:0,global whole.o v3.o
echo pdloss_v3_start >>kept
"$objcopy" --keep-global-symbols=kept v3.o
size=$("${objcopy%objcopy}objdump" -h v3.o | awk '$2 == "pdloss_v3_start" { print $3 }')
if "${objcopy%objcopy}objdump" -h v3.o | grep -q ' \.\(init_array\|fini_array\|ctors\|dtors\)'; then
    echo "faiss-levels.sh: FAISS has something to do before main that is not known of" >&2
    exit 1
fi

# The first stays as it is, under other names.
cp "$c_api" first.a
"$objcopy" --redefine-syms=plain first.a
sed 's/.*/LEVELS(&)/' names >functions.inc
"$cxx" -O2 -fPIC -fno-asynchronous-unwind-tables -march=x86-64 -I. -DSTART_BYTES="0x$size" -c "$here/faiss-levels.cpp" -o levels.o
"$ar" rs first.a levels.o v3.o 2>/dev/null
mv first.a "$c_api"
