"""Builds the functions of a local stack. Uses no packages, since it runs concurrently with pip."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [
    *(f"--package={folder.name}" for folder in sorted((ROOT / "functions").iterdir())),
    "--package=aias",
    "--package=local-features",
    "--package=stripe-mock",
]


class Failed(Exception):
    """A message for the user: what failed, why, and what to do."""


def say(text):
    print(f"  {text}", flush=True)


def target_folder(profile="debug") -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / profile


def build(packages=PACKAGES):
    if not shutil.which("cargo"):
        raise Failed("cargo is missing: install Rust from https://rustup.rs")
    say("building the functions (the first time takes some minutes)")
    began = time.monotonic()
    if subprocess.run(["cargo", "build", "--bins", *packages], cwd=ROOT).returncode != 0:
        raise Failed("the functions do not build: the compiler's message is above")
    say(f"built in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    try:
        build()
    except Failed as error:
        sys.exit(f"failed: {error}")
