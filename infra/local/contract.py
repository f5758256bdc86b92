"""Holds the deployed API to `docs/openapi.json` with requests that schemathesis generates from it."""

import shutil
import subprocess
import sys
from pathlib import Path

import demo
from build import ROOT, Failed, say
from stack import Stack, free_ports

HERE = Path(__file__).parent


def check(state: Path):
    """Deploys a stack for this alone, and fails if schemathesis finds anything."""
    say("holding the API to docs/openapi.json")
    shutil.rmtree(state, ignore_errors=True)
    stack = Stack("aias-contract", free_ports(), state)
    try:
        stack.start()
        stack.deploy()
        stack.wait_healthy()
        run(stack, demo.make(stack, state / "demo.env")["AIAS_API_KEY"], state / "schemathesis.log")
    finally:
        stack.stop()
    shutil.rmtree(state, ignore_errors=True)


def run(stack: Stack, key: str, report: Path):
    command = [
        str(Path(sys.executable).with_name("st")),
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        str(ROOT / "docs" / "openapi.json"),
        f"--url={stack.url}",
        f"--header=Authorization: Bearer {key}",
        "--no-color",
    ]
    with report.open("w") as out:
        code = subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT).returncode
    lines = report.read_text().splitlines()
    if code != 0:
        print("\n".join(lines), flush=True)
        raise Failed("the API does not fit its description: see the failures above")
    for line in lines:
        if "generated" in line or "passed" in line:
            say(line.strip())
