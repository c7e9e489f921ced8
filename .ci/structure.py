"""Whether the code's imports run one way, and ARCHITECTURE.md names every folder that there is.

In each crate the modules below `src/` (a folder is one module) may import each other only without a circle; so may the
modules inside each folder. ARCHITECTURE.md gives each crate's modules from the bottom up: an import runs down that list.
"""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES = {"pdloss": "src", "pdloss_embed": "embed/src", "pdloss_eval": "eval/src", "pdloss_ort": "plugins/src", "pdloss_ranks": "ranks/src", "pdloss_train": "train/src"}
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
errors = []


def code_of(file):
    """The file without comments, strings and its tests."""
    text = file.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^\s*//.*$", "", text)
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', text, flags=re.S)
    return re.split(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*(?://[^\n]*\n\s*)?)*mod tests", text)[0]


def module_of(file, source):
    parts = list(file.relative_to(source).with_suffix("").parts)
    if parts[-1] in ("mod", "lib", "main"):
        parts.pop()
    return tuple(parts)


def expand(text):
    """Paths of a `use` tree: `a::{b, c::{d}}` gives a::b and a::c::d."""
    text = text.strip()
    if "{" not in text:
        return [text.split(" as ")[0].strip()]
    head, rest = text.split("{", 1)
    depth, start, parts, rest = 0, 0, [], rest.rsplit("}", 1)[0]
    for at, letter in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append(rest[start:at])
            start = at + 1
    parts.append(rest[start:])
    return [head + path for part in parts if part.strip() for path in expand(part)]


def imports(file, source, modules):
    """Modules of the same crate that a file names by path."""
    here = module_of(file, source)
    is_folder = file.name in ("mod.rs", "lib.rs", "main.rs")
    text = code_of(file)
    paths = [path for use in re.findall(r"\buse\s+((?:crate|super|self)\b[^;]*);", text) for path in expand(use)]
    rest = re.sub(r"\buse\s+[^;]*;", "", text)
    paths += re.findall(r"\b(?:crate|super)(?:::\w+)+", rest)
    for path in paths:
        parts = [part.strip() for part in path.split("::")]
        base = [] if parts[0] == "crate" else list(here if is_folder or parts[0] != "super" else here[:-1])
        if parts[0] == "super" and is_folder:
            base = list(here[:-1])
        parts = parts[1:]
        while parts and parts[0] == "super":
            base, parts = base[:-1], parts[1:]
        full = tuple(base + parts)
        while full and full not in modules:
            full = full[:-1]
        if full and full != here:
            yield full


def circle(graph):
    """A circle of a graph, where it has one."""
    state, stack = {}, []

    def visit(node):
        state[node] = 1
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if state.get(other) == 1:
                return stack[stack.index(other):] + [other]
            if other not in state and (found := visit(other)):
                return found
        stack.pop()
        state[node] = 2
        return None

    for node in sorted(graph):
        if node not in state and (found := visit(node)):
            return found
    return None


for crate, folder in CRATES.items():
    source = ROOT / folder
    files = [file for file in source.rglob("*.rs") if not (crate == "pdloss_ort" and "generated" in file.parts)]
    modules = {module_of(file, source) for file in files} - {()}
    levels = {}  # folder -> {module inside: modules inside that it imports}
    for file in files:
        here = module_of(file, source)
        for other in imports(file, source, modules):
            common = 0
            while common < min(len(here), len(other)) and here[common] == other[common]:
                common += 1
            if common < len(here) and common < len(other):
                inside = levels.setdefault(here[:common], {})
                inside.setdefault(here[common], set()).add(other[common])
    for inside, graph in sorted(levels.items()):
        found = circle(graph)
        if found:
            errors.append(f"{folder}/{'/'.join(inside)}: a circle of imports: {' -> '.join(found)}")
    listed = re.search(rf"(?m)^`{crate}`, from the bottom up: (.*)$", PAGE)
    if not listed:
        errors.append(f"ARCHITECTURE.md: no line «`{crate}`, from the bottom up: ...»")
        continue
    order = re.findall(r"`(\w+)`", listed[1])
    tops = sorted({module[0] for module in modules})
    errors += [f"ARCHITECTURE.md: {crate} has no module `{name}`" for name in order if name not in tops]
    errors += [f"ARCHITECTURE.md: module `{name}` of {crate} is not named" for name in tops if name not in order]
    floor = {name: at for at, name in enumerate(order)}
    for name, others in levels.get((), {}).items():
        up = [other for other in sorted(others) if floor.get(other, 0) > floor.get(name, 0)]
        errors += [f"{folder}: `{name}` imports `{other}`, which ARCHITECTURE.md puts above it" for other in up]

tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
tops = {path.split("/")[0] for path in tracked if "/" in path}
named = set(re.findall(r"(?m)^\| `([^`]+?)/` ", PAGE))
errors += [f"ARCHITECTURE.md: there is no folder {name}/" for name in sorted(named) if not (ROOT / name).is_dir()]
errors += [f"ARCHITECTURE.md: the folder {name}/ is not in its map" for name in sorted(tops - named)]
for path in re.findall(r"`([\w./-]+/[\w.-]+\.(?:rs|py|md|cu|sh|toml))`", PAGE):
    if not (ROOT / path).exists():
        errors.append(f"ARCHITECTURE.md: names {path}, which is not there")
if errors:
    sys.exit("\n".join(errors))
print("structure: imports run one way, and ARCHITECTURE.md names every folder")
