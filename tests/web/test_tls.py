"""Beyond loopback: TLS, a token, and nobody who is not on the list."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.testkit import web_desk as desk
from tests.testkit.supervisor_child import eventually
from tests.testkit.web_child import Desk

TOKEN = "a-token-from-the-environment"


def certificate_in(folder: Path) -> tuple[str, str]:
    """Write a certificate for this machine and its key; return both files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    return str(files[0]), str(files[1])


@pytest.mark.slow
def test_other_machines_are_served_with_tls_and_a_token_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROHOUR_WEB_TOKEN", TOKEN)
    certificate, key = certificate_in(tmp_path)
    settings = desk.settings(
        tmp_path / "data", host="0.0.0.0", allowed_from=["10.0.0.0/8"], tls={"certificate": certificate, "key": key}
    )  # fmt: skip
    made = Desk(tmp_path / "data", settings)
    url = f"https://127.0.0.1:{made.port}"
    trusted = ssl.create_default_context(cafile=certificate)
    try:
        made.feed.start()
        with httpx.Client(base_url=url, verify=trusted, timeout=60) as page:
            eventually(lambda: _is_up(page), 40)
            assert page.get("/api/status").status_code == 401
            assert page.get("/api/status", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
            signed_in = page.post("/login", content=f"token={TOKEN}", headers={"content-type": "text/plain"})
            assert signed_in.status_code == 303
            cookie = signed_in.headers["set-cookie"].lower()
            assert all(word in cookie for word in ("secure", "httponly", "samesite=strict"))
            assert page.get("/api/status").status_code == 200  # by the cookie
            acted = page.post("/api/action/stop", json={})
            assert acted.status_code == 401  # a cookie alone never acts
        with pytest.raises(httpx.HTTPError):
            httpx.get(url.replace("https", "http"), timeout=60)
    finally:
        made.close()


def _is_up(page: httpx.Client) -> bool:
    try:
        return page.get("/healthz").status_code == 200
    except httpx.HTTPError:
        return False
