#!/usr/bin/env python3
"""What the compiler made of the kernels, read from the committed images: registers, stack, and instructions by kind.

    plugins/kernels/inspect.py            a table for sm_90, from the disassembler
    plugins/kernels/inspect.py --check    every cubin held to what is expected of it; exit status 1 where it is not

Needs no GPU. NVIDIA's disassembler comes from PyPI and is installed once, into .runtime/nvdisasm, by this machine's pip.
"""

import collections
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import venv
import zlib

HERE = pathlib.Path(__file__).resolve().parent
ENVIRONMENT = HERE.parents[1] / ".runtime" / "nvdisasm"
PACKAGE = "nvidia-cuda-nvdisasm==13.2.51"
KINDS = {
    "tensor": r"HMMA",
    "loads": r"LDG|LD\.|LD$",
    "of 128 bits": r"(LDG|LD)\b.*\.128",
    "of 64 bits": r"(LDG|LD)\b.*\.64",
    "local": r"LDL|STL",
    "f64": r"D(FMA|ADD|MUL)",
}
# Attributes of .nv.info: 4 bytes of head (form 4: a size follows), then a symbol's number and a value.
REGISTERS, FRAME = 0x2F, 0x11


def disassembler():
    stamp = ENVIRONMENT / "complete"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != PACKAGE:
        print(f"inspect.py: installing {PACKAGE}", file=sys.stderr)
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        pip = [ENVIRONMENT / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", PACKAGE]
        subprocess.run(pip, check=True)
        stamp.write_text(PACKAGE, encoding="utf-8")
    (found,) = ENVIRONMENT.glob("lib/python*/site-packages/nvidia/*/bin/nvdisasm")
    return found


def resources(elf):
    """Registers a thread and bytes of stack of each kernel, from the ELF file's own tables."""
    (offset,), (count, names) = struct.unpack_from("<Q", elf, 40), struct.unpack_from("<HH", elf, 60)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, offset + 64 * index) for index in range(count)]

    def text(table, at):
        start = sections[table][4] + at
        return elf[start : elf.index(b"\0", start)].decode()

    by_name = {text(names, section[0]): section for section in sections}
    symbols, info = by_name[".symtab"], by_name[".nv.info"]
    found = collections.defaultdict(dict)
    at, end = info[4], info[4] + info[5]
    while at < end:
        form, attribute, size = struct.unpack_from("<BBH", elf, at)
        at += 4
        if form != 4:
            continue
        if attribute in (REGISTERS, FRAME):
            symbol, value = struct.unpack_from("<II", elf, at)
            name = text(symbols[6], struct.unpack_from("<I", elf, symbols[4] + 24 * symbol)[0])
            found[name][attribute] = value
        at += size
    # Names in "$" are pieces inside of kernels.
    whole = ((name, values) for name, values in found.items() if not name.startswith("$"))
    return {name: (values.get(REGISTERS, 0), values.get(FRAME, 0)) for name, values in whole}


def kernels(image):
    """For each kernel: registers, stack, instructions in all, and of each kind."""
    elf = zlib.decompress(image.read_bytes())
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(elf)
        file.flush()
        done = subprocess.run([disassembler(), "-c", file.name], capture_output=True, text=True, check=True)
    mix, orders, name = collections.defaultdict(collections.Counter), collections.defaultdict(list), None
    for line in done.stdout.splitlines():
        section = re.search(r"\.section\s+\.text\.(\w+)", line)
        name = section.group(1) if section else name
        instruction = re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", line)
        if instruction and name:
            mix[name][instruction.group(1)] += 1
            orders[name].append(instruction.group(1))
    rows = {}
    for name, (registers, stack) in resources(elf).items():
        counts = mix[name]
        kinds = {kind: sum(n for code, n in counts.items() if re.match(form, code)) for kind, form in KINDS.items()}
        rows[name] = {"registers": registers, "stack": stack, "instructions": sum(counts.values()), **kinds}
        # From the first product on tensor cores to the last: what their loop holds.
        at = [index for index, code in enumerate(orders[name]) if re.match(KINDS["tensor"], code)]
        inside = orders[name][at[0] : at[-1]] if at else []
        rows[name]["local in products"] = sum(1 for code in inside if re.match(KINDS["local"], code))
    return rows


def complaints(image):
    """What is not as it should be, a sentence each."""
    rows, wrong = kernels(image), []

    def want(name, what, holds):
        if not holds:
            wrong.append(f"{image.name}: {name}: {what}, got {rows[name]}")

    tensor = not image.name.startswith("sm_75")
    for name, row in rows.items():
        want(name, "wanted instructions", row["instructions"] > 0)
        if name.startswith("tensor_gradient_f") and tensor:
            # Its registers are all in use: numbers of other stages wait in local memory meanwhile.
            want(name, "wanted no more than 104 bytes spilled to local memory", row["stack"] <= 104)
            # On 8.0 a step of the loop reads eight of them again; on 9.0 none.
            most = 8 if image.name.startswith("sm_80") else 0
            want(name, f"wanted no more than {most} spills between products", row["local in products"] <= most)
        elif name.startswith("finish"):
            want(name, "wanted no more than 8 bytes spilled to local memory", row["stack"] <= 8)
        elif tensor or not name.startswith("tensor_"):
            want(name, "wanted nothing spilled to local memory", row["stack"] == 0 and row["local"] == 0)
        if name.startswith(("sweep", "tensor_gram", "tensor_gradient")):
            want(name, "wanted room for a block of 256 threads", row["registers"] <= 255)
            if tensor:
                # What one turn of the inner loop holds. Gram matrices have low parts of every type, where two strips meet two of
                # them; gradients those of float32 and float16.
                turn = 16 if name.startswith("tensor_gradient_") and "wide" not in name else 32
                products = 2 if name.startswith("sweep") else 3 if name.startswith("tensor_gram") or not name.endswith("_bf16") else 1
                want(name, f"wanted {turn * products} tensor-core products or more", row["tensor"] >= turn * products)
        # Older devices' images have tensor cores' kernels without their products; nothing launches them there.
        if name.startswith(("finish", "gather_links")) or tensor and name.startswith(("prepare", "sweep", "measure", "tensor_g")):
            wide = "of 128 bits" if name.endswith("_f32") else "of 64 bits"
            want(name, f"wanted rows loaded {wide}", row[wide] > 0)
        if tensor and name.startswith("tensor_gradient"):
            # Vectors beside any rows, and rows of float32, four elements at once; rows of 16 bits likewise, in half as many bits.
            least = 150 if name.endswith("_f32") else 100
            want(name, f"wanted {least} loads of 128 bits or more", row["of 128 bits"] >= least)
            want(name, "wanted 32 loads of rows, four elements at once", name.endswith("_f32") or row["of 64 bits"] >= 32)
        if tensor and name.startswith(("sweep", "measure", "tensor_gram")):
            wide = "of 128 bits" if name.endswith("_f32") else "of 64 bits"
            want(name, f"wanted the next rows loaded {wide} at a time, all at once", row[wide] >= (4 if name.startswith("sweep") else 8))
    return wrong


def main():
    if sys.argv[1:] == ["--check"]:
        images = sorted(HERE.glob("generated/*.cubin.zz"))
        wrong = [sentence for image in images for sentence in complaints(image)]
        if wrong:
            sys.exit("\n".join(wrong))
        print(f"{len(images)} cubins: spills as known, tensor-core products and vector loads in place")
        return
    if sys.argv[1:]:
        sys.exit(__doc__)
    rows = kernels(HERE / "generated" / "sm_90.cubin.zz")
    columns = list(next(iter(rows.values())))
    print("| kernel | " + " | ".join(columns) + " |\n|---" + "|---" * len(columns) + "|")
    for name, row in sorted(rows.items()):
        print(f"| {name} | " + " | ".join(str(row[column]) for column in columns) + " |")


main()
