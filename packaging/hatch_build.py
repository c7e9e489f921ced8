"""Puts what cargo built into the wheels: the build hook of both Python packages, for hatchling.

`[tool.hatch.build.hooks.custom]` of a package says what: `crates` to build, `programs` (from the target folder to the environment's
`bin`), `library` and the `folder` of the package that it goes into. `PDLOSS_BUILT` names a folder in which all that is built already
(packaging/wheels: for an old glibc, and with `PDLOSS_STATIC`, because their libraries are inside); otherwise cargo builds it here, in the release profile, for this machine.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent.parent


class CustomBuildHook(BuildHookInterface):
    def initialize(self, version, build_data):
        if not (ROOT / "Cargo.lock").is_file():
            sys.exit("pdloss is built from a checkout of the whole repository, not from this folder alone")
        if version == "editable":
            sys.exit("an editable installation is not offered: the package holds what cargo builds")
        crates, programs = self.config["crates"], self.config.get("programs", [])
        built = Path(os.environ.get("PDLOSS_BUILT") or self.cargo(crates)).resolve()
        wanted = {built / name: None for name in programs}
        if "library" in self.config:
            wanted[built / self.config["library"]] = f"{self.config['folder']}/{self.config['library']}"
        for path, place in wanted.items():
            if not path.is_file():
                sys.exit(f"{path} is not there: {', '.join(crates)} must be built before the wheel")
            if place is None:
                build_data["shared_scripts"][str(path)] = path.name
            else:
                build_data["force_include"][str(path)] = place
        licences = Path(self.directory) / f"THIRD-PARTY-{self.metadata.core.name}.txt"
        licences.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(ROOT / "packaging/licences.py"), str(licences), *crates, *(["--static"] if "PDLOSS_STATIC" in os.environ else [])]
        subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
        info = f"{self.metadata.core.name.replace('-', '_')}-{self.metadata.version}.dist-info/licenses"
        for path, name in [(licences, "THIRD-PARTY.txt"), *((ROOT / name, name) for name in ("LICENSE-MIT", "LICENSE-APACHE"))]:
            build_data["force_include"][str(path)] = f"{info}/{name}"
        build_data["pure_python"] = False
        # For any Python 3, on this system; `auditwheel repair` says on which others.
        build_data["tag"] = f"py3-none-linux_{platform.machine()}"

    def cargo(self, crates):
        packages = [word for crate in crates for word in ("--package", crate)]
        subprocess.run(["cargo", "build", "--locked", "--release", "--lib", "--bins", *packages], cwd=ROOT, check=True)
        return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
