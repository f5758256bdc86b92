"""Updates the vendored scripts of the console from their npm packages: `make vendor`.

The versions are those of `vendor/package-lock.json`, whose digests the npm client checks. CodeMirror is many modules, so
esbuild makes one script of what `vendor/codemirror.js` names. The digests of the files are written to `vendor.json`, which
a test compares.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OWN = ROOT / "infra" / "vendor"
TARGET = ROOT / "functions" / "console" / "assets" / "vendor"
COPIED = {
    "htmx.min.js": "htmx.org/dist/htmx.min.js",
    "hx-csp.min.js": "htmx.org/dist/ext/hx-csp.min.js",
    "hx-ptag.min.js": "htmx.org/dist/ext/hx-ptag.min.js",
}
BUNDLE = "codemirror.min.js"


def main():
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        for name in ("package.json", "package-lock.json", "codemirror.js"):
            shutil.copy(OWN / name, folder)
        command(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        command(
            folder, "node_modules/.bin/esbuild", "codemirror.js", "--bundle", "--minify", "--format=iife",
            "--global-name=CodeMirror", "--target=es2022", "--metafile=meta.json", f"--outfile={BUNDLE}",
        )
        modules = folder / "node_modules"
        contents = {name: (modules / file).read_bytes() for name, file in COPIED.items()}
        contents[BUNDLE] = (folder / BUNDLE).read_bytes()
        bundled = json.loads((folder / "meta.json").read_text())["outputs"][BUNDLE]["inputs"]
        names = {"htmx.org"} | {package_of(file) for file in bundled if "/" in file}
        packages = {name: json.loads((modules / name / "package.json").read_text()) for name in sorted(names)}
        licenses = [f"{name} {of['version']}\n\n{(modules / name / 'LICENSE').read_text().strip()}\n" for name, of in packages.items()]
        contents["LICENSE"] = ("\n" + "-" * 80 + "\n\n").join(licenses).encode()
    for name, content in contents.items():
        (TARGET / name).write_bytes(content)
    record = {
        "packages": [f"{name}@{of['version']}" for name, of in packages.items()],
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())},
    }
    (TARGET / "vendor.json").write_text(json.dumps(record, indent=2) + "\n")


def command(folder, *words):
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(words)}: {done.stderr.strip()}")


def package_of(file):
    """The name of the package that a file of `node_modules` belongs to."""
    parts = file.removeprefix("node_modules/").split("/")
    return "/".join(parts[:2]) if parts[0].startswith("@") else parts[0]


if __name__ == "__main__":
    main()
