#!/usr/bin/env python3
"""Compiles the kernels with NVRTC from PyPI: no GPU, no CUDA toolkit.

    plugins/kernels/build.py            writes generated/*.zz (zlib) and SHA256SUMS
    plugins/kernels/build.py --check    compiles again and compares byte for byte; exit status 1 where they differ
    plugins/kernels/build.py --sums     only compares the checksums (no compiler): were sources changed, but not built?

Versions, options and targets stand in toolchain.txt. The compiler is installed once, into .runtime/nvrtc (ignored by
git), by this machine's pip.
"""

import argparse
import ctypes
import hashlib
import os
import pathlib
import subprocess
import sys
import venv
import zlib

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "generated"
ENVIRONMENT = HERE.parents[1] / ".runtime" / "nvrtc"


def toolchain():
    """Packages, options, and options by file name, as toolchain.txt has them."""
    packages, options, targets = [], [], {}
    for line in (HERE / "toolchain.txt").read_text(encoding="utf-8").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "package":
            packages.append(rest)
        elif kind == "option":
            options.append(rest)
        elif kind == "target":
            name, *extra = rest.split()
            targets[name] = extra
        elif kind not in ("#", ""):
            sys.exit(f"toolchain.txt: wanted package, option or target, got '{line}'")
    return packages, options, targets


def sources():
    return [*sorted(HERE.glob("*.cu")), *sorted(HERE.glob("*.cuh")), HERE / "toolchain.txt"]


def compiler(packages):
    """The NVRTC library, installed where it is not yet."""
    stamp = ENVIRONMENT / "complete"
    wanted = "\n".join(packages)
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"build.py: installing {' '.join(packages)}", file=sys.stderr)
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        pip = [ENVIRONMENT / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", *packages]
        subprocess.run(pip, check=True)
        stamp.write_text(wanted, encoding="utf-8")
    (folder,) = ENVIRONMENT.glob("lib/python*/site-packages/nvidia/cuda_nvrtc/lib")
    ctypes.CDLL(str(next(folder.glob("libnvrtc-builtins.so.*"))), ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(next(folder.glob("libnvrtc.so.*"))))


def compile_image(nvrtc, options, name):
    """One image from kernels.cu."""
    program = ctypes.c_void_p()
    # Headers go in by name, and no path is seen, so that images do not depend on where the repository lies.
    headers = [path for path in sources() if path.suffix in (".cu", ".cuh") and path.name != "kernels.cu"]
    texts = (ctypes.c_char_p * len(headers))(*[path.read_bytes() for path in headers])
    names = (ctypes.c_char_p * len(headers))(*[path.name.encode() for path in headers])
    source = (HERE / "kernels.cu").read_bytes()

    def call(function, *arguments):
        status = getattr(nvrtc, function)(*arguments)
        if status:
            size = ctypes.c_size_t()
            nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(max(size.value, 1))
            nvrtc.nvrtcGetProgramLog(program, log)
            sys.exit(f"{name}: {function} answered {status}\n{log.value.decode()}")

    call("nvrtcCreateProgram", ctypes.byref(program), source, b"kernels.cu", len(headers), texts, names)
    arguments = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
    call("nvrtcCompileProgram", program, len(options), arguments)
    what = "PTX" if name.endswith(".ptx") else "CUBIN"
    size = ctypes.c_size_t()
    call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
    image = ctypes.create_string_buffer(size.value)
    call(f"nvrtcGet{what}", program, image)
    call("nvrtcDestroyProgram", ctypes.byref(program))
    return image.raw


def digest(data):
    return hashlib.sha256(data).hexdigest()


def sums(images):
    """In the format of sha256sum, relative to this folder: sources, then images."""
    lines = [f"{digest(path.read_bytes())}  {path.name}" for path in sources()]
    lines += [f"{digest(data)}  generated/{name}" for name, data in images.items()]
    return "\n".join(lines) + "\n"


def write(path, data):
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    os.replace(partial, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--sums", action="store_true")
    arguments = parser.parse_args()
    packages, options, targets = toolchain()
    if arguments.sums:
        if sums({f"{name}.zz": (OUT / f"{name}.zz").read_bytes() for name in targets}) != (OUT / "SHA256SUMS").read_text(encoding="utf-8"):
            sys.exit("SHA256SUMS: sources or images have changed since build.py ran; run it again")
        return
    nvrtc = compiler(packages)
    images = {name: compile_image(nvrtc, [*options, *extra], name) for name, extra in targets.items()}
    if arguments.check:
        # Unpacked: how well zlib packs may differ between its versions.
        committed = {f"{name}.zz": (OUT / f"{name}.zz").read_bytes() for name in targets}
        wrong = [name for name, data in images.items() if zlib.decompress(committed[f"{name}.zz"]) != data]
        if wrong or sums(committed) != (OUT / "SHA256SUMS").read_text(encoding="utf-8"):
            sys.exit(f"not what build.py makes of the sources: {', '.join(wrong) or 'SHA256SUMS'}; run build.py")
        print(f"{len(images)} images as committed")
        return
    OUT.mkdir(exist_ok=True)
    packed = {f"{name}.zz": zlib.compress(data, 9) for name, data in images.items()}
    for (name, data), small in zip(images.items(), packed.values()):
        write(OUT / f"{name}.zz", small)
        print(f"{name}: {len(data)} bytes, packed {len(small)}")
    write(OUT / "SHA256SUMS", sums(packed).encode())


main()
