"""`aias serve` on this machine, with a local issuer and the mock of Stripe's API."""

import json
import sys
from pathlib import Path

from build import target_folder
from issuer import AUDIENCE
from processes import LocalStack


class Embedded(LocalStack):
    def __init__(self, port: int, state: Path, profile: str = "debug"):
        super().__init__(port, state, "aias.log")
        self.data = state / "data"
        self.program = str(target_folder(profile) / "aias")

    def start(self):
        self.prepare()
        config = self.state / "aias.yaml"
        # JSON is YAML.
        config.write_text(json.dumps(self.settings(), indent=2))
        options = ["--data", str(self.data), "--listen", f"127.0.0.1:{self.port}", "--config", str(config)]
        self.launch("aias serve", [self.program, "serve", *options], None, "/readyz")
        secrets = json.loads((self.data / "secrets.json").read_text())
        self.stripe_webhook_secret = secrets["stripe-webhook-secret"]["current"]
        self.start_stripe(secrets["stripe-api-key"]["current"])

    def settings(self):
        return {
            "OidcIssuer": self.issuer.url,
            "OidcAudience": AUDIENCE,
            "AllowedOrigins": ["http://localhost:3000"],
            "StripeApiUrl": self.stripe_url,
            "OutboundNetworks": "127.0.0.0/8",
        }

    def described(self):
        """What the tests need to know."""
        return {
            "url": self.url,
            "issuer": self.issuer.url,
            "python": sys.executable,
            "bin": str(target_folder()),
            "function_log": str(self.log_file),
            "stripe_webhook_secret": self.stripe_webhook_secret,
        }
