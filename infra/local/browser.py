"""The tests of the console in Chromium, and the installation of Chromium."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from build import ROOT, Failed, say
from processes import LOCAL

# The tests compare screenshots, so the font is always this one.
PACKAGES = ("chromium", "fonts-dejavu-core")
ADVICE = "install Chromium, so that `chromium` is in PATH: the tests of the console need it"


def installed(folder: Path) -> dict:
    """A Chromium in PATH, or one of Debian's packages unpacked into `folder`: `{path, libraries, fonts}`."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return {"path": found, "libraries": "", "fonts": ""}
    root = folder / "root"
    if not (folder / "complete").exists():
        say("installing Chromium into .local (once)")
        unpack(folder, root)
    libraries = sorted({str(file.parent) for file in root.rglob("*.so*") if file.is_file()})
    return {
        "path": str(root / "usr/lib/chromium/chromium"),
        "libraries": ":".join(libraries),
        "fonts": str(fonts(folder, root)),
    }


def unpack(folder: Path, root: Path):
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise Failed(f"this machine has no apt-get: {ADVICE}")
    shutil.rmtree(folder, ignore_errors=True)
    packages = folder / "packages"
    packages.mkdir(parents=True)
    listed = missing()
    if not listed:
        # The lists of packages are missing on a new machine.
        subprocess.run(["apt-get", "update"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        listed = missing()
    if not listed:
        raise Failed(f"apt-get does not find {' and '.join(PACKAGES)}: {ADVICE}")
    log = folder / "apt.log"
    with log.open("w") as out:
        command = ["apt-get", "download", *listed]
        if subprocess.run(command, cwd=packages, stdout=out, stderr=subprocess.STDOUT).returncode != 0:
            raise Failed(f"apt-get could not download Chromium ({log}): {ADVICE}")
    for package in packages.glob("*.deb"):
        if subprocess.run(["dpkg", "-x", str(package), str(root)]).returncode != 0:
            raise Failed(f"{package.name} could not be unpacked: {ADVICE}")
    shutil.rmtree(packages)
    (folder / "complete").touch()


def missing() -> list:
    """The packages to download: those above, and the dependencies that this machine lacks."""
    command = ["apt-get", "--simulate", "--no-install-recommends", "install", *PACKAGES]
    simulated = subprocess.run(command, capture_output=True, text=True)
    if simulated.returncode != 0:
        return []
    needed = [line.split()[1] for line in simulated.stdout.splitlines() if line.startswith("Inst ")]
    return sorted({*needed, *PACKAGES})


def fonts(folder: Path, root: Path) -> Path:
    path = folder / "fonts.conf"
    path.write_text(
        f"""<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{root / "usr/share/fonts"}</dir><cachedir>{folder / "font-cache"}</cachedir></fontconfig>
"""
    )
    return path


def check(described: dict, arguments=()) -> int:
    """Runs the tests against a deployed stack; returns the exit code."""
    say("testing the console in Chromium")
    chromium = installed(LOCAL / "browser")
    environment = {**os.environ, "AIAS_BROWSER": json.dumps({**described, "chromium": chromium})}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", str(ROOT / "tests" / "browser"), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    # Against a stack that runs already: `python infra/local/browser.py URL ISSUER [arguments of pytest]`.
    url, issuer, *rest = sys.argv[1:]
    sys.exit(check({"url": url, "issuer": issuer}, rest))
