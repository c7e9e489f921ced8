"""Writes the licences of everything that is linked into what is released: one text for each folder that is shipped.

    packaging/licences.py OUT [--static] PACKAGE...

PACKAGE is one of pdloss-train, pdloss-eval and pdloss-ort; --static: as packaging/build links them, with the compilers' runtimes and OpenBLAS inside.
Crates bring their own texts in their source; native libraries and the compilers' runtimes have theirs from where they were linked.
A crate that is under a licence of which no text is found ends with an error.
"""
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-gnu"
IS_LICENCE = re.compile(r"(?i)(licen[sc]e|copying|notice|unlicense|copyright)")
# Some crates carry a licence's name alone; each of these is a file of another crate, or of this project.
STANDARD = {"MIT": "LICENSE-MIT", "Apache-2.0": "LICENSE-APACHE"}
# A crate without its text, and the crate of the same repository that has it.
SIBLINGS = {"alloc-stdlib": "alloc-no-stdlib"}
# What crates build in, by the crate: name, its folder below the crate, its licence files.
NATIVE = {
    "faiss-sys": [("FAISS", "faiss", ["LICENSE"])],
    "turbojpeg-sys": [("libjpeg-turbo", "libjpeg-turbo", ["LICENSE.md", "README.ijg"])],
}
# What packaging/build links in beside FAISS, and zig into everything.
DEBIAN = [
    ("OpenBLAS with LAPACK", "libopenblas-openmp-dev"),
    ("libgomp and libstdc++ (GCC's runtime libraries, under the GCC Runtime Library Exception)", "gcc-12-base"),
]
ZIG = ".runtime/packaging/lib/python*/site-packages/ziglang/lib/libunwind/LICENSE.TXT"


def linked(packages):
    """Packages of the registry that are linked into these, as cargo's metadata has them."""
    arguments = [word for package in packages for word in ("--package", package)]
    tree = subprocess.run(
        ["cargo", "tree", "--locked", *arguments, "--edges", "normal", "--target", TARGET, "--prefix", "none", "--format", "{p}"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout
    names = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout
    )
    found = [p for p in metadata["packages"] if (p["name"], f"v{p['version']}") in names and p["source"]]
    return sorted(found, key=lambda p: (p["name"], p["version"]))


def texts(folder):
    """The licence texts of a crate's folder, each as (name, text)."""
    files = sorted(path for path in folder.iterdir() if IS_LICENCE.match(path.name))
    files = [inner for path in files for inner in (sorted(path.iterdir()) if path.is_dir() else [path])]
    return [(path.name, path.read_text(encoding="utf-8", errors="replace").strip()) for path in files if path.suffix not in (".rs", ".html")]


def main():
    out, packages = Path(sys.argv[1]), [word for word in sys.argv[2:] if word != "--static"]
    sections, bodies, bare = [], {}, []

    def add(title, files):
        keys = []
        for name, text in files:
            # Hundreds of crates share a few texts: each is written once.
            key = bodies.setdefault(re.sub(r"\s+", " ", text), (len(bodies) + 1, name, text))[0]
            keys.append(f"text {key}")
        sections.append(f"{title}: {', '.join(keys)}")

    crates = linked(packages)
    folders = {package["name"]: Path(package["manifest_path"]).parent for package in crates}
    for package in crates:
        folder = Path(package["manifest_path"]).parent
        files = texts(folder) or texts(folders[SIBLINGS.get(package["name"], package["name"])])
        expression = package["license"] or package["license_file"]
        if not files:
            files = [(name, (ROOT / name).read_text()) for licence, name in STANDARD.items() if licence in expression]
        if not files:
            bare.append(f"crate {package['name']} {package['version']} ({expression})")
        add(f"{package['name']} {package['version']}, {expression}", files)
        for name, below, wanted in NATIVE.get(package["name"], []):
            add(f"{name}, in {package['name']} {package['version']}", [(file, (folder / below / file).read_text()) for file in wanted])
    if "--static" in sys.argv:
        if "faiss-sys" in folders:
            for name, debian in DEBIAN:
                add(name, [("copyright", Path(f"/usr/share/doc/{debian}/copyright").read_text())])
        (zig,) = ROOT.glob(ZIG)
        add("libunwind and compiler-rt of LLVM, Apache-2.0 WITH LLVM-exception", [(zig.name, zig.read_text())])
    sysroot = Path(subprocess.run(["rustc", "--print", "sysroot"], check=True, capture_output=True, text=True).stdout.strip())
    std = sysroot / "share/doc/rust/COPYRIGHT-library.html"
    if std.is_file():
        text = re.sub(r"<[^>]+>", "", std.read_text())
        add("Rust's standard library, MIT OR Apache-2.0 and others", [(std.name, text)])
    else:
        add("Rust's standard library, MIT OR Apache-2.0", [(name, (ROOT / name).read_text()) for name in STANDARD.values()])
    if bare:
        sys.exit("licences: no text was found for " + ", ".join(bare))
    head = "What is linked in, and under which licence. The texts, by number, stand below.\n"
    rule = "\n\n" + "=" * 100 + "\n"
    body = [f"text {number} ({name})\n\n{text}" for number, name, text in bodies.values()]
    out.write_text(rule.join([head + "\n" + "\n".join(sections), *body]) + "\n", encoding="utf-8")
    print(f"{out}: {len(sections)} parts, {len(bodies)} texts, {out.stat().st_size} bytes")


main()
