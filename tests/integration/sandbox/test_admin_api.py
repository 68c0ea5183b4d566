"""The admin API of the sandbox: settings over HTTP."""

from __future__ import annotations

import requests

from sandbox.process import Sandbox


def test_a_wrong_setting_is_refused_by_the_admin_api(sandbox: Sandbox) -> None:
    url = f"http://127.0.0.1:{sandbox.port}/_sandbox/settings"
    for body in (b'{"smartbills_com.nothing": 1}', b"[]", b"{"):
        assert requests.post(url, data=body, timeout=10).status_code == 400
    assert "smartbills_com.plan" in requests.get(url, timeout=10).json()
