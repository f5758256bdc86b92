"""Lists and pages of a tenant with very many runs, measured with AIAS in one process."""

import http.client
import json
import statistics
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

import demo
from build import Failed, say

CLIENTS = 8
# Of a run that is still pending after the last event was accepted.
DRAIN_SECONDS = 900

PAGE = """\
# Many runs

For operators and contributors. `make many-runs` writes this page: it posts events to AIAS in one process until a tenant has the runs, waits
until all have ended, and then makes one request after another. The list is that of the console and of the API, newest runs first, 100 on a
page. CPU is that of the whole process, with the local table. Each run completed, so a filter for faulted runs reads all of them.

| | |
|---|---|
{facts}

| request | requests | median, ms | p99, ms | longest, ms | CPU, ms |
|---|---|---|---|---|---|
{rows}
"""


class Measured:
    def __init__(self, embedded, values):
        self.embedded, self.values = embedded, values
        self.url = urllib.parse.urlsplit(values["AIAS_URL"])
        self.connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=120)
        self.facts, self.rows = [], []

    def request(self, method, path, headers, body=None):
        """The response, its body, and the milliseconds that it took."""
        started = time.perf_counter()
        self.connection.request(method, path, body=body, headers=headers)
        response = self.connection.getresponse()
        content = response.read()
        return response, content, (time.perf_counter() - started) * 1e3

    def get(self, path, headers):
        response, content, took = self.request("GET", path, headers)
        if response.status != 200:
            raise Failed(f"GET {path}: {response.status} {content[:300]}")
        return content, took

    def cpu_ms(self):
        fields = Path(f"/proc/{self.embedded.process.pid}/stat").read_text().split(")")[1].split()
        # The user and system time in hundredths of a second.
        return (int(fields[11]) + int(fields[12])) * 10

    def memory_mb(self):
        status = Path(f"/proc/{self.embedded.process.pid}/status").read_text()
        return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def row(self, name, times, cpu_ms):
        times.sort()
        last = times[min(len(times) - 1, int(len(times) * 0.99))]
        figures = (statistics.median(times), last, times[-1], cpu_ms / len(times))
        self.rows.append(f"| {name} | {len(times)} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |")
        print(self.rows[-1], flush=True)

    def repeat(self, name, path, headers, times):
        before = self.cpu_ms()
        taken = [self.get(path, headers)[1] for _ in range(times)]
        self.row(name, taken, self.cpu_ms() - before)

    def follow(self, name, path, headers):
        """All pages of a list; returns how many items they have."""
        before, taken, items, cursor = self.cpu_ms(), [], 0, ""
        while cursor is not None:
            content, took = self.get(path + cursor, headers)
            page = json.loads(content)
            taken.append(took)
            items += len(page["data"])
            cursor = page["next_cursor"] and "&cursor=" + urllib.parse.quote(page["next_cursor"])
        self.row(name, taken, self.cpu_ms() - before)
        return items

    def post(self, events):
        """Posts events, each until it is accepted."""
        target = urllib.parse.urlsplit(self.values["AIAS_WEBHOOK_URL"])
        numbers, lock, failures = iter(range(events)), threading.Lock(), []

        def client():
            connection = http.client.HTTPConnection(target.hostname, target.port, timeout=60)
            while not failures:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                body = json.dumps({"id": f"e-{number}", "order": number, "items": [{"price": 2, "quantity": 3}]})
                headers = {"content-type": "application/json", "idempotency-key": f"e-{number}"}
                while True:
                    connection.request("POST", target.path, body=body, headers=headers)
                    response = connection.getresponse()
                    content = response.read()
                    if response.status == 202:
                        break
                    if response.status not in (429, 503):
                        failures.append(f"the response to an event is {response.status}: {content[:300]}")
                        return
                    time.sleep(0.2)

        clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        if failures:
            raise Failed(failures[0])

    def drain(self, headers):
        until = time.monotonic() + DRAIN_SECONDS
        for status in ("pending", "running"):
            while json.loads(self.get(f"/api/runs?status={status}&limit=1", headers)[0])["data"]:
                if time.monotonic() > until:
                    raise Failed(f"runs are {status} {DRAIN_SECONDS} s after the last event")
                time.sleep(2)


def measure(embedded, runs, page):
    values = demo.make(embedded, embedded.state / "demo.env")
    limits = json.dumps({"events_per_second": 600, "runs_per_month": 10 * runs})
    command = [embedded.program, "set-enterprise", "--data", str(embedded.data), "--tenant", values["AIAS_TENANT_ID"]]
    subprocess.run([*command, "--limits", limits], check=True)
    own = Measured(embedded, values)
    program = {"authorization": f"Bearer {values['AIAS_API_KEY']}"}
    say(f"posting {runs} events")
    started = time.monotonic()
    own.post(runs)
    posted = time.monotonic()
    own.drain(program)
    own.facts += [("runs", runs), ("until the last event was accepted", f"{posted - started:.0f} s"), ("until all runs had ended", f"{time.monotonic() - started:.0f} s")]
    say("measuring")
    own.repeat("`GET /api/runs`, the newest", "/api/runs?limit=100", program, 100)
    listed = own.follow("`GET /api/runs`, page by page to the oldest", "/api/runs?limit=100", program)
    if listed < runs:
        raise Failed(f"the list has {listed} runs of {runs}")
    own.follow("`GET /api/runs?status=faulted`, to its end", "/api/runs?limit=100&status=faulted", program)
    own.repeat("`GET /api/runs/counts`", "/api/runs/counts", program, 20)
    form = urllib.parse.urlencode({"api_key": values["AIAS_API_KEY"], "return_to": "/dashboard"})
    response, _, _ = own.request("POST", "/dashboard/sign-in", {"content-type": "application/x-www-form-urlencoded"}, form)
    person = {"cookie": response.getheader("set-cookie").split(";")[0]}
    for path, times in (("/dashboard/runs", 50), ("/dashboard/runs?status=faulted", 5), ("/dashboard", 10), ("/dashboard/diagnostics", 10)):
        own.repeat(f"`{path}`", path, person, times)
    run = json.loads(own.get("/api/runs?limit=1", program)[0])["data"][0]["id"]
    own.repeat("`/dashboard/runs/{id}`", f"/dashboard/runs/{run}", person, 50)
    own.facts.append(("peak memory of the process", f"{own.memory_mb()} MB"))
    facts = "\n".join(f"| {name} | {value} |" for name, value in own.facts)
    page.write_text(PAGE.format(facts=facts, rows="\n".join(own.rows)))
