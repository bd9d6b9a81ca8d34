"""Prints constraints that pin what the program needs to the lowest versions that pyproject.toml allows."""

import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
for dependency in (*project["dependencies"], *project["optional-dependencies"]["fast"]):
    name, _, lowest = dependency.partition(";")[0].partition(">=")
    print(f"{name}=={lowest}")
