"""What people do: workflows, endpoints, runs, and everything else that has a form."""

import hashlib
import hmac
import re

from conftest import WORKFLOW, Tenant

RUN = re.compile(r"/dashboard/runs/run_\w+")


def definition(page):
    return page.get_by_label("Definition (YAML or JSON)")


def wait_for_status(page, status):
    """The page updates itself."""
    page.locator(f"#run dl .status[data-status={status}]").wait_for()


def test_from_nothing_to_the_first_run(browser):
    """The checklist of a new tenant, step by step."""
    page = browser().sign_in(Tenant("first-steps").keys["owner"])
    page.get_by_role("link", name="Create a workflow").click()
    definition(page).fill(WORKFLOW)
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(re.compile(r"/dashboard/workflows/wf_\w+"))
    page.goto("/dashboard")
    page.get_by_role("link", name="Create an endpoint").click()
    page.get_by_role("link", name="GitHub").click()
    page.get_by_label("Name").fill("From GitHub")
    page.get_by_role("button", name="Create endpoint").click()
    url, secret = (page.locator(".once code").nth(index).inner_text() for index in (0, 1))
    assert "/api/webhooks/ten_" in url and len(secret) > 20
    page.get_by_role("link", name="To the endpoint").click()
    # The secrets were shown once.
    assert secret not in page.content() and url not in page.content()
    page.get_by_label("Body (JSON)").fill('{"prices": [1, 2, 3]}')
    page.get_by_role("button", name="Send a test event").click()
    page.wait_for_url(RUN)
    wait_for_status(page, "completed")
    assert page.locator("#run .tree").first.inner_text().replace("\n", " ").endswith("total: 6")
    page.goto("/dashboard")
    assert page.get_by_text("First steps").count() == 0


def test_fault_is_shown_at_its_line(browser, tenant):
    page = browser().sign_in(tenant.keys["editor"])
    page.goto("/dashboard/workflows/new")
    definition(page).fill(WORKFLOW.replace("add", "ad(").replace("set:", "set_:"))
    page.get_by_role("button", name="Save").click()
    alert = page.get_by_role("alert").first
    assert "Line 3" in alert.inner_text(), alert.inner_text()
    assert page.locator("#line-3[data-fault]").count() == 1
    # The text is still there, and the line is marked and selected.
    assert page.locator(".cm-activeLine").inner_text().startswith("  - total")
    assert page.locator(".cm-selectionBackground").count() == 1
    page.locator(".cm-lint-marker-error").hover()
    assert page.locator(".cm-tooltip-lint").inner_text() in alert.inner_text()


def test_editor_is_used_by_keyboard(browser, tenant):
    page = browser().sign_in(tenant.keys["editor"])
    page.context.add_cookies([{"name": "aias-preferences", "value": "de.auto.UTC", "url": page.url}])
    page.goto("/dashboard/workflows/new")
    editor = page.get_by_role("textbox", name="Workflow-Editor")
    field = page.locator("textarea[name=definition]")
    page.get_by_text("Definition (YAML oder JSON)").click()
    assert editor.evaluate("own => own.getRootNode().activeElement === own")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text("do:\n  - first: {set: {a: '\u202e${ 1 }'}}")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.insert_text("# end")
    assert field.input_value() == "do:\n  - first: {set: {a: '\u202e${ 1 }'}}\n      # end"
    # A character that would change the direction is shown.
    assert page.locator(".cm-specialChar").get_attribute("title").startswith("Steuerzeichen")
    page.keyboard.press("ControlOrMeta+z")
    assert "# end" not in field.input_value()
    page.keyboard.press("ControlOrMeta+f")
    assert page.get_by_placeholder("Suchen").count() == 1
    page.keyboard.press("Escape")
    # A text that something else writes into the field appears in the editor.
    field.fill("do: []")
    assert editor.inner_text() == "do: []"
    editor.focus()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.get_by_role("button", name="Speichern").evaluate("own => own === document.activeElement")
    assert field.input_value() == "do: []"


def test_change_of_somebody_else_is_shown(browser, tenant):
    own = tenant.workflow(WORKFLOW.replace("order-total", "shared"))
    page = browser().sign_in(tenant.keys["editor"])
    page.goto(f"/dashboard/workflows/{own}")
    tenant.call("PUT", f"/api/workflows/{own}", WORKFLOW.replace("order-total", "shared").replace("total:", "sum:"), content_type="application/yaml")
    text = definition(page)
    text.fill(text.input_value().replace("total", "amount"))
    page.get_by_role("button", name="Save").click()
    assert page.get_by_text("Somebody else has changed it").first.is_visible()
    assert "sum" in page.locator(".difference del").all_inner_texts().__str__()
    assert "amount" in definition(page).input_value()
    # Sending it again saves it as the next version.
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(re.compile(r"done=saved"))
    assert tenant.call("GET", f"/api/workflows/{own}")["version"] == 3


def test_versions_are_compared_and_activated(browser, tenant):
    own = tenant.workflow(WORKFLOW.replace("order-total", "versioned"))
    tenant.call("PUT", f"/api/workflows/{own}?activate=false", WORKFLOW.replace("order-total", "versioned").replace("add", "length"), content_type="application/yaml")
    page = browser().sign_in(tenant.keys["editor"])
    page.goto(f"/dashboard/workflows/{own}/versions/2")
    assert "length" in page.locator("ins").first.inner_text()
    page.locator("summary", has_text="Activate").click()
    page.get_by_role("button", name="Activate now").click()
    page.wait_for_url(re.compile("done=activate"))
    assert tenant.call("GET", f"/api/workflows/{own}")["active_version"] == 2


def test_version_that_changes_a_sample_is_saved_after_it_is_accepted(browser, tenant):
    own = tenant.workflow(WORKFLOW.replace("order-total", "sampled"))
    past = tenant.run(own, {"prices": [4, 5]})
    page = browser().sign_in(tenant.keys["editor"])
    page.goto(f"/dashboard/workflows/{own}")
    page.locator("summary", has_text="Keep a sample").click()
    page.get_by_label("Name of the sample").fill("two-prices")
    page.get_by_label("Past run").fill(past)
    page.get_by_role("button", name="Keep a sample").click()
    page.wait_for_url(re.compile("done=keep-sample"))
    samples = page.get_by_role("region", name="Samples")
    assert samples.get_by_role("link", name=past).count() == 1
    text = definition(page)
    text.fill(text.input_value().replace("add", "length"))
    page.get_by_role("button", name="Save").click()
    assert "The version changes the artifact of a sample" in page.get_by_role("alert").inner_text()
    difference = page.get_by_role("group", name="Sample two-prices")
    assert '"value": 2' in difference.inner_text()
    # The text is kept, and without the box it is refused again.
    page.get_by_role("button", name="Save").click()
    page.get_by_role("alert").wait_for()
    page.get_by_role("checkbox", name="Accept the new artifact").check()
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(re.compile("done=saved"))
    assert tenant.call("GET", f"/api/workflows/{own}")["version"] == 2
    page.get_by_role("region", name="Samples").locator("summary", has_text="Delete").click()
    page.get_by_role("button", name="Delete now").first.click()
    page.wait_for_url(re.compile("done=delete-sample"))
    assert tenant.call("GET", f"/api/workflows/{own}/samples")["data"] == []


def test_workflow_is_tried_disabled_and_deleted(browser, tenant):
    own = tenant.workflow(WORKFLOW.replace("order-total", "tried"))
    past = tenant.run(own, {"prices": [4]})
    page = browser().sign_in(tenant.keys["editor"])
    page.goto(f"/dashboard/workflows/{own}/try")
    page.get_by_label("Input (JSON)").fill('{"body": {"prices": [20, 22]}}')
    page.get_by_role("button", name="Try it").click()
    assert '"total": 42' in page.locator("pre.data").first.inner_text()
    page.get_by_label("Input of a past run").select_option(past)
    page.get_by_role("button", name="Try it").click()
    assert '"total": 4' in page.locator("pre.data").first.inner_text()
    page.get_by_label("Input of a past run").select_option("")
    page.get_by_label("Input (JSON)").fill("not JSON")
    page.get_by_role("button", name="Try it").click()
    assert "not JSON" in page.get_by_role("alert").inner_text()
    page.goto(f"/dashboard/workflows/{own}")
    for action, shown in (("Disable", "disabled"), ("Enable", "enabled")):
        if action == "Disable":
            page.locator("summary", has_text="Disable").click()
            page.get_by_role("button", name="Disable now").click()
        else:
            page.get_by_role("button", name="Enable").click()
        page.wait_for_load_state()
        assert page.locator("dl").get_by_text(shown, exact=True).count() == 1
    page.locator("summary", has_text="Delete").click()
    page.get_by_role("button", name="Delete now").click()
    page.wait_for_url("**/dashboard/workflows")
    assert page.get_by_text("tried").count() == 0


def test_run_is_watched_and_cancelled(browser, tenant):
    waiting = tenant.workflow("document: {dsl: '1.0.3', namespace: shop, name: waits, version: '1.0.0'}\ndo:\n  - pause: {wait: {hours: 1}}\n")
    page = browser().sign_in(tenant.keys["editor"])
    page.goto(f"/dashboard/workflows/{waiting}")
    page.locator("summary", has_text="Run now").click()
    page.get_by_role("button", name="Run now").click()
    page.wait_for_url(RUN)
    wait_for_status(page, "waiting")
    page.locator("summary", has_text="Cancel").click()
    assert "cannot be continued" in page.locator(".confirmed[open] p").inner_text()
    page.get_by_role("button", name="Cancel now").click()
    wait_for_status(page, "cancelled")
    # A run that has ended is not polled.
    assert page.locator("#run").get_attribute("hx-trigger") is None


def test_run_is_retried_replayed_and_verified(browser, tenant):
    page = browser().sign_in(tenant.keys["editor"])
    page.goto(f"/dashboard/runs/{tenant.faulted_id}")
    # The error is marked in the picture.
    assert page.locator("svg.picture g[data-failed]").count() == 1
    page.locator("summary", has_text="Retry").click()
    page.get_by_role("button", name="Retry now").click()
    page.wait_for_url(re.compile("done=retry"))
    page.goto(f"/dashboard/runs/{tenant.run_id}")
    page.get_by_role("button", name="Verify").click()
    assert page.get_by_text("the run gives the same bytes").is_visible()
    page.goto(f"/dashboard/runs/{tenant.run_id}")
    page.locator("summary", has_text="Replay").click()
    page.get_by_role("button", name="Replay now").click()
    page.wait_for_url(re.compile("done=replay"))
    wait_for_status(page, "completed")
    page.get_by_role("link", name="Compare").click()
    assert page.get_by_text("The outputs are equal.").is_visible()


def test_several_runs_are_replayed(browser, tenant):
    own = tenant.workflow(WORKFLOW.replace("order-total", "several"))
    runs = [tenant.run(own, {"prices": [number]}) for number in range(3)]
    page = browser().sign_in(tenant.keys["editor"])
    page.goto(f"/dashboard/runs?workflow_id={own}")
    for run in runs:
        page.get_by_label(f"Select {run}").check()
    # A list with selected runs is not replaced under the pointer.
    page.wait_for_timeout(6000)
    assert page.locator("input:checked").count() == 3
    page.get_by_role("button", name="Replay").click()
    assert page.get_by_text("Calls are sent again").is_visible()
    page.get_by_role("button", name="Replay now").click()
    assert page.get_by_text("3 of 3 done").is_visible()
    page.goto(f"/dashboard/runs?workflow_id={own}")
    assert page.locator("tbody tr").count() == 6
    # Filters are in the URL, so a reload keeps them.
    page.reload()
    assert page.locator("tbody tr").count() == 6
    page.goto("/dashboard/runs")
    page.locator("select[name=status]").select_option("faulted")
    page.get_by_role("button", name="Filter").click()
    assert "status=faulted" in page.url
    assert set(page.locator("tbody .status").all_inner_texts()) == {"faulted"}
    page.get_by_label("Run id").fill(runs[0])
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url(f"**/dashboard/runs/{runs[0]}")


def test_endpoint_is_changed_rotated_and_deleted(browser, tenant):
    page = browser().sign_in(tenant.keys["admin"])
    page.goto("/dashboard/endpoints/new?provider=stripe")
    page.get_by_label("Name").fill("Stripe")
    page.get_by_role("button", name="Create endpoint").click()
    page.get_by_role("link", name="To the endpoint").click()
    assert page.get_by_text("waits for its signing secret").first.is_visible()
    page.get_by_label("Signing secret", exact=True).fill("whsec_something")
    page.get_by_role("button", name="Set the signing secret").click()
    page.wait_for_url(re.compile("done=saved"))
    page.get_by_label("Name").fill("Stripe, live")
    page.get_by_role("button", name="Save").click()
    assert page.get_by_role("heading", name="Stripe, live").is_visible()
    page.locator("summary", has_text="Rotate the URL").click()
    page.get_by_role("button", name="Rotate the URL now").click()
    assert "/api/webhooks/" in page.locator(".once code").first.inner_text()
    page.get_by_role("link", name="To the endpoint").click()
    assert page.locator("section", has_text="URLs").first.locator("tbody tr").count() == 2
    page.locator("summary", has_text="Disable").click()
    page.get_by_label("Response while it is disabled").select_option("503")
    page.get_by_role("button", name="Disable now").click()
    assert page.get_by_text("HTTP 503").is_visible()
    page.locator("summary", has_text="Delete").click()
    page.get_by_role("button", name="Delete now").click()
    page.wait_for_url("**/dashboard/endpoints")


def test_endpoint_gets_an_own_scheme_and_then_a_provider(browser, tenant):
    page = browser().sign_in(tenant.keys["admin"])
    page.goto("/dashboard/endpoints/new")
    page.get_by_role("link", name="A scheme of your own").click()
    page.get_by_label("Name").fill("Own")
    page.get_by_label("Scheme (JSON)").fill("{")
    page.get_by_role("button", name="Create endpoint").click()
    assert page.get_by_role("alert").is_visible()
    scheme = '{"signatures": [{"method": "token", "at": "header:x-token", "encoding": "text"}]}'
    page.get_by_label("Scheme (JSON)").fill(scheme)
    page.get_by_label("Event types that run").fill("order.*\nrefund")
    page.get_by_role("button", name="Create endpoint").click()
    page.get_by_role("link", name="To the endpoint").click()
    assert page.locator("dl code", has_text="order.*").is_visible()
    page.get_by_label("Event types that run").fill("refund")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(re.compile("done=saved"))
    assert page.locator("dl code", has_text="order.*").count() == 0
    page.get_by_role("link", name="Change the verification").click()
    page.get_by_role("link", name="GitHub", exact=True).click()
    page.get_by_role("button", name="Change the verification now").click()
    assert len(page.locator(".once code").inner_text()) > 20
    page.get_by_role("link", name="To the endpoint").click()
    assert page.locator("dl", has_text="GitHub").first.is_visible()


def test_recorded_request_is_checked(browser, tenant):
    page = browser().sign_in(tenant.keys["viewer"])
    page.goto("/dashboard/endpoints")
    page.get_by_role("link", name="Check a recorded request").click()
    page.get_by_role("link", name="GitHub", exact=True).click()
    body = '{"zen": "Keep it simple",\n "id": 1}'
    signature = hmac.new(b"hush", body.encode(), hashlib.sha256).hexdigest()
    headers = f"X-GitHub-Event: push\nX-Hub-Signature-256: sha256={signature}"

    def check(secret, headers):
        page.get_by_label("Signing secret").fill(secret)
        page.get_by_label("Headers").fill(headers)
        page.get_by_label("Body, as received").fill(body)
        page.get_by_role("button", name="Check").click()
        assert secret not in page.content()
        return page.get_by_role("status").inner_text()

    assert check("hush", headers).startswith("verified")
    assert page.locator("dl code", has_text="push").is_visible()
    assert "bad-signature" in check("hash", headers)
    assert page.get_by_text("Differs at").is_visible()
    page.get_by_label("Headers").fill("no header")
    page.get_by_role("button", name="Check").click()
    assert page.get_by_role("alert").get_by_text("no header").is_visible()


def test_artifact_is_downloaded(browser, tenant):
    page = browser().sign_in(tenant.keys["viewer"])
    page.goto(f"/dashboard/artifacts/{tenant.artifact_id}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == b'{"total":3}'


def test_secret_is_set_and_deleted(browser, tenant):
    page = browser().sign_in(tenant.keys["admin"])
    page.goto("/dashboard/secrets")
    page.get_by_label("Name").fill("crm")
    page.get_by_label("Value").fill("s3cret-value")
    page.get_by_role("button", name="Save").click()
    row = page.locator("tr", has_text="crm")
    assert row.count() == 1 and "s3cret-value" not in page.content()
    row.locator("summary").click()
    row.get_by_role("button", name="Delete now").click()
    page.wait_for_load_state()
    assert page.locator("tr", has_text="crm").count() == 0


def test_key_is_created_once_and_deleted(browser, tenant):
    page = browser().sign_in(tenant.keys["admin"])
    page.goto("/dashboard/api-keys")
    page.get_by_label("Name").fill("ci")
    page.get_by_role("button", name="Create API key").click()
    key = page.locator(".once code").inner_text()
    assert key.startswith("aias_")
    # Loading the page again sends the form again, which gives the same key.
    page.reload()
    assert page.locator(".once code").inner_text() == key
    page.goto("/dashboard/api-keys")
    rows = page.locator("tr", has_text=re.compile(r"^ci"))
    assert rows.count() == 1 and key not in page.content()
    rows.locator("summary").click()
    rows.get_by_role("button", name="Delete now").click()
    page.wait_for_load_state()
    assert rows.count() == 0


def test_member_is_changed_and_removed(browser):
    own = Tenant("with-members")
    own.call("POST", f"/api/tenants/{own.id}/members", {"user_id": "bob|1", "role": "viewer"})
    page = browser().sign_in(own.keys["owner"])
    page.goto("/dashboard/members")
    page.get_by_label("Role of bob|1").select_option("admin")
    row = page.locator("tr", has_text="bob|1")
    row.get_by_role("button", name="Change role").click()
    page.wait_for_load_state()
    assert row.locator("td").nth(1).inner_text() == "admin"
    row.locator("summary").click()
    row.get_by_role("button", name="Remove now").click()
    page.wait_for_load_state()
    assert row.count() == 0
    # The last owner cannot leave; the page says why.
    row = page.locator("tr", has_text="with-members")
    row.locator("summary").click()
    row.get_by_role("button", name="Remove now").click()
    assert "Conflict" in page.get_by_role("alert").inner_text()


def test_plan_is_bought_at_stripe(browser):
    own = Tenant("buyer")
    page = browser().sign_in(own.keys["owner"])
    page.goto("/dashboard/billing")
    page.get_by_role("button", name="Buy the plan pro").click()
    target = page.get_by_role("link", name="Continue at Stripe").get_attribute("href")
    assert target.startswith("http")
    page.goto(target)
    page.goto("/dashboard/billing")
    assert page.locator("p strong").first.inner_text() == "pro"
    page.get_by_role("button", name="Open the customer portal").click()
    assert page.get_by_role("link", name="Continue at Stripe").is_visible()


def test_changes_are_in_the_audit_log(browser, tenant):
    page = browser().sign_in(tenant.keys["admin"])
    page.goto("/dashboard/audit-log")
    assert page.locator(".audit li").count() > 5
    assert "api_key.created" in page.locator(".audit").inner_text()


def test_tenant_is_renamed_and_deleted(browser):
    page = browser().sign_in(Tenant("leaving").keys["owner"])
    page.goto("/dashboard/settings")
    page.get_by_label("Name", exact=True).fill("Leaving soon")
    page.get_by_role("button", name="Rename").click()
    assert page.locator(".tenant").inner_text().startswith("Leaving soon")
    page.locator("summary", has_text="Delete the tenant").click()
    page.get_by_label("Name of the tenant, to confirm").fill("something else")
    page.get_by_role("button", name="Delete the tenant").click()
    assert "not the tenant's" in page.get_by_role("alert").inner_text()
    page.goto("/dashboard/settings")
    page.locator("summary", has_text="Delete the tenant").click()
    page.get_by_label("Name of the tenant, to confirm").fill("Leaving soon")
    page.get_by_role("button", name="Delete the tenant").click()
    page.wait_for_url(re.compile("/dashboard/sign-in"))
