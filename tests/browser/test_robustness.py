"""Hostile data, large data, lost connections, forged forms, and no script."""

import json
import re
import time

import pytest
from conftest import URL, WORKFLOW, Tenant

EVIL = [
    "<script>window.pwned = 1</script>",
    "\"><img src=x onerror=window.pwned=1>",
    "</pre></textarea><iframe srcdoc='<script>parent.pwned=1</script>'>",
    "{{7*7}} ${7*7} javascript:alert(1)",
    "\u202egnp.exe \u2066x\u2069 \u0000 \u001b[31m \ufeff",
    "<hx-partial hx-get='/dashboard/sign-out' hx-trigger='load'></hx-partial><div hx-get='/evil' hx-trigger='load'></div>",
]


def test_hostile_data_is_shown_as_text(browser):
    own = Tenant("hostile")
    text = " ".join(EVIL)
    yaml = (
        "document: {dsl: '1.0.3', namespace: shop, name: hostile, version: '1.0.0', title: " + json.dumps(EVIL[0]) + "}\n"
        "do:\n"
        "  - " + json.dumps(EVIL[1][:40]) + ": {set: {shown: '${ .body }'}}\n"
    )
    workflow = own.workflow(yaml)
    failing = own.workflow(WORKFLOW.replace("order-total", "evil").replace("[.body.prices[]] | add", ".body | tostring | error"))
    run = own.run(workflow, {"text": text, EVIL[0]: EVIL})
    faulted = own.run(failing, {"text": text}, "faulted")
    endpoint = own.call("POST", "/api/webhook-endpoints", {"name": EVIL[0], "workflow_id": workflow})["id"]
    artifact = own.call("GET", f"/api/runs/{run}")["artifacts"][0]["id"]
    browser_of_owner = browser()
    page = browser_of_owner.sign_in(own.keys["owner"])
    for path in (
        "", "/runs", f"/runs/{run}", f"/runs/{run}/steps", f"/runs/{faulted}", f"/runs/{run}/compare?with={faulted}", "/workflows",
        f"/workflows/{workflow}", f"/workflows/{workflow}/versions/1", f"/workflows/{workflow}/try?run={run}", "/endpoints", f"/endpoints/{endpoint}",
        "/artifacts", f"/artifacts/{artifact}", "/audit-log", "/docs?q=%3Cscript%3E", "/runs?status=%22%3E%3Cscript%3E",
        "/endpoints/new?provider=%3Cscript%3E", "/%3Cscript%3Ealert(1)%3C/script%3E", "/runs?workflow_id=%22onmouseover%3D%221",
    ):
        page.goto(f"/dashboard{path}")
        page.wait_for_timeout(50)
        assert page.evaluate("window.pwned") is None, path
        assert page.locator("iframe, img, main script:not([src]), [onerror], hx-partial").count() == 0, path
        shown = page.content()
        assert not re.search("[\u0000-\u0008\u000e-\u001f\u202a-\u202e\u2066-\u2069\ufeff]", shown), path
    page.goto(f"/dashboard/runs/{run}")
    assert page.get_by_text("<script>window.pwned = 1</script>").first.is_visible()
    assert page.get_by_text("U+202E").count() > 0


def test_large_payload_is_shortened_and_downloadable(browser, tenant):
    workflow = tenant.workflow(WORKFLOW.replace("order-total", "large").replace("[.body.prices[]] | add", ".body.text | length"))
    size = 3_900_000
    run = tenant.run(workflow, {"text": "x" * size})
    page = browser().sign_in(tenant.keys["viewer"])
    started = time.monotonic()
    page.goto(f"/dashboard/runs/{run}")
    print(f"a run with a payload of {size} bytes is shown in {time.monotonic() - started:.2f} s, {len(page.content())} bytes of HTML")
    assert len(page.content()) < 400_000
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert len(json.loads(download.value.path().read_text())["body"]["text"]) == size


def test_order_of_members_is_that_of_the_api(browser, tenant):
    workflow = tenant.workflow(WORKFLOW.replace("order-total", "ordered"))
    run = tenant.run(workflow, {"prices": [1], "zebra": 1, "apple": 2, "10": 3, "9": 4})
    names = list(tenant.call("GET", f"/api/runs/{run}/input")["body"])
    page = browser().sign_in(tenant.keys["viewer"])
    page.goto(f"/dashboard/runs/{run}")
    body = page.locator(".tree > details > ul > li > details", has=page.get_by_text("zebra")).last
    shown = body.evaluate("body => [...body.querySelectorAll(':scope > ul > li > .name')].map(name => name.textContent)")
    assert shown == names


def test_lost_connection_is_shown_and_recovers(browser, tenant):
    own = browser()
    page = own.sign_in(tenant.keys["viewer"])
    page.goto("/dashboard/runs")
    own.context.set_offline(True)
    page.locator("#connection").wait_for(state="visible", timeout=20_000)
    own.context.set_offline(False)
    page.locator("#connection").wait_for(state="hidden", timeout=20_000)
    own.errors[:] = [error for error in own.errors if "Failed to fetch" not in error]


def test_unchanged_part_is_not_sent_again(browser, tenant):
    page = browser().sign_in(tenant.keys["viewer"])
    page.goto("/dashboard/runs?status=faulted")
    statuses = []
    page.on("response", lambda response: statuses.append(response.status) if "/runs/list" in response.url else None)
    while len(statuses) < 3:
        page.wait_for_timeout(500)
    assert statuses[1:] == [304] * len(statuses[1:]), statuses
    # The same for clients that send If-None-Match.
    first = page.request.get("/dashboard/runs/list?status=faulted")
    again = page.request.get("/dashboard/runs/list?status=faulted", headers={"if-none-match": first.headers["etag"]})
    assert again.status == 304 and again.body() == b""


def test_form_of_another_site_is_refused(browser, tenant):
    page = browser().sign_in(tenant.keys["owner"])
    page.goto("/dashboard/secrets")
    token = page.locator("input[name=csrf]").first.get_attribute("value")
    fields = {"name": "stolen", "value": "stolen-value"}
    for form, headers in (
        (fields, {}),
        ({**fields, "csrf": "0" * 32}, {}),
        ({**fields, "csrf": token}, {"sec-fetch-site": "cross-site"}),
        ({**fields, "csrf": token}, {"origin": "https://evil.example"}),
    ):
        response = page.request.post("/dashboard/secrets", form=form, headers=headers)
        assert response.status == 403, (form, headers, response.status)
    assert "stolen" not in [own["name"] for own in tenant.call("GET", "/api/secrets")["data"]]


def test_pages_work_without_scripts(browser, tenant):
    own = browser(java_script_enabled=False)
    page = own.sign_in(tenant.keys["owner"])
    page.goto("/dashboard/workflows/new")
    text = page.get_by_label("Definition (YAML or JSON)")
    text.fill(WORKFLOW.replace("order-total", "no-script"))
    page.get_by_role("button", name="Save").click()
    page.locator("summary", has_text="Run now").click()
    page.get_by_label("Input (JSON)").fill('{"body": {"prices": [5]}}')
    page.get_by_role("button", name="Run now").click()
    page.wait_for_url(re.compile(r"/dashboard/runs/run_\w+"))
    for _ in range(20):
        page.reload()
        if page.locator("#run .status[data-status=completed]").count():
            break
    assert page.get_by_text("total").first.is_visible()


@pytest.mark.parametrize("path", ("/runs/run_01JD3V4ZK8QW5R7T9X1B3C5D7F", "/runs/nonsense", "/workflows/x", "/nothing/at/all", "/artifacts/x%3Flimit=1"))
def test_missing_object_is_a_page(browser, tenant, path):
    page = browser().sign_in(tenant.keys["viewer"])
    response = page.goto(f"/dashboard{path}")
    assert response.status == 404
    alert = page.get_by_role("alert").inner_text()
    assert "Not found" in alert and "Request" in alert
    page.get_by_role("link", name="To the overview").click()
    page.wait_for_url("**/dashboard")


def test_policy_forbids_everything_but_own_scripts(browser, tenant):
    own = browser()
    page = own.sign_in(tenant.keys["viewer"])
    headers = page.goto("/dashboard").headers
    policy = headers["content-security-policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'"):
        assert part in policy
    assert "unsafe" not in policy
    assert headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"
    # Each page has a nonce of its own.
    assert policy != page.goto("/dashboard").headers["content-security-policy"]
    assert page.evaluate("(() => { const s = document.createElement('div'); try { s.innerHTML = '<b>x</b>'; return 'set' } catch { return 'refused' } })()") == "refused"
    own.errors[:] = [error for error in own.errors if "TrustedHTML" not in error]


def test_first_visit_is_small(chromium, browser, tenant):
    """60 KB over the wire, with styles and scripts."""
    own = browser()
    sizes = []
    session = own.context.new_cdp_session(own.page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    own.page.goto("/dashboard/sign-in")
    own.page.get_by_label("API key").fill(tenant.keys["owner"])
    own.page.get_by_role("button", name="Sign in").click()
    own.page.wait_for_load_state("networkidle")
    print(f"the first visit has {sum(sizes)} bytes in {len(sizes)} responses")
    assert sum(sizes) < 60_000
