"""Builds what a local stack runs. It needs no package: the first time, it runs beside pip."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [
    *(f"--package={folder.name}" for folder in sorted((ROOT / "functions").iterdir())),
    "--package=local-features",
    "--package=stripe-mock",
]


class Failed(Exception):
    """One clear line: what failed, why, and what to do."""


def say(text):
    print(f"  {text}", flush=True)


def target_folder(profile="debug") -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / profile


def build(packages=PACKAGES):
    if not shutil.which("cargo"):
        raise Failed("cargo is missing, and builds the functions: install Rust from https://rustup.rs")
    say("building the functions (the first time takes some minutes)")
    began = time.monotonic()
    if subprocess.run(["cargo", "build", "--bins", *packages], cwd=ROOT).returncode != 0:
        raise Failed("the functions do not build: see the compiler's message above")
    say(f"built in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    try:
        build()
    except Failed as error:
        sys.exit(f"failed: {error}")
