#!/usr/bin/env python3
"""Makes a component of app.py, with what pyproject.toml names. `python3 build.py` is all there is to it."""

import os
import subprocess
import tomllib
import venv
from pathlib import Path

root = Path(__file__).resolve().parent
project = tomllib.loads((root / "pyproject.toml").read_text())
tools = root / ".venv"
programs = tools / ("Scripts" if os.name == "nt" else "bin")


def run(program: str, *arguments: str) -> None:
    # componentize-py takes packages for the guest from the environment that this names.
    environment = os.environ | {"VIRTUAL_ENV": str(tools)}
    subprocess.run([programs / program, *arguments], cwd=root, env=environment, check=True)


if not programs.exists():
    venv.create(tools, with_pip=True)
run("python", "-m", "pip", "--quiet", "--disable-pip-version-check", "install", *project["dependency-groups"]["build"])
output = project["tool"]["wharf"]["output"]
run("componentize-py", "--wit-path", "wit", "--world", "app", "componentize", "app", "--output", output)
