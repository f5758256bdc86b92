"""Holds the deployed API to `docs/openapi.json` with requests that schemathesis generates from it."""

import subprocess
import sys
from pathlib import Path

import demo
from build import ROOT, Failed, say
from stack import Stack

HERE = Path(__file__).parent


def check(stack: Stack, state: Path):
    """Prints what schemathesis found, and fails if that is anything."""
    say("holding the API to docs/openapi.json")
    key = demo.make(stack, state / "contract.env")["AIAS_API_KEY"]
    report = state / "schemathesis.log"
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
