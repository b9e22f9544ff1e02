#!/usr/bin/env python3
"""Pack the public crates as a registry would get them, and look whether each has what it needs.

    setup/packages.py CRATE...

The arguments are the crates that are meant to be public: every other one says `publish = false`. Nothing is compiled and
nothing is published; `cargo package -p CRATE...` compiles what was packed, too.
"""

import json
import os
import posixpath
import re
import subprocess
import sys
import tarfile

# What the compiler reads beside the modules of a crate.
READ = re.compile(r'include(?:_str|_bytes)?!\(\s*"([^"]+)"')


def faults(crate: str, manifest: dict) -> list[str]:
    """What is wrong with the packed crate."""
    top = f'{manifest["name"]}-{manifest["version"]}'
    with tarfile.open(crate) as archive:
        files = {member.name.removeprefix(f"{top}/"): member for member in archive.getmembers()}
        found = [f"{name} is missing" for name in ("LICENSE", "README.md") if name not in files]
        found += [f"{name} is not a file" for name, member in files.items() if not member.isfile()]
        for name, member in files.items():
            if not name.endswith(".rs"):
                continue
            for path in READ.findall(archive.extractfile(member).read().decode()):
                read = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
                if read not in files:
                    found.append(f"{name} reads {path}, which the package does not have")
    found += [f"the manifest has no {key}" for key in ("description", "documentation", "keywords") if not manifest[key]]
    return found


def main(expected: list[str]) -> int:
    metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--no-deps", "--format-version", "1"]))
    # `publish` is None for everywhere, and a list of registries otherwise.
    public = {package["name"]: package for package in metadata["packages"] if package["publish"] is None}
    if sorted(public) != sorted(expected):
        print(f"public are {sorted(public)}, but expected are {sorted(expected)}: say `publish = false` in the "
              "manifest of a crate that is not for others, or add it to the list", file=sys.stderr)
        return 1
    names = [argument for name in public for argument in ("-p", name)]
    # Once for all, and not for each crate.
    subprocess.run(["cargo", "fetch", "--quiet", "--locked"], check=True)
    # What is tried out is the tree as it is, committed or not.
    arguments = ["--quiet", "--offline", "--no-verify", "--allow-dirty", *names]
    if subprocess.run(["cargo", "package", *arguments]).returncode != 0:
        return 1
    failed = False
    for name, manifest in sorted(public.items()):
        crate = os.path.join(metadata["target_directory"], "package", f'{name}-{manifest["version"]}.crate')
        for fault in faults(crate, manifest):
            failed = True
            print(f"{name}: {fault}", file=sys.stderr)
        print(f"{name} {manifest['version']}: {os.path.getsize(crate) // 1024 + 1} KiB")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
