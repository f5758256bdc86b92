"""`python infra/local run|deploy_local|test|unit|watch|bench|many_runs`: the commands of the Makefile. Each imports what only it needs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import demo
from build import ROOT, Failed, build, say, target_folder
from embedded import Embedded
from processes import LOCAL, free_ports


def on_signal(*_):
    # Ignore further signals, so that they do not interrupt the cleanup.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve_demo(stack, start, command, values):
    """Serves a stack with the demo tenant until Ctrl-C."""
    if os.environ.get("CLEAN") == "1":
        say("deleting the data of earlier runs")
        shutil.rmtree(stack.state, ignore_errors=True)
        values.unlink(missing_ok=True)
    try:
        start()
        say("creating the demo tenant")
        demo.show(demo.make(stack, values), values, command)
        while stack.process.poll() is None:
            time.sleep(0.5)
        raise Failed(f"{stack.process.args[0]} has stopped: its log is in {stack.state}")
    finally:
        stack.stop()


def run():
    """Serves AIAS in one process."""
    embedded = Embedded(int(os.environ.get("PORT") or 4566), LOCAL / "run")
    serve_demo(embedded, embedded.start, "make run", LOCAL / "demo.env")


def deploy_local():
    """Deploys the template to a local AWS."""
    from stack import Stack

    stack = Stack("aias", int(os.environ.get("PORT") or 4566), LOCAL / "deployed")

    def start():
        say("starting the local AWS")
        stack.start()
        say("deploying template.yaml")
        stack.deploy()
        stack.wait_healthy()

    serve_demo(stack, start, "make deploy-local", LOCAL / "deployed.env")


def nextest():
    """The command of cargo-nextest, which is installed into .local if it is missing."""
    if shutil.which("cargo-nextest"):
        return ["cargo", "nextest"]
    own = LOCAL / "cargo"
    if not (own / "bin" / "cargo-nextest").exists():
        say("installing cargo-nextest into .local (once)")
        command = ["cargo", "install", "cargo-nextest", "--version", "0.9.143", "--locked", "--root", str(own)]
        if subprocess.run(command, cwd=ROOT).returncode != 0:
            raise Failed("cargo-nextest could not be installed: its message is above")
    return [str(own / "bin" / "cargo-nextest"), "nextest"]


# Tests of the console that need what only the deployed stack has: IAM, and API Gateway.
DEPLOYED_PAGES = "leads_somewhere or dependencies or first_run or plan_is_bought or signs_in"


def test():
    """Runs all tests with AIAS in one process and with a deployed stack. The output ends with that of the test runner.

    With arguments, only those tests run, with the deployed stack, without the comparison of the API with its description, and without
    the tests of the console in a browser.
    """
    from stack import Stack

    build(["--workspace"])
    runner = nextest()
    if not sys.argv[2:]:
        test_embedded(runner)
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
        if not sys.argv[2:]:
            test_console(described, ["-k", DEPLOYED_PAGES])
        code = run_tests(runner, described, state, sys.argv[2:])
    finally:
        stack.stop()
    if code == 0:
        shutil.rmtree(state, ignore_errors=True)
    return code


def test_embedded(runner):
    """The tests from outside, with AIAS in one process."""
    import contract

    state = LOCAL / "test-embedded"
    shutil.rmtree(state, ignore_errors=True)
    embedded = Embedded(free_ports(), state)
    try:
        say("starting AIAS in one process for the tests")
        embedded.start()
        contract.check(embedded, demo.make(embedded, state / "demo.env")["AIAS_API_KEY"], state / "schemathesis.log")
        test_console(embedded.described(), [])
        if run_tests(runner, embedded.described(), state, ["--profile", "embedded"]) != 0:
            raise Failed("AIAS in one process does not do what the tests expect: the failures are above")
    finally:
        embedded.stop()
    shutil.rmtree(state, ignore_errors=True)


def test_console(described, arguments):
    import browser

    if browser.check(described, arguments) != 0:
        raise Failed("the console does not work in Chromium: the failures are above")


def run_tests(runner, described, state, arguments):
    file = state / "stack.json"
    file.write_text(json.dumps(described))
    environment = {**os.environ, "AIAS_STACK": str(file)}
    return subprocess.run([*runner, "run", "--workspace", *arguments], cwd=ROOT, env=environment).returncode


def unit():
    """Runs the tests that need no deployed stack; nextest counts the others as skipped."""
    build(["--workspace"])
    return subprocess.run([*nextest(), "run", "--workspace", "--profile", "unit", *sys.argv[2:]], cwd=ROOT).returncode


def watch():
    """Runs the local services, and the functions with `cargo lambda watch` on the same routes."""
    from stack import Stack

    port = int(os.environ.get("PORT") or 4566)
    stack = Stack("aias", port, LOCAL / "deployed")
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
            "DEAD_LETTER_QUEUE_URL": stack.outputs["DeadLetterQueueUrl"],
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
    """Measures all figures of docs/benchmarks.md with release binaries."""
    import rival
    from stack import Stack

    build()
    functions = sorted(folder.name for folder in (ROOT / "functions").iterdir() if folder.is_dir())
    say("building the functions for release (the first time takes a quarter of an hour)")
    # The no-op is built separately: together, the functions would get the features of its libraries.
    for profile, names in (("release", functions), ("release", ["aias-bench"]), ("embedded", ["aias"])):
        packages = [argument for name in names for argument in ("-p", name)]
        if subprocess.run(["cargo", "build", "--profile", profile, "--bins", *packages], cwd=ROOT).returncode != 0:
            raise Failed("the functions do not build: the compiler's message is above")
    state = LOCAL / "bench"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    figures = state / "engine.txt"
    with figures.open("w") as file:
        for package, name in (("aias-engine", "order"), ("aias-sandbox", "sandbox"), ("aias-domain", "verifier")):
            # Each benchmark compares in one process, in turns.
            command = ["cargo", "bench", "-p", package, "--bench", name]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as printing:
                for line in printing.stdout:
                    print(line, end="", flush=True)
                    file.write(line)
            if printing.returncode != 0:
                raise Failed(f"the benchmark of {package} failed: its output is above")
    loads, rivals, stack = [], [], None
    embedded = Embedded(free_ports(), state / "embedded", "embedded")
    try:
        say("starting AIAS in one process")
        embedded.start()
        loads.append({"name": "AIAS, one process", "pids": [embedded.process.pid], **signed_endpoint(embedded)})
        command = [embedded.program, "set-enterprise", "--data", str(embedded.data), "--tenant"]
        subprocess.run([*command, demo.read(embedded.state / "demo.env")["AIAS_TENANT_ID"]], check=True)
        port = free_ports()
        stack = Stack("aias-bench", port, state / "deployed", "release")
        say("deploying template.yaml with release binaries")
        stack.start()
        stack.deploy()
        stack.wait_healthy()
        loads.append({"name": "AIAS, local AWS", **signed_endpoint(stack)})
        # The port that `make watch` uses.
        rivals.append(rival.NodeRed(LOCAL / "rival", state / "node-red", port + 2))
        rivals.append(rival.Restate(LOCAL / "rival", state / "restate", free_ports()))
        environment = {
            **os.environ,
            "AIAS_RELEASE": str(target_folder("release")),
            "AIAS_ENGINE_FIGURES": str(figures),
            "AIAS_LOADS": json.dumps(loads + [load for each in rivals for load in each.loads()]),
        }
        # In the profile of the tests, which is built already: only the functions are measured.
        command = ["cargo", "bench", "--profile", "dev", "-p", "aias-bench"]
        code = subprocess.run(command, cwd=ROOT, env=environment).returncode
    finally:
        for started in (*rivals, stack, embedded):
            if started:
                started.stop()
    if code == 0:
        shutil.rmtree(state, ignore_errors=True)
    return code


def many_runs():
    """Measures the figures of docs/many-runs.md."""
    import many_runs as page

    build()
    if subprocess.run(["cargo", "build", "--profile", "embedded", "--bins", "-p", "aias"], cwd=ROOT).returncode != 0:
        raise Failed("AIAS does not build: the compiler's message is above")
    state = LOCAL / "many-runs"
    shutil.rmtree(state, ignore_errors=True)
    embedded = Embedded(free_ports(), state, "embedded")
    try:
        embedded.start()
        page.measure(embedded, int(os.environ.get("RUNS") or 100_000), ROOT / "docs" / "many-runs.md")
    finally:
        embedded.stop()
    shutil.rmtree(state, ignore_errors=True)


def signed_endpoint(stack):
    """The endpoint and the tenant of the demo, for the benchmark."""
    values = demo.make(stack, stack.state / "demo.env")
    return {
        "url": values["AIAS_URL"],
        "key": values["AIAS_API_KEY"],
        "webhook": values["AIAS_SIGNED_WEBHOOK_URL"],
        "secret": values["AIAS_SIGNED_WEBHOOK_SECRET"],
    }


if __name__ == "__main__":
    # Also if the parent shell ignores these signals.
    for number in SIGNALS:
        signal.signal(number, on_signal)
    commands = {each.__name__: each for each in (run, deploy_local, test, unit, watch, bench, many_runs)}
    try:
        sys.exit(commands[sys.argv[1]]())
    except Failed as error:
        sys.exit(f"failed: {error}")
    except KeyboardInterrupt:
        sys.exit(130 if sys.argv[1] == "test" else 0)
