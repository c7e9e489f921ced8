"""Runs every ```sh block of Markdown files, in order, from the repository's root; stops at the first that fails. The programs are those
that cargo built, where there are such, and else the installed ones.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

built = Path(os.environ.get("CARGO_TARGET_DIR", "target"), "debug").resolve()
os.environ["PATH"] = f"{built}{os.pathsep}{os.environ['PATH']}"

for file in sys.argv[1:]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", open(file, encoding="utf-8").read(), re.M | re.S)
    if not blocks:
        sys.exit(f"{file}: no sh blocks found")
    for block in blocks:
        print(f"--- {file}:\n{block}", flush=True)
        status = subprocess.run(["bash", "-euo", "pipefail", "-c", block], stdin=subprocess.DEVNULL).returncode
        if status:
            sys.exit(f"{file}: this block ended with {status}:\n{block}")
