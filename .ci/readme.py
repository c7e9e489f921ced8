"""Runs every ```sh block of Markdown files, in order, from the repository's root; stops at the first that fails."""
import re
import subprocess
import sys

for file in sys.argv[1:]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", open(file, encoding="utf-8").read(), re.M | re.S)
    if not blocks:
        sys.exit(f"{file}: no sh blocks found")
    for block in blocks:
        print(f"--- {file}:\n{block}", flush=True)
        status = subprocess.run(["bash", "-euo", "pipefail", "-c", block], stdin=subprocess.DEVNULL).returncode
        if status:
            sys.exit(f"{file}: this block ended with {status}:\n{block}")
