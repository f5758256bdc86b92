"""A small local OIDC issuer, which signs any requested token.

`GET /` is a page on which a person gets a token. `POST /token` accepts claims as JSON and returns `{"access_token": …}`. Members that are not
claims: `alg` (RS256, ES256, HS256, none), `kid`, `expires_in`.
"""

import html
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

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

            def show(self, result=""):
                text = PAGE.format(result=result).encode()
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def do_GET(self):
                if self.path == "/":
                    self.show()
                elif self.path == "/.well-known/openid-configuration":
                    self.answer({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks.json"})
                elif self.path == "/jwks.json":
                    self.answer({"keys": issuer.public_keys()})
                else:
                    self.answer({"error": "not found"}, 404)

            def do_POST(self):
                length = int(self.headers.get("content-length") or 0)
                if self.path != "/token" or length > 65536:
                    return self.answer({"error": "not found"}, 404)
                body = self.rfile.read(length)
                if self.headers.get_content_type() == "application/x-www-form-urlencoded" and body.startswith(b"sub="):
                    subject = parse_qs(body.decode(errors="replace"))["sub"][0]
                    token = html.escape(issuer.token({"sub": subject}))
                    return self.show(f"<p>A token of {html.escape(subject)}, valid for an hour:</p><pre>{token}</pre>")
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
