"""Node-RED with the demo's workflow, measured in the same run as AIAS. Installed from npm in a fixed version."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from build import Failed, say
from stack import end_with_parent

VERSION = "4.1.8"
NAME = f"Node-RED {VERSION}"

PICK = """msg.payload = {id: msg.payload.id, order: msg.payload.id || "unknown", lines: msg.payload.line_items || []}; return msg;"""
TOTAL = """msg.payload = {order: msg.payload.order, total: msg.payload.lines.reduce((sum, line) => sum + line.price * line.quantity, 0)}; return msg;"""
LARGE = """msg.payload = {order: msg.payload.order, total: msg.payload.total, label: "large"}; return msg;"""
SMALL = """msg.payload = {order: msg.payload.order, total: msg.payload.total, label: "small"}; return msg;"""
DONE = """msg.payload = JSON.stringify(Object.assign({at: Date.now()}, msg.payload)); return msg;"""


def function(name, code, to):
    return {"id": name, "type": "function", "z": "t", "name": name, "func": code, "outputs": 1, "wires": [[to]]}


def flow(file: Path):
    nodes = nodes_of(file)
    # A node without coordinates is treated as a configuration.
    placed = [{**node, "x": 100, "y": 40 * place} for place, node in enumerate(nodes, 1)]
    return [{"id": "t", "type": "tab", "label": "order-total"}, *placed]


def nodes_of(file: Path):
    return [
        {"id": "in", "type": "http in", "z": "t", "url": "/webhook", "method": "post", "wires": [["accepted", "pick"]]},
        # Responds at once, like AIAS, but nothing is durable at that point.
        {"id": "accepted", "type": "http response", "z": "t", "statusCode": "202", "wires": []},
        function("pick", PICK, "total"),
        function("total", TOTAL, "size"),
        {
            "id": "size",
            "type": "switch",
            "z": "t",
            "property": "payload.total",
            "propertyType": "msg",
            "rules": [{"t": "gt", "v": "100", "vt": "num"}, {"t": "else"}],
            "checkall": "false",
            "outputs": 2,
            "wires": [["large"], ["small"]],
        },
        function("large", LARGE, "done"),
        function("small", SMALL, "done"),
        function("done", DONE, "artifact"),
        {
            "id": "artifact",
            "type": "file",
            "z": "t",
            "filename": str(file),
            "filenameType": "str",
            "appendNewline": True,
            "overwriteFile": "false",
            "wires": [[]],
        },
    ]


class Rival:
    """Starts Node-RED, if npm is installed."""

    def __init__(self, tools: Path, state: Path, port: int):
        self.process = None
        self.url, self.file = f"http://127.0.0.1:{port}/webhook", state / "artifacts.jsonl"
        if not (shutil.which("npm") and shutil.which("node")):
            say(f"skipped: {NAME} needs node and npm")
            return
        red = tools / "node_modules" / "node-red" / "red.js"
        manifest = red.with_name("package.json")
        if not manifest.exists() or json.loads(manifest.read_text())["version"] != VERSION:
            say(f"installing {NAME} into {tools}")
            tools.mkdir(parents=True, exist_ok=True)
            command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(tools), f"node-red@{VERSION}"]
            if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
                say(f"skipped: npm could not install {NAME}")
                return
        state.mkdir(parents=True, exist_ok=True)
        self.file.unlink(missing_ok=True)
        (state / "flow.json").write_text(json.dumps(flow(self.file)))
        settings = {"flowFile": "flow.json", "httpAdminRoot": False, "uiHost": "127.0.0.1", "uiPort": port}
        (state / "settings.js").write_text(f"module.exports = {json.dumps(settings)}\n")
        with (state / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["node", str(red), "--userDir", str(state)],
                stdout=log,
                stderr=log,
                env={**os.environ, "NODE_ENV": "production"},
                preexec_fn=end_with_parent,
                start_new_session=True,
            )
        for _ in range(300):
            try:
                request = urllib.request.Request(self.url, b'{"id": "first"}', {"content-type": "application/json"})
                urllib.request.urlopen(request, timeout=2).close()
                # The first artifact shows that the whole flow is deployed.
                if self.file.exists():
                    return
                time.sleep(0.1)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        self.stop()
        raise Failed(f"{NAME} did not respond within 30 s: its log is {state / 'log'}")

    def environment(self):
        if not self.process:
            return {}
        return {"RIVAL_NAME": NAME, "RIVAL_URL": self.url, "RIVAL_FILE": str(self.file)}

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
