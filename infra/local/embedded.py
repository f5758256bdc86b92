"""`aias serve` on this machine, with a local issuer and the mock of Stripe's API."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from build import Failed, target_folder
from issuer import AUDIENCE, Issuer
from processes import OFFSETS, end_with_parent, is_free, start_stripe


class Embedded:
    def __init__(self, port: int, state: Path, profile: str = "debug"):
        self.port, self.state = port, state
        self.program = str(target_folder(profile) / "aias")
        self.url = f"http://127.0.0.1:{port}"
        self.stripe_url = f"http://127.0.0.1:{port + 3}/"
        self.process = self.issuer = self.stripe = self.stripe_webhook_secret = None

    def start(self):
        for port in (self.port + offset for offset in OFFSETS):
            if not is_free(port):
                raise Failed(f"port {port} is in use: stop the program that uses it, or choose another port with PORT=…")
        self.state.mkdir(parents=True, exist_ok=True)
        self.issuer = Issuer(self.port + 1, self.state / "issuer")
        config = self.state / "aias.yaml"
        # JSON is YAML.
        config.write_text(json.dumps(self.settings(), indent=2))
        self.log = (self.state / "aias.log").open("ab")
        command = [self.program, "serve", "--listen", f"127.0.0.1:{self.port}", "--config", str(config)]
        self.process = subprocess.Popen(
            [*command, "--data", str(self.state / "data")],
            stdout=self.log,
            stderr=self.log,
            preexec_fn=end_with_parent,
            # In a session of its own, so that Ctrl-C only reaches this process, which then stops it.
            start_new_session=True,
        )
        self.wait_ready()
        secrets = json.loads((self.state / "data" / "secrets.json").read_text())
        self.stripe_webhook_secret = secrets["stripe-webhook-secret"]["current"]
        self.stripe = start_stripe(self, secrets["stripe-api-key"]["current"])

    def described(self):
        """What the tests need to know."""
        return {
            "url": self.url,
            "issuer": self.issuer.url,
            "python": sys.executable,
            "bin": str(target_folder()),
            "function_log": str(self.state / "aias.log"),
            "stripe_webhook_secret": self.stripe_webhook_secret,
        }

    def settings(self):
        return {
            "OidcIssuer": self.issuer.url,
            "OidcAudience": AUDIENCE,
            "AllowedOrigins": ["http://localhost:3000"],
            "StripeApiUrl": self.stripe_url,
            "OutboundNetworks": "127.0.0.0/8",
        }

    def wait_ready(self):
        for _ in range(1500):
            if self.process.poll() is not None:
                lines = (self.state / "aias.log").read_text().strip().splitlines()
                raise Failed(f"aias serve has stopped: {lines[-1] if lines else 'it wrote nothing'}")
            try:
                urllib.request.urlopen(f"{self.url}/readyz", timeout=2).close()
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.02)
        raise Failed(f"aias serve did not respond within 30 s: its log is {self.state / 'aias.log'}")

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
