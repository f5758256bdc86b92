"""Updates the vendored scripts of the console from their npm packages: `make vendor`.

The npm client checks the package's integrity. The digests of the files are written to `vendor.json`, which a test compares.
"""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "functions" / "console" / "assets" / "vendor"
PACKAGE = "htmx.org@4.0.1"
FILES = {
    "htmx.min.js": "package/dist/htmx.min.js",
    "hx-csp.min.js": "package/dist/ext/hx-csp.min.js",
    "hx-ptag.min.js": "package/dist/ext/hx-ptag.min.js",
    "LICENSE": "package/LICENSE",
}


def main():
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(["npm", "pack", "--json", PACKAGE], cwd=folder, capture_output=True, text=True)
        if packed.returncode != 0:
            sys.exit(f"failed: npm could not fetch {PACKAGE}: {packed.stderr.strip()}")
        (described,) = json.loads(packed.stdout)
        with tarfile.open(Path(folder) / described["filename"]) as archive:
            contents = {name: archive.extractfile(path).read() for name, path in FILES.items()}
    for name, content in contents.items():
        (TARGET / name).write_bytes(content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())}
    record = {"package": PACKAGE, "integrity": described["integrity"], "sha256": digests}
    (TARGET / "vendor.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
