"""`python infra/local run|test|watch|bench`: see the Makefile."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import contract
import demo
import rival
from build import ROOT, Failed, build, say, target_folder
from stack import LOCAL, Stack, free_ports


def on_signal(*_):
    # Once: what is ended in order must not be interrupted.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run():
    port, state = int(os.environ.get("PORT") or 4566), LOCAL / "run"
    path = LOCAL / "demo.env"
    if os.environ.get("CLEAN") == "1":
        say("beginning anew")
        shutil.rmtree(state, ignore_errors=True)
        path.unlink(missing_ok=True)
    stack = Stack("aias", port, state)
    try:
        say("starting the local AWS")
        stack.start()
        say("deploying template.yaml")
        stack.deploy()
        stack.wait_healthy()
        say("making the demo tenant")
        demo.show(demo.make(stack, path), path)
        while stack.process.poll() is None:
            time.sleep(0.5)
        raise Failed(f"the local AWS ended by itself: see {state / 'emulator.log'}")
    finally:
        stack.stop()


def nextest():
    """The test runner: the machine's own, or one installed into the checkout."""
    if shutil.which("cargo-nextest"):
        return ["cargo", "nextest"]
    own = LOCAL / "cargo"
    if not (own / "bin" / "cargo-nextest").exists():
        say("installing cargo-nextest into .local (once)")
        command = ["cargo", "install", "cargo-nextest", "--version", "0.9.143", "--locked", "--root", str(own)]
        if subprocess.run(command, cwd=ROOT).returncode != 0:
            raise Failed("cargo-nextest could not be installed: see the message above")
    return [str(own / "bin" / "cargo-nextest"), "nextest"]


def test():
    """Everything, with one deployed stack for the tests that want it. The runner speaks last."""
    build(["--workspace"])
    runner = nextest()
    contract.check(LOCAL / "contract")
    state = LOCAL / "test"
    shutil.rmtree(state, ignore_errors=True)
    stack = Stack("aias-test", free_ports(), state)
    try:
        say("starting the local AWS for the tests")
        stack.start()
        say("deploying template.yaml")
        stack.deploy()
        stack.wait_healthy()
        described = {
            "url": stack.url,
            "stack": stack.name,
            "issuer": stack.issuer.url,
            "python": sys.executable,
            "log": str(state / "emulator.log"),
            "bin": str(target_folder()),
            "stripe_webhook_secret": stack.stripe_webhook_secret,
            **stack.outputs,
        }
        file = state / "stack.json"
        file.write_text(json.dumps(described))
        environment = {**os.environ, "AIAS_STACK": str(file)}
        arguments = sys.argv[2:] or ["--workspace"]
        code = subprocess.run([*runner, "run", *arguments], cwd=ROOT, env=environment).returncode
    finally:
        stack.stop()
    if code == 0:
        shutil.rmtree(state, ignore_errors=True)
    return code


def watch():
    """The local services, and the functions by `cargo lambda watch` on the same routes."""
    port = int(os.environ.get("PORT") or 4566)
    stack = Stack("aias", port, LOCAL / "run")
    build()
    watcher = None
    try:
        stack.start()
        stack.deploy()
        values = demo.make(stack, LOCAL / "demo.env")
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": stack.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "TABLE_NAME": stack.outputs["TableName"],
            "BUCKET_NAME": stack.outputs["BucketName"],
            "RUNS_QUEUE_URL": stack.outputs["RunsQueueUrl"],
            "KEYRING_SECRET_ARN": stack.outputs["KeyringSecretArn"],
            "TENANT_ROLE_ARN": stack.tenant_role(),
            "OUTBOUND_NETWORKS": "127.0.0.0/8",
            "STRIPE_API_URL": stack.stripe_url,
            "STRIPE_API_KEY_ARN": stack.outputs["StripeApiKeySecretArn"],
            "STRIPE_WEBHOOK_SECRET_ARN": stack.outputs["StripeWebhookSecretArn"],
            "OIDC_ISSUER": stack.issuer.url,
            "OIDC_AUDIENCE": "aias",
            "AWS_LAMBDA_FUNCTION_NAME": "watch",
        }
        watched = str(port + 2)
        print(f"\nThe functions, rebuilt on every change, answer at http://127.0.0.1:{watched}")
        print(f"    curl -s http://127.0.0.1:{watched}/api/workflows -H 'authorization: Bearer {values['AIAS_API_KEY']}'")
        print("Runs are executed by the deployed executor.\n", flush=True)
        command = [str(LOCAL / "tools" / "bin" / "cargo-lambda"), "lambda", "watch", "--invoke-address", "127.0.0.1", "--invoke-port", watched]
        watcher = subprocess.Popen(command, cwd=ROOT, env=environment)
        return watcher.wait()
    finally:
        if watcher and watcher.poll() is None:
            watcher.terminate()
            watcher.wait(20)
        stack.stop()


def bench():
    """All figures: release binaries, one after the other and deployed; see docs/benchmarks.md."""
    build()
    functions = sorted(folder.name for folder in (ROOT / "functions").iterdir() if folder.is_dir())
    say("building the functions as they are deployed (the first time takes a quarter of an hour)")
    # The no-op by itself: together, the functions would get the features of its libraries, too.
    for names in (functions, ["aias-bench"]):
        packages = [argument for name in names for argument in ("-p", name)]
        if subprocess.run(["cargo", "build", "--release", "--bins", *packages], cwd=ROOT).returncode != 0:
            raise Failed("the functions do not build: see the compiler's message above")
    state = LOCAL / "bench"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    figures = state / "engine.txt"
    with figures.open("w") as file:
        for package, name in (("aias-engine", "order"), ("aias-sandbox", "sandbox")):
            # Each bench by itself: what it compares is in one process and takes turns.
            command = ["cargo", "bench", "-p", package, "--bench", name]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as printing:
                for line in printing.stdout:
                    print(line, end="", flush=True)
                    file.write(line)
            if printing.returncode != 0:
                raise Failed(f"the benchmark of {package} failed: see above")
    port, beside = free_ports(), None
    stack = Stack("aias-bench", port, state, "release")
    try:
        say("deploying template.yaml with release binaries")
        stack.start()
        stack.deploy()
        stack.wait_healthy()
        environment = {
            **os.environ,
            **demo.make(stack, state / "demo.env"),
            "AIAS_RELEASE": str(target_folder("release")),
            "AIAS_ENGINE_FIGURES": str(figures),
        }
        # The port that `make watch` would take.
        beside = rival.Rival(LOCAL / "rival", state / "rival", port + 2)
        environment |= beside.environment()
        # In the profile of the tests, whose crates are built already: only the functions are measured.
        command = ["cargo", "bench", "--profile", "dev", "-p", "aias-bench"]
        code = subprocess.run(command, cwd=ROOT, env=environment).returncode
    finally:
        if beside:
            beside.stop()
        stack.stop()
    if code == 0:
        shutil.rmtree(state, ignore_errors=True)
    return code


if __name__ == "__main__":
    # Also where the shell that started this ignores them.
    for number in SIGNALS:
        signal.signal(number, on_signal)
    commands = {"run": run, "test": test, "watch": watch, "bench": bench}
    try:
        sys.exit(commands[sys.argv[1]]())
    except Failed as error:
        sys.exit(f"failed: {error}")
    except KeyboardInterrupt:
        sys.exit(130 if sys.argv[1] == "test" else 0)
