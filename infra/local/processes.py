"""The ports and processes of local stacks."""

import ctypes
import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from build import ROOT, Failed, target_folder
from issuer import Issuer

LOCAL = ROOT / ".local"
# The ports of the local AWS, the OIDC issuer and the Stripe mock. `make watch` uses the one in between.
OFFSETS = (0, 1, 3)


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports():
    """The first port of a range in which all ports of a stack are free."""
    for port in range(21000, 29000, 4):
        if all(is_free(port + offset) for offset in OFFSETS):
            return port
    raise Failed("no free port between 21000 and 29000: stop the programs that use them")


def end_with_parent():
    """Ends a child when this process ends, for whatever reason (Linux)."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    except (AttributeError, OSError):
        pass


class LocalStack:
    """AIAS on this machine, with an issuer and a mock of Stripe's API."""

    def __init__(self, port: int, state: Path, log: str):
        self.port, self.state, self.log_file = port, state, state / log
        self.url = f"http://127.0.0.1:{port}"
        self.stripe_url = f"http://127.0.0.1:{port + 3}/"
        self.process = self.issuer = self.stripe = self.stripe_webhook_secret = None

    def prepare(self):
        """Checks the ports, and starts the issuer."""
        for port in (self.port + offset for offset in OFFSETS):
            if not is_free(port):
                raise Failed(f"port {port} is in use: stop the program that uses it, or choose another port with PORT=…")
        self.state.mkdir(parents=True, exist_ok=True)
        self.log = self.log_file.open("ab")
        self.issuer = Issuer(self.port + 1, self.state / "issuer")

    def launch(self, name, command, environment, health):
        """Starts the process, and waits until it is healthy."""
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdout=self.log,
            stderr=self.log,
            preexec_fn=end_with_parent,
            # In a session of its own, so that Ctrl-C only reaches this process, which then stops it.
            start_new_session=True,
        )
        for _ in range(1500):
            if self.process.poll() is not None:
                lines = self.log_file.read_text().strip().splitlines()
                raise Failed(f"{name} stopped at its start: {lines[-1] if lines else 'it wrote nothing'} (log: {self.log_file})")
            try:
                urllib.request.urlopen(f"{self.url}{health}", timeout=2).close()
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.02)
        raise Failed(f"{name} did not respond within 30 s: its log is {self.log_file}")

    def start_stripe(self, api_key):
        """Starts the mock of Stripe's API, which accepts this key."""
        settings = {
            "port": self.port + 3,
            "api_key": api_key,
            "webhook_url": f"{self.url}/api/stripe/webhook",
            "webhook_secret": self.stripe_webhook_secret,
        }
        self.stripe = subprocess.Popen(
            [str(target_folder() / "stripe-mock")],
            stdin=subprocess.PIPE,
            stdout=self.log,
            stderr=self.log,
            preexec_fn=end_with_parent,
            start_new_session=True,
        )
        self.stripe.stdin.write(json.dumps(settings).encode() + b"\n")
        self.stripe.stdin.close()

    def stop(self):
        if self.issuer:
            self.issuer.stop()
        if self.stripe:
            self.stripe.kill()
            self.stripe.wait()
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(50)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
