"""Builds the wheel of pdloss_ort: a PEP 517 backend in the standard library, and a command.

    pip wheel --no-deps --wheel-dir DIR plugins/python
    python plugins/python/build_wheel.py DIR

Both run cargo and put the shared library into the package. `PDLOSS_ORT_LIBRARY` names a library that is built already. The wheel's
tag is for Linux with the glibc that the library itself asks for, read from its symbols, and for any Python 3.
"""

import base64
import hashlib
import os
import pathlib
import platform
import re
import shutil
import struct
import subprocess
import sys
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE, LIBRARY = "pdloss_ort", "libpdloss_ort.so"
EPOCH = (2020, 1, 1, 0, 0, 0)  # the same bytes in, the same wheel out


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """PEP 517: builds the wheel in the directory, returns its file name."""
    project = _project()
    library = _library()
    tag = f"py3-none-{_platform(library)}"
    name = f"{PACKAGE}-{project['version']}-{tag}.whl"
    info = f"{PACKAGE}-{project['version']}.dist-info"
    files = {f"{PACKAGE}/{path.name}": path.read_bytes() for path in sorted((HERE / PACKAGE).glob("*.py"))}
    files[f"{PACKAGE}/{LIBRARY}"] = library.read_bytes()
    files[f"{info}/METADATA"] = _metadata(project).encode()
    files[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: pdloss build_wheel\nRoot-Is-Purelib: false\nTag: {tag}\n"
    ).encode()
    record = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in files.items()]
    files[f"{info}/RECORD"] = ("\n".join([*record, f"{info}/RECORD,,"]) + "\n").encode()
    partial = pathlib.Path(wheel_directory, f".{name}.partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if path.endswith(".so") else 0o644) << 16
            wheel.writestr(entry, data)
    os.replace(partial, pathlib.Path(wheel_directory, name))
    return name


def build_sdist(sdist_directory, config_settings=None):
    """PEP 517 asks for it; a source archive of this folder alone could not build the library."""
    raise NotImplementedError("build the wheel from a checkout of the whole repository")


def _project():
    text = (HERE / "pyproject.toml").read_text()
    found = {key: re.search(rf'^{key} = "(.*)"$', text, re.M).group(1) for key in ("version", "description", "requires-python")}
    found["license"] = re.search(r'^license = { text = "(.*)" }$', text, re.M).group(1)
    found["training"] = re.findall(r'"([^"]+)"', re.search(r"^training = \[(.*)\]$", text, re.M).group(1))
    return found


def _metadata(project):
    lines = [
        "Metadata-Version: 2.1",
        "Name: pdloss-ort",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"License: {project['license']}",
        f"Requires-Python: {project['requires-python']}",
        "Provides-Extra: training",
        *(f'Requires-Dist: {requirement} ; extra == "training"' for requirement in project["training"]),
        "Description-Content-Type: text/markdown",
    ]
    return "\n".join(lines) + "\n\n" + (HERE / "README.md").read_text()


def _digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _library():
    given = os.environ.get("PDLOSS_ORT_LIBRARY")
    if given:
        return pathlib.Path(given).resolve()
    root = HERE.parent.parent
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    command = ["cargo", "build", "--package", "pdloss-ort", "--lib"]
    profile = os.environ.get("PDLOSS_ORT_PROFILE", "release")
    folder = target / ("debug" if profile == "dev" else profile)
    command += ["--profile", profile]
    glibc = os.environ.get("PDLOSS_ORT_GLIBC")
    if glibc:  # an older glibc than this machine's, through cargo-zigbuild
        triple = f"{platform.machine()}-unknown-linux-gnu"
        command[1:2] = ["zigbuild", "--target", f"{triple}.{glibc}"]
        folder = target / triple / folder.name
    subprocess.run(command, cwd=root, check=True)
    library = folder / LIBRARY
    if shutil.which("strip"):
        stripped = folder / f"stripped-{LIBRARY}"
        subprocess.run(["strip", "--strip-unneeded", "-o", stripped, library], check=True)
        return stripped
    return library


def _platform(library):
    minor = needed_glibc(library)
    return f"manylinux_2_{max(minor, 17)}_{platform.machine()}"


def needed_glibc(library):
    """The minor version of the newest glibc 2.x symbol that a 64-bit little-endian ELF library asks for."""
    data = library.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"{library} is not a 64-bit little-endian ELF file")
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + size * index) for index in range(count)]
    needs = [section for section in sections if section[1] == 0x6FFFFFFE]  # SHT_GNU_verneed
    newest = 0
    for section in needs:
        names = sections[section[6]][4]
        entry = section[4]
        for _ in range(section[7]):
            _, auxiliaries, _, first, following = struct.unpack_from("<HHIII", data, entry)
            place = entry + first
            for _ in range(auxiliaries):
                _, _, _, name, step = struct.unpack_from("<IHHII", data, place)
                text = data[names + name : data.index(b"\0", names + name)].decode()
                match = re.fullmatch(r"GLIBC_2\.(\d+)(\.\d+)?", text)
                if match:
                    newest = max(newest, int(match.group(1)))
                place += step
            entry += following
    return newest


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DIR")
    pathlib.Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    print(pathlib.Path(sys.argv[1], build_wheel(sys.argv[1])))
