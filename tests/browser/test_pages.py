"""Every page, as each role: links, forms, accessibility, languages."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
import axe_playwright_python
from conftest import Tenant

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
ROLES = ("viewer", "editor", "admin", "owner")


def pages(tenant):
    """All pages, each with its lowest role."""
    run, workflow = f"/dashboard/runs/{tenant.run_id}", f"/dashboard/workflows/{tenant.workflow_id}"
    return {
        "/dashboard": "viewer",
        "/dashboard/runs": "viewer",
        "/dashboard/runs?status=faulted&from=2026-01-01": "viewer",
        run: "viewer",
        f"{run}/steps": "viewer",
        f"{run}/compare?with={tenant.faulted_id}": "viewer",
        f"/dashboard/runs/{tenant.faulted_id}": "viewer",
        "/dashboard/workflows": "viewer",
        workflow: "viewer",
        f"{workflow}/versions/1": "viewer",
        f"{workflow}/try": "editor",
        "/dashboard/workflows/new": "editor",
        "/dashboard/endpoints": "viewer",
        "/dashboard/endpoints/new": "admin",
        "/dashboard/endpoints/new?provider=github": "admin",
        "/dashboard/endpoints/new?provider=hmac": "admin",
        "/dashboard/endpoints/new?provider=custom": "admin",
        "/dashboard/endpoints/check": "viewer",
        "/dashboard/endpoints/check?provider=github": "viewer",
        f"/dashboard/endpoints/{tenant.endpoint_id}": "viewer",
        f"/dashboard/endpoints/{tenant.endpoint_id}/verification": "admin",
        f"/dashboard/endpoints/{tenant.endpoint_id}/verification?provider=hmac": "admin",
        "/dashboard/artifacts": "viewer",
        f"/dashboard/artifacts/{tenant.artifact_id}": "viewer",
        "/dashboard/secrets": "admin",
        "/dashboard/members": "viewer",
        "/dashboard/api-keys": "admin",
        "/dashboard/audit-log": "admin",
        "/dashboard/billing": "viewer",
        "/dashboard/diagnostics": "admin",
        "/dashboard/settings": "viewer",
        "/dashboard/docs": "viewer",
        "/dashboard/docs?q=retry": "viewer",
        "/dashboard/docs/errors": "viewer",
        "/dashboard/docs/first-workflow": "viewer",
        "/dashboard/errors/workflow-disabled": "viewer",
        "/dashboard/workflows/new?source=github": "editor",
    }


@pytest.mark.parametrize("role", ROLES)
def test_every_link_leads_somewhere(browser, tenant, role):
    """Follows every link, from the overview on. A link to a page that the role may not see is a dead end."""
    own = browser()
    page = own.sign_in(tenant.keys[role])
    known, left, visited = set(), ["/dashboard", *pages(tenant)], 0
    while left:
        path = left.pop()
        shape = path.split("#")[0]
        if shape in known or "/download" in shape or shape.endswith("/input"):
            continue
        known.add(shape)
        response = page.goto(shape)
        visited += 1
        lowest = pages(tenant).get(shape, "viewer")
        if ROLES.index(role) < ROLES.index(lowest):
            # Reached by its address only.
            assert response.status in (200, 403), (shape, response.status)
            continue
        assert response.status == 200, (shape, response.status)
        assert page.locator("h1").count() == 1
        for link in page.locator("a[href]").all():
            target = urlsplit(link.get_attribute("href"))
            if target.scheme or target.netloc or not target.path.startswith("/dashboard"):
                continue
            address = target.path + (f"?{target.query}" if target.query else "")
            # Of objects with many pages, one is enough.
            if any(word in address for word in ("cursor=", "template=", "provider=", "source=", "level=", "/sign-in")) and address not in pages(tenant):
                continue
            left.append(address)
    assert visited > 25


@pytest.mark.parametrize("role", ROLES)
def test_forms_are_those_of_the_role(browser, tenant, role):
    """A form is on a page only for the roles that may send it."""
    page = browser().sign_in(tenant.keys[role])
    forms = {
        "/dashboard/workflows/new": "editor",
        "/dashboard/runs/actions": "editor",
        "/dashboard/endpoints/new": "admin",
        "/dashboard/endpoints/check": "viewer",
        f"/dashboard/endpoints/{tenant.endpoint_id}/verification": "admin",
        "/dashboard/secrets": "admin",
        "/dashboard/members": "admin",
        "/dashboard/api-keys": "admin",
        "/dashboard/settings/rename": "admin",
        "/dashboard/billing/checkout": "owner",
        "/dashboard/settings/delete": "owner",
    }
    seen = set()
    for path, lowest in pages(tenant).items():
        if ROLES.index(role) >= ROLES.index(lowest):
            page.goto(path)
            for form in page.locator("form[method=post]").all():
                seen.add(form.get_attribute("action"))
                assert form.locator("input[name=csrf]").count() == 1
    for action, lowest in forms.items():
        assert (action in seen) == (ROLES.index(role) >= ROLES.index(lowest)), (action, seen)


@pytest.mark.parametrize("width", (320, 1280))
def test_pages_are_accessible(browser, tenant, width):
    """axe finds nothing, in both themes, and only tables and code scroll sideways."""
    own = browser(viewport={"width": width, "height": 800})
    page = own.sign_in(tenant.keys["owner"])
    found = []
    for path in [*pages(tenant), "/dashboard/nothing", "/dashboard/sign-in"]:
        page.goto(path)
        page.evaluate(AXE)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            result = page.evaluate("tags => axe.run(document, {runOnly: tags})", TAGS)
            for violation in result["violations"]:
                found.append((path, theme, violation["id"], [node["target"] for node in violation["nodes"]][:3]))
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if overflow > 0:
            found.append((path, "overflow", overflow))
    assert not found, found


# Text of the pages that is not in the locale files: names, ids, values and words of the API.
DATA = "bdi, code, pre, time, option, .number, .status, .tree, .brand, article, textarea, nav.levels, td.number, svg .kind, svg .task, dd, summary, [lang=en]"


def test_no_text_is_forgotten_in_the_locale_files(browser, tenant):
    """With the pseudo-locale every text is in brackets."""
    own = browser()
    page = own.sign_in(tenant.keys["owner"])
    own.context.add_cookies([{"name": "aias-preferences", "value": "en-XA.auto.UTC", "url": page.url}])
    forgotten = set()
    for path in pages(tenant):
        page.goto(path)
        assert page.locator("h1").count() == 1
        texts = page.evaluate(
            """data => {
                const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
                while (walker.nextNode()) {
                    const node = walker.currentNode;
                    if (!node.parentElement.closest(data) && /[a-z]{3}/i.test(node.textContent)) found.push(node.textContent.trim());
                }
                return found;
            }""",
            DATA,
        )
        forgotten |= {(path, text) for text in texts if not (text.startswith("[") or text.endswith("]") or "[" in text)}
    # Names of the test's objects are titles of their pages.
    allowed = {"JSON", "Orders", "order-total", "failing"}
    forgotten = {(path, text) for path, text in forgotten if text not in allowed and "/docs" not in path and "/errors/" not in path}
    assert not forgotten, forgotten


def test_german_is_chosen_by_the_browser_or_in_the_settings(browser, tenant):
    german = browser(locale="de-DE").page
    german.goto("/dashboard/sign-in")
    assert german.get_by_role("button", name="Anmelden").is_visible()
    page = browser().sign_in(tenant.keys["viewer"])
    page.goto("/dashboard/settings")
    page.get_by_label("Language").select_option("de")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    page.get_by_label("Theme").select_option("dark")
    page.get_by_role("button", name="Save").click()
    assert page.get_by_role("heading", name="Einstellungen").is_visible()
    assert page.locator("html").get_attribute("lang") == "de"
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.goto(f"/dashboard/runs/{tenant.run_id}")
    shown = page.locator("time").first.inner_text()
    # The person's time, and the absolute one beside it.
    assert ("CET" in shown or "CEST" in shown) and "UTC" in shown


def test_dependencies_are_healthy(browser, tenant):
    page = browser().sign_in(tenant.keys["admin"])
    page.goto("/dashboard/diagnostics")
    checks = page.locator("section", has_text="Dependencies").locator(".status").all_inner_texts()
    assert checks == ["ok"] * 4


def test_everything_works_by_keyboard(browser, tenant):
    page = browser().sign_in(tenant.keys["owner"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.goto("/dashboard/workflows/new")
    page.get_by_role("textbox", name="Workflow editor").focus()
    # Tab indents; after Escape it leaves.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "code"
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    page.goto("/dashboard/runs")
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == tenant.run_id:
            break
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/dashboard/runs/{tenant.run_id}")


def test_objects_of_another_tenant_are_not_found(browser, tenant):
    other = Tenant("stranger")
    page = browser().sign_in(other.keys["owner"])
    own = [path for path in pages(tenant) if any(word in path for word in ("run_", "wf_", "whe_", "art_"))]
    assert len(own) > 8
    for path in own:
        page.goto(path)
        shown = page.locator("main").inner_text()
        assert "Not found" in shown and "order-total" not in shown, path
