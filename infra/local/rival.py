"""Node-RED and Restate with the demo's workflow, measured in the same run as AIAS. Installed from npm in fixed versions."""

import json
import os
import platform
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from build import Failed, say
from processes import end_with_parent

NODE_RED = "4.1.8"
RESTATE, RESTATE_SDK = "1.7.12", "1.17.2"

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


def install(tools: Path, name: str, packages: dict) -> bool:
    """Installs packages of npm, unless they are there; false if that is not possible."""
    if not (shutil.which("npm") and shutil.which("node")):
        say(f"skipped: {name} needs node and npm")
        return False

    def version(package):
        manifest = tools / "node_modules" / package / "package.json"
        return json.loads(manifest.read_text())["version"] if manifest.exists() else None

    if all(version(package) == wanted for package, wanted in packages.items()):
        return True
    say(f"installing {name} into {tools}")
    tools.mkdir(parents=True, exist_ok=True)
    wanted = [f"{package}@{version}" for package, version in packages.items()]
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(tools), *wanted]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
        say(f"skipped: npm could not install {name}")
        return False
    return True


class Rival:
    """Another product, in a process of its own."""

    name = ""

    def __init__(self, state: Path):
        self.processes, self.state, self.file = [], state, state / "artifacts.jsonl"
        state.mkdir(parents=True, exist_ok=True)
        self.file.unlink(missing_ok=True)
        self.log = (state / "log").open("wb")

    def run(self, command, **environment):
        process = subprocess.Popen(
            command,
            stdout=self.log,
            stderr=self.log,
            cwd=self.state,
            env={**os.environ, "NODE_ENV": "production", **environment},
            preexec_fn=end_with_parent,
            start_new_session=True,
        )
        self.processes.append(process)

    def wait(self, ready):
        """Waits until `ready` returns something true."""
        for _ in range(300):
            try:
                if ready():
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            time.sleep(0.1)
        self.stop()
        raise Failed(f"{self.name} did not respond within 30 s: its log is {self.state / 'log'}")

    def post(self, url, body):
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()

    def first_artifact(self):
        """The first artifact shows that all of it works."""
        self.post(self.url, b'{"id": "first"}')
        return self.file.exists()

    def loads(self):
        """What the benchmark needs to know."""
        if not self.processes:
            return []
        pids = [process.pid for process in self.processes]
        return [{"name": self.name, "webhook": self.url, "file": str(self.file), "pids": pids}]

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()


class NodeRed(Rival):
    name = f"Node-RED {NODE_RED}"

    def __init__(self, tools: Path, state: Path, port: int):
        super().__init__(state)
        self.url = f"http://127.0.0.1:{port}/webhook"
        if not install(tools, self.name, {"node-red": NODE_RED}):
            return
        (state / "flow.json").write_text(json.dumps(flow(self.file)))
        settings = {"flowFile": "flow.json", "httpAdminRoot": False, "uiHost": "127.0.0.1", "uiPort": port}
        (state / "settings.js").write_text(f"module.exports = {json.dumps(settings)}\n")
        self.run(["node", str(tools / "node_modules" / "node-red" / "red.js"), "--userDir", str(state)])
        self.wait(self.first_artifact)


SERVICE = """\
// Node 20 lacks it.
Promise.withResolvers ??= function () {
  const all = {};
  all.promise = new Promise((resolve, reject) => Object.assign(all, {resolve, reject}));
  return all;
};
const restate = require("@restatedev/restate-sdk");
const fs = require("node:fs/promises");
const [port, file] = [Number(process.argv[2]), process.argv[3]];

const orders = restate.service({
  name: "orders",
  handlers: {
    run: async (ctx, body) => {
      const picked = await ctx.run("pick", () => ({order: body.id || "unknown", lines: body.line_items || []}));
      const total = await ctx.run("total", () => picked.lines.reduce((sum, line) => sum + line.price * line.quantity, 0));
      const output = {at: Date.now(), order: picked.order, total, label: total > 100 ? "large" : "small"};
      await fs.appendFile(file, JSON.stringify(output) + "\\n");
      return output;
    },
  },
});
restate.serve({services: [orders], port});
"""


class Restate(Rival):
    """One node with its defaults, and a service with two durable steps."""

    name = f"Restate {RESTATE}"

    def __init__(self, tools: Path, state: Path, port: int):
        super().__init__(state)
        self.url = f"http://127.0.0.1:{port}/orders/run/send"
        packages = {"@restatedev/restate-server": RESTATE, "@restatedev/restate-sdk": RESTATE_SDK}
        if not install(tools, self.name, packages):
            return
        ingress, admin, node, service = (f"127.0.0.1:{port + offset}" for offset in range(4))
        modules = tools / "node_modules"
        (state / "service.js").write_text(SERVICE)
        self.run(["node", "service.js", str(port + 3), str(self.file)], NODE_PATH=str(modules))
        machine = "arm64" if platform.machine() in ("arm64", "aarch64") else "x64"
        server = modules / "@restatedev" / f"restate-server-linux-{machine}" / "bin" / "restate-server"
        self.run(
            [str(server), "--base-dir", str(state / "data")],
            RESTATE_INGRESS__BIND_ADDRESS=ingress,
            RESTATE_ADMIN__BIND_ADDRESS=admin,
            RESTATE_BIND_ADDRESS=node,
            RESTATE_ADVERTISED_ADDRESS=f"http://{node}",
        )

        def registered():
            self.post(f"http://{admin}/deployments", json.dumps({"uri": f"http://{service}"}).encode())
            return True

        self.wait(registered)
        self.wait(self.first_artifact)
