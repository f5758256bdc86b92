"""A demo tenant with a workflow, two endpoints, a key, and curl commands to try them."""

import base64
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from pathlib import Path

from build import Failed

WORKFLOW = """\
document: {dsl: '1.0.3', namespace: demo, name: order-total, version: '1.0.0'}
do:
  - pick:
      set:
        order: ${ .body.id // "unknown" }
        lines: ${ .body.line_items // [] }
  - total:
      set:
        order: ${ .order }
        total: ${ [.lines[] | .price * .quantity] | add // 0 }
  - size:
      switch:
        - large: {when: .total > 100, then: large}
        - small: {then: small}
  - large:
      set: {order: '${ .order }', total: '${ .total }', label: large}
      then: end
  - small:
      set: {order: '${ .order }', total: '${ .total }', label: small}
"""

BODY = '{"id":"ord_1","line_items":[{"price":42.5,"quantity":3}]}'


def call(method, url, headers, body=None, content_type="application/json"):
    data = body.encode() if isinstance(body, str) else body and json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=dict(headers))
    if data:
        request.add_header("content-type", content_type)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        raise Failed(f"the demo could not be created: {method} {url} returned {error.code} {error.read().decode()}")


def read(path: Path):
    if not path.exists():
        return {}
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


def write(path: Path, values: dict):
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))


def still_good(values, stack):
    if not {"AIAS_TENANT_ID", "AIAS_API_KEY", "AIAS_WEBHOOK_URL", "AIAS_STRIPE_WEBHOOK_SECRET"} <= values.keys():
        return False
    try:
        call("GET", f"{stack.url}/api/workflows?limit=1", {"authorization": f"Bearer {values['AIAS_API_KEY']}"})
    except Failed:
        return False
    return True


def subscribe(stack, own):
    """Buys the business plan with a checkout, which causes Stripe events."""
    back = f"{stack.url}/api/health"
    request = {"plan": "business", "success_url": back, "cancel_url": back}
    page = call("POST", f"{stack.url}/api/billing/checkout", own, request)["url"]
    call("GET", page, {})
    plan = call("GET", f"{stack.url}/api/billing/subscription", own)["plan"]
    if plan != "business":
        raise Failed(f"the demo tenant bought the plan business, but has {plan}")


def make(stack, path: Path):
    """The values of the demo: those of an earlier start if its tenant still exists."""
    values = read(path)
    if still_good(values, stack):
        moved = {}
        for name, value in values.items():
            for old, new in ((values["AIAS_OIDC_ISSUER"], stack.issuer.url), (values["AIAS_URL"], stack.url)):
                value = value.replace(old, new) if value.startswith(old) else value
            moved[name] = value
        write(path, moved)
        return moved
    token = stack.issuer.token({"sub": "demo-owner"})
    bearer = {"authorization": f"Bearer {token}"}
    tenant = call("POST", f"{stack.url}/api/tenants", bearer, {"name": "Demo"})
    tenant_url = f"{stack.url}/api/tenants/{tenant['id']}"
    key = call("POST", f"{tenant_url}/api-keys", bearer, {"name": "demo", "role": "owner"})["key"]
    own = {"authorization": f"Bearer {key}"}
    subscribe(stack, own)
    workflow = call("POST", f"{stack.url}/api/workflows", own, WORKFLOW, "application/yaml")
    plain = call("POST", f"{stack.url}/api/webhook-endpoints", own, {"name": "Plain", "workflow_id": workflow["id"]})
    signed = call(
        "POST",
        f"{stack.url}/api/webhook-endpoints",
        own,
        {"name": "Signed", "workflow_id": workflow["id"], "verification": {"scheme": "standard-webhooks"}},
    )
    values = {
        "AIAS_URL": stack.url,
        "AIAS_TENANT_ID": tenant["id"],
        "AIAS_API_KEY": key,
        "AIAS_WORKFLOW_ID": workflow["id"],
        "AIAS_WEBHOOK_URL": plain["url"],
        "AIAS_SIGNED_WEBHOOK_URL": signed["url"],
        "AIAS_SIGNED_WEBHOOK_SECRET": signed["verification"]["secret"],
        "AIAS_STRIPE_WEBHOOK_URL": f"{stack.url}/api/stripe/webhook",
        "AIAS_STRIPE_WEBHOOK_SECRET": stack.stripe_webhook_secret,
        "AIAS_OIDC_ISSUER": stack.issuer.url,
        "AIAS_OIDC_TOKEN_URL": f"{stack.issuer.url}/token",
    }
    write(path, values)
    return values


def signed_headers(secret: str, body: str):
    """The headers of Standard Webhooks."""
    stamp, message = str(int(time.time())), f"msg_{int(time.time() * 1000)}"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{message}.{stamp}.{body}".encode(), hashlib.sha256).digest()
    return {
        "webhook-id": message,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def show(values, path: Path, clean: str):
    headers = signed_headers(values["AIAS_SIGNED_WEBHOOK_SECRET"], BODY)
    signed = " ".join(f"-H '{name}: {value}'" for name, value in headers.items())
    bearer = f"-H 'authorization: Bearer {values['AIAS_API_KEY']}'"
    print(f"""
The console: {values['AIAS_URL']}/dashboard (sign in as demo-owner at the local issuer, or with AIAS_API_KEY)
AIAS runs at {values['AIAS_URL']} (settings: {path})

  Send a webhook:
    curl -i {values['AIAS_WEBHOOK_URL']} -H 'content-type: application/json' -d '{BODY}'

  Send a signed one (the signature is valid for five minutes, the event id for seven days):
    curl -i {values['AIAS_SIGNED_WEBHOOK_URL']} -H 'content-type: application/json' {signed} -d '{BODY}'

  Get a run with its output (the id is in the response to a webhook), or list runs:
    curl -s '{values['AIAS_URL']}/api/runs/run_…?include=output' {bearer}
    curl -s {values['AIAS_URL']}/api/runs {bearer}

  Get a token of another person (any subject), here or at {values['AIAS_OIDC_ISSUER']}:
    curl -s {values['AIAS_OIDC_TOKEN_URL']} -d '{{"sub": "alice"}}'

Ctrl-C stops it; the data is kept. `{clean} CLEAN=1` deletes it.
""", flush=True)
