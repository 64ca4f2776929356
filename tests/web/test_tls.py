"""Beyond loopback: TLS, a token, and nobody who is not on the list."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest

from tests.testkit import web_desk as desk
from tests.testkit.browser import chromium
from tests.testkit.certificates import certificate_in
from tests.testkit.supervisor_child import eventually
from tests.testkit.web_child import Desk

TOKEN = "a-token-from-the-environment"


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
            eventually(lambda: _is_up(page))
            assert page.get("/api/status").status_code == 401
            assert page.get("/api/status", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
            signed_in = page.post("/login", content=f"token={TOKEN}", headers={"content-type": "text/plain"})
            assert signed_in.status_code == 303
            cookie = signed_in.headers["set-cookie"].lower()
            assert all(word in cookie for word in ("secure", "httponly", "samesite=strict"))
            assert page.get("/api/status").status_code == 200  # by the cookie
            with chromium() as browser:
                phone = browser.new_context(ignore_https_errors=True).new_page()
                phone.goto(url)
                phone.fill("input[name=token]", TOKEN)
                phone.click("button")
                phone.wait_for_selector("html[data-ready]")
                assert phone.url == f"{url}/"
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
