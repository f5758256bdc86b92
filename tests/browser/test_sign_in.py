"""Signing in and out, and sessions."""

import re
from urllib.parse import parse_qs, urlsplit

from conftest import URL, call, ISSUER


def test_page_without_session_leads_to_sign_in_and_back(browser, tenant):
    page = browser().page
    page.goto("/dashboard/runs?status=faulted")
    assert "/dashboard/sign-in" in page.url
    page.get_by_label("API key").fill(tenant.keys["viewer"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dashboard/runs?status=faulted")


def test_wrong_key_is_refused(browser, tenant):
    page = browser().page
    for key in ("nonsense", tenant.keys["viewer"][:-1] + "_"):
        page.goto("/dashboard/sign-in")
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        assert page.get_by_role("alert").is_visible()
        assert key not in page.content()
    assert page.context.cookies() == []


def test_person_signs_in_at_the_issuer(browser, tenant):
    page = browser().page
    page.goto("/dashboard/members")
    page.get_by_role("link", name="Sign in with your identity provider").click()
    page.get_by_label("Subject").fill(tenant.owner)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dashboard/members")
    assert page.get_by_role("cell", name=tenant.owner, exact=True).first.is_visible()


def test_person_without_a_tenant_creates_one(browser):
    page = browser().page
    page.goto("/dashboard/sign-in/start")
    page.get_by_label("Subject").fill(f"new-{URL[-4:]}-{id(page)}")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dashboard/tenants")
    page.get_by_label("Name").fill("My first")
    page.get_by_role("button", name="Create tenant").click()
    page.wait_for_url("**/dashboard")
    assert page.get_by_text("My first").is_visible()
    # A new tenant gets a checklist.
    assert page.get_by_role("link", name="Create a workflow").is_visible()


def test_invitation_is_accepted_with_its_link(browser, tenant):
    owner = browser().sign_in(tenant.keys["owner"])
    owner.goto("/dashboard/members")
    owner.get_by_label("E-mail address").fill("guest@example.com")
    owner.get_by_role("button", name="Invite").click()
    link = owner.locator(".once code").first.inner_text()
    page = browser().page
    page.goto(link)
    page.get_by_role("link", name="Sign in with your identity provider").click()
    page.get_by_label("Subject").fill(f"guest-{id(page)}")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dashboard/tenants")
    page.get_by_role("button", name="Accept an invitation").click()
    page.wait_for_url("**/dashboard")
    assert page.locator(".tenant").inner_text().endswith("viewer")


def test_code_of_another_browser_is_refused(browser, tenant):
    """The answer of the issuer to one browser has no effect in another (login CSRF)."""
    thief = browser().page
    thief.goto("/dashboard/sign-in/start")
    (state,) = parse_qs(urlsplit(thief.url).query)["state"]
    victim = browser().page
    response = victim.goto(f"/dashboard/sign-in/callback?code=stolen&state={state}")
    assert response.status == 400
    assert all("session" not in cookie["name"] for cookie in victim.context.cookies())


def test_session_cookie_is_bound_to_the_host(browser, tenant):
    page = browser().sign_in(tenant.keys["owner"])
    (cookie,) = page.context.cookies()
    assert cookie["name"] == "__Host-aias-session"
    assert cookie["httpOnly"] and cookie["secure"] and cookie["sameSite"] == "Lax" and cookie["path"] == "/"
    for secret in (tenant.keys["owner"], cookie["value"]):
        assert secret not in page.content() and secret not in page.url


def test_sign_in_gives_a_new_session(browser, tenant):
    own = browser()
    own.sign_in(tenant.keys["viewer"])
    (first,) = own.context.cookies()
    own.sign_in(tenant.keys["owner"])
    (second,) = own.context.cookies()
    assert first["value"] != second["value"]


def test_sign_out_ends_the_session(browser, tenant):
    page = browser().sign_in(tenant.keys["viewer"])
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/dashboard/sign-in")
    assert page.context.cookies() == []


def test_deleted_key_ends_its_sessions(browser, tenant):
    made = tenant.call("POST", f"/api/tenants/{tenant.id}/api-keys", {"name": "short", "role": "viewer"})
    page = browser().sign_in(made["key"])
    tenant.call("DELETE", f"/api/tenants/{tenant.id}/api-keys/{made['id']}")
    page.goto("/dashboard/runs")
    assert "/dashboard/sign-in" in page.url and page.context.cookies() == []


def test_form_survives_the_end_of_a_session(browser, tenant):
    own = browser()
    page = own.sign_in(tenant.keys["editor"])
    page.goto("/dashboard/workflows/new")
    text = page.get_by_label("Definition (YAML or JSON)")
    text.fill(text.input_value().replace("name: transform", "name: survived"))
    own.context.clear_cookies()
    page.get_by_role("button", name="Save").click()
    assert page.get_by_text("Your session has ended").is_visible()
    page.get_by_label("API key").fill(tenant.keys["editor"])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Send the form again").click()
    page.wait_for_url(re.compile(r"/dashboard/workflows/wf_\w+"))
    assert page.get_by_role("heading", name="survived").is_visible()


def test_tenants_of_a_person_can_be_switched(browser, tenant):
    name = f"second-{tenant.id[-6:]}"
    token = call("POST", "/token", body={"sub": tenant.owner}, base=ISSUER)["access_token"]
    other = call("POST", "/api/tenants", token, {"name": name})["id"]
    page = browser().page
    page.goto("/dashboard/sign-in/start?return_to=/dashboard/settings")
    page.get_by_label("Subject").fill(tenant.owner)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/dashboard/settings")
    page.locator("select[name=tenant]").select_option(other)
    page.get_by_role("button", name="Switch").click()
    page.wait_for_url("**/dashboard")
    assert page.locator(".tenant").inner_text().startswith(name)
