"""Runs every ```sh block of a Markdown file, in order, from the repository's root; stops at the first that fails."""
import re
import subprocess
import sys

blocks = re.findall(r"^```sh\n(.*?)^```$", open(sys.argv[1], encoding="utf-8").read(), re.M | re.S)
if not blocks:
    sys.exit(f"{sys.argv[1]}: no sh blocks found")
for block in blocks:
    print(f"--- {sys.argv[1]}:\n{block}", flush=True)
    status = subprocess.run(["bash", "-euo", "pipefail", "-c", block], stdin=subprocess.DEVNULL).returncode
    if status:
        sys.exit(f"{sys.argv[1]}: this block ended with {status}:\n{block}")
