"""A small local OIDC issuer, which signs any requested token.

`GET /` is a page on which a person gets a token, `GET /authorize` one on which a person signs in to the console (authorization code
flow with PKCE). `POST /token` accepts a code as a form, or claims as JSON, and returns `{"access_token": …}`. Members that are not claims:
`alg` (RS256, ES256, HS256, none), `kid`, `expires_in`.
"""

import base64
import hashlib
import html
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "aias"

PAGE = """<!doctype html><meta charset="utf-8"><title>Local issuer</title>
<h1>Local issuer</h1>
<p>Signs tokens for AIAS on this machine. There are no passwords: everybody is who they say.</p>
<form method="post" action="/token"><label>Subject <input name="sub" required></label> <button>Get a token</button></form>
{result}
"""


SIGN_IN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Local issuer</title>
<h1>Local issuer</h1>
<p>Signs people in to AIAS on this machine. There are no passwords: everybody is who they say.</p>
<form method="post" action="/authorize">{hidden}<label>Subject <input name="sub" value="demo-owner" required autofocus></label>
<button>Sign in</button></form>
"""

REQUEST = ("client_id", "redirect_uri", "state", "nonce", "code_challenge")


def load_or_make(path: Path, make):
    """The private key, which stays the same between starts."""
    if path.exists():
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    key = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = serialization.PrivateFormat.PKCS8
    encoded = key.private_bytes(serialization.Encoding.PEM, pem, serialization.NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(encoded)
    return key


class Issuer:
    def __init__(self, port: int, folder: Path):
        self.url = f"http://127.0.0.1:{port}"
        self.keys = {
            "RS256": load_or_make(folder / "rsa.pem", lambda: rsa.generate_private_key(65537, 2048)),
            "ES256": load_or_make(folder / "ec.pem", lambda: ec.generate_private_key(ec.SECP256R1())),
        }
        # Codes that were given, each with its request and its subject.
        self.codes = {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, body, status=200):
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def show(self, text):
                text = text.encode()
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self):
                url = urlsplit(self.path)
                if url.path == "/":
                    self.show(PAGE.format(result=""))
                elif url.path == "/authorize":
                    self.ask(parse_qs(url.query))
                elif self.path == "/.well-known/openid-configuration":
                    self.answer(
                        {
                            "issuer": issuer.url,
                            "jwks_uri": f"{issuer.url}/jwks.json",
                            "authorization_endpoint": f"{issuer.url}/authorize",
                            "token_endpoint": f"{issuer.url}/token",
                        }
                    )
                elif self.path == "/jwks.json":
                    self.answer({"keys": issuer.public_keys()})
                else:
                    self.answer({"error": "not found"}, 404)

            def ask(self, query):
                """The page on which a person signs in."""
                known = {name: query.get(name, [""])[0] for name in REQUEST}
                local = urlsplit(known["redirect_uri"]).hostname in ("127.0.0.1", "localhost")
                if not local or query.get("response_type") != ["code"] or query.get("code_challenge_method") != ["S256"]:
                    return self.answer({"error": "invalid_request"}, 400)
                field = '<input type="hidden" name="{}" value="{}">'
                hidden = "".join(field.format(name, html.escape(value)) for name, value in known.items())
                self.show(SIGN_IN.format(hidden=hidden))

            def redirect(self, form):
                """Returns a person who signed in to the console, with a code."""
                known = {name: form.get(name, [""])[0] for name in (*REQUEST, "sub")}
                code = token_urlsafe(24)
                issuer.codes[code] = known
                self.send_response(303)
                self.send_header("location", f"{known['redirect_uri']}?{urlencode({'code': code, 'state': known['state']})}")
                self.send_header("content-length", "0")
                self.end_headers()

            def redeem(self, form):
                """The tokens of a code, which is valid once."""
                known = issuer.codes.pop(form.get("code", [""])[0], None)
                digest = hashlib.sha256(form.get("code_verifier", [""])[0].encode()).digest()
                challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
                same = known and all(form.get(name) == [known[name]] for name in ("client_id", "redirect_uri"))
                if not same or challenge != known["code_challenge"]:
                    return self.answer({"error": "invalid_grant"}, 400)
                claims = {"sub": known["sub"]}
                token = issuer.token({**claims, "aud": known["client_id"], "nonce": known["nonce"]})
                self.answer({"id_token": token, "access_token": issuer.token(claims), "token_type": "Bearer"})

            def do_POST(self):
                length = int(self.headers.get("content-length") or 0)
                if self.path not in ("/token", "/authorize") or length > 65536:
                    return self.answer({"error": "not found"}, 404)
                body = self.rfile.read(length)
                if self.headers.get_content_type() == "application/x-www-form-urlencoded" and not body.startswith(b"{"):
                    form = parse_qs(body.decode(errors="replace"))
                    if self.path == "/authorize":
                        return self.redirect(form)
                    if "code" in form:
                        return self.redeem(form)
                    subject = form.get("sub", [""])[0]
                    token = html.escape(issuer.token({"sub": subject}))
                    result = f"<p>A token of {html.escape(subject)}, valid for an hour:</p><pre>{token}</pre>"
                    return self.show(PAGE.format(result=result))
                try:
                    claims = json.loads(body or b"{}")
                    token = issuer.token(claims)
                except (ValueError, TypeError, AttributeError) as error:
                    return self.answer({"error": "invalid_request", "error_description": str(error)}, 400)
                self.answer({"access_token": token, "token_type": "Bearer"})

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def public_keys(self):
        keys = []
        for alg, key in self.keys.items():
            algorithm = jwt.get_algorithm_by_name(alg)
            jwk = json.loads(algorithm.to_jwk(key.public_key()))
            jwk.pop("key_ops", None)
            keys.append({**jwk, "kid": alg.lower(), "alg": alg, "use": "sig"})
        return keys

    def token(self, asked: dict) -> str:
        claims = dict(asked)
        alg = claims.pop("alg", "RS256")
        kid = claims.pop("kid", alg.lower())
        expires_in = claims.pop("expires_in", 3600)
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "iat": now, "exp": now + expires_in, **claims}
        key = self.keys.get(alg) or ("" if alg == "none" else "0" * 32)
        return jwt.encode(claims, key, algorithm=alg, headers={"kid": kid})

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
