"""A browser, and tenants of the deployed stack. A page that breaks its policy or logs an error fails its test."""

import json
import os
import time
import urllib.error
import urllib.request

import pytest
from playwright.sync_api import sync_playwright

SETTINGS = json.loads(os.environ["AIAS_BROWSER"])
URL, ISSUER = SETTINGS["url"], SETTINGS["issuer"]

WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: order-total, version: '1.0.0'}
do:
  - total: {set: {total: '${ [.body.prices[]] | add }'}}
"""


def call(method, path, token=None, body=None, content_type="application/json", base=URL):
    data = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data=data, method=method, headers={"content-type": content_type})
    if token:
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None


class Tenant:
    """A new tenant, with a key of each role."""

    def __init__(self, owner="owner"):
        self.owner = owner
        token = call("POST", "/token", body={"sub": owner}, base=ISSUER)["access_token"]
        self.id = call("POST", "/api/tenants", token, {"name": "Test <b>&amp;"})["id"]
        self.keys = {
            role: call("POST", f"/api/tenants/{self.id}/api-keys", token, {"name": role, "role": role})["key"]
            for role in ("viewer", "editor", "admin", "owner")
        }

    def call(self, method, path, body=None, **more):
        return call(method, path, self.keys["owner"], body, **more)

    def workflow(self, definition=WORKFLOW):
        return self.call("POST", "/api/workflows", definition, content_type="application/yaml")["id"]

    def endpoint(self, workflow):
        return self.call("POST", "/api/webhook-endpoints", {"name": "Orders", "workflow_id": workflow})

    def run(self, workflow, body, status="completed"):
        accepted = self.call("POST", f"/api/workflows/{workflow}/execute", {"input": {"body": body}})
        until = time.monotonic() + 30
        while time.monotonic() < until:
            run = self.call("GET", f"/api/runs/{accepted['run_id']}")
            if run["status"] == status:
                return run["id"]
            time.sleep(0.05)
        raise AssertionError(f"the run is {run['status']}")


@pytest.fixture(scope="session")
def chromium():
    own = SETTINGS["chromium"]
    environment = {**os.environ}
    if own["libraries"]:
        environment |= {"LD_LIBRARY_PATH": own["libraries"], "FONTCONFIG_FILE": own["fonts"]}
    arguments = [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--font-render-hinting=none",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=own["path"], args=arguments, env=environment)
        yield browser
        browser.close()


class Browser:
    """A page of a browser of its own, which collects errors."""

    def __init__(self, chromium, **options):
        options.setdefault("viewport", {"width": 1280, "height": 900})
        options.setdefault("reduced_motion", "reduce")
        options.setdefault("locale", "en-US")
        self.context = chromium.new_context(base_url=URL, **options)
        self.context.set_default_timeout(15_000)
        self.page = self.context.new_page()
        self.errors = []
        self.page.on("console", self.logged)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def logged(self, message):
        # A page with an error status is logged as an error, which is what some tests look for.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def sign_in(self, key):
        self.page.goto("/dashboard/sign-in")
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/dashboard")
        return self.page


@pytest.fixture
def browser(chromium):
    """Makes browsers, and checks at the end that their pages had no errors."""
    made = []

    def make(**options):
        made.append(Browser(chromium, **options))
        return made[-1]

    yield make
    for own in made:
        own.context.close()
    errors = [error for own in made for error in own.errors]
    assert not errors, errors


@pytest.fixture(scope="session")
def tenant():
    """A tenant with objects of every kind."""
    own = Tenant()
    own.workflow_id = own.workflow()
    own.endpoint_id = own.endpoint(own.workflow_id)["id"]
    own.run_id = own.run(own.workflow_id, {"prices": [1, 2]})
    failing = own.workflow(WORKFLOW.replace("order-total", "failing").replace("[.body.prices[]] | add", "error(\"no\")"))
    own.failing_id, own.faulted_id = failing, own.run(failing, {}, "faulted")
    own.artifact_id = own.call("GET", f"/api/runs/{own.run_id}")["artifacts"][0]["id"]
    own.call("PUT", "/api/secrets/token", {"value": "hush-hush"})
    return own
