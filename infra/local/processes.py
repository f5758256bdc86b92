"""The ports and processes of local stacks."""

import ctypes
import json
import signal
import socket
import subprocess

from build import ROOT, Failed, target_folder

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
    """Ends the emulator when this process ends, for whatever reason (Linux)."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    except (AttributeError, OSError):
        pass


def start_stripe(stack, api_key):
    """Starts the mock of Stripe's API for a stack that has this key."""
    settings = {
        "port": stack.port + 3,
        "api_key": api_key,
        "webhook_url": f"{stack.url}/api/stripe/webhook",
        "webhook_secret": stack.stripe_webhook_secret,
    }
    process = subprocess.Popen(
        [str(target_folder() / "stripe-mock")],
        stdin=subprocess.PIPE,
        stdout=stack.log,
        stderr=stack.log,
        preexec_fn=end_with_parent,
        start_new_session=True,
    )
    process.stdin.write(json.dumps(settings).encode() + b"\n")
    process.stdin.close()
    return process
