"""Screenshots: compared with those in `screenshots/`, and made for README and docs.

`AIAS_UPDATE=1` writes them instead.
"""

import io
import os
from pathlib import Path

import pytest
from conftest import SETTINGS, WORKFLOW, Tenant
from PIL import Image, ImageChops

HERE = Path(__file__).parent / "screenshots"
IMAGES = Path(__file__).parents[2] / "docs" / "images"
UPDATE = os.environ.get("AIAS_UPDATE") == "1"
# The share of pixels that may differ: versions of Chromium smooth edges differently.
TOLERANCE = 0.02

# Pages without ids and times.
PAGES = {
    "sign-in": "/dashboard/sign-in",
    "new-workflow": "/dashboard/workflows/new?template=route",
    "new-endpoint": "/dashboard/endpoints/new",
    "not-found": "/dashboard/docs/nothing",
}


def compare(name, taken):
    file = HERE / f"{name}.png"
    if UPDATE:
        HERE.mkdir(exist_ok=True)
        file.write_bytes(taken)
        return
    own, known = (Image.open(source).convert("RGB") for source in (io.BytesIO(taken), file))
    assert own.size == known.size, f"{name}: {own.size} instead of {known.size}; look at it, then AIAS_UPDATE=1"
    difference = ImageChops.difference(own, known).convert("L").point(lambda value: 255 if value > 32 else 0)
    share = difference.histogram()[255] / (own.size[0] * own.size[1])
    assert share <= TOLERANCE, f"{name}: {share:.1%} of the pixels differ; look at it, then AIAS_UPDATE=1"


@pytest.mark.parametrize("theme", ("light", "dark"))
@pytest.mark.parametrize("width", (320, 1280))
def test_pages_look_as_recorded(browser, theme, width):
    if not SETTINGS["chromium"]["fonts"]:
        pytest.skip("screenshots are compared with Debian's Chromium and its font only")
    own = browser(viewport={"width": width, "height": 700}, color_scheme=theme)
    page = own.page
    page.goto(PAGES["sign-in"])
    compare(f"sign-in-{theme}-{width}", page.screenshot())
    own.sign_in(Tenant("screenshots").keys["owner"])
    for name, path in PAGES.items():
        if name != "sign-in":
            page.goto(path)
            # The id of the request.
            mask = [page.locator(".problem .note code").last] if name == "not-found" else []
            compare(f"{name}-{theme}-{width}", page.screenshot(mask=mask))


def test_pictures_for_the_documentation(browser, tenant):
    """Overview and run of a tenant with some runs; written with AIAS_UPDATE=1."""
    own = Tenant("pictures")
    own.call("PATCH", f"/api/tenants/{own.id}", {"name": "Example shop"})
    workflow = own.workflow(WORKFLOW.replace("do:\n", "do:\n  - check: {switch: [{paid: {when: '.body.prices != null', then: total}}, {unpaid: {then: end}}]}\n"))
    own.endpoint(workflow)
    for number in range(6):
        run = own.run(workflow, {"id": f"ord_{number}", "prices": [number, 12.5]})
    own.run(workflow, {"id": "ord_7", "prices": ["free", 1]}, "faulted")
    page = browser(viewport={"width": 1280, "height": 860}).sign_in(own.keys["owner"])
    for name, path in (("overview", "/dashboard"), ("run", f"/dashboard/runs/{run}")):
        page.goto(path)
        taken = page.screenshot()
        if UPDATE:
            IMAGES.mkdir(exist_ok=True)
            (IMAGES / f"console-{name}.png").write_bytes(taken)
        assert (IMAGES / f"console-{name}.png").exists()
