"""The admin API of the sandbox: settings over HTTP, for those who know its token; and who is answered at all."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
import requests

from sandbox.__main__ import main
from sandbox.middleware import is_loopback_authority
from sandbox.process import Sandbox


def build_headers(sandbox: Sandbox) -> dict[str, str]:
    return {"Authorization": f"Bearer {sandbox.admin_token}"}


def test_a_wrong_setting_is_refused_by_the_admin_api(sandbox: Sandbox) -> None:
    url, headers = f"http://127.0.0.1:{sandbox.port}/_sandbox/settings", build_headers(sandbox)
    for body in (b'{"smartbills_com.nothing": 1}', b"[]", b"{"):
        assert requests.post(url, data=body, headers=headers, timeout=10).status_code == 400
    assert "smartbills_com.plan" in requests.get(url, headers=headers, timeout=10).json()


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Bearer sk_test_sandbox"])
def test_without_its_token_the_admin_api_shows_and_changes_nothing(sandbox: Sandbox, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    url = f"http://127.0.0.1:{sandbox.port}/_sandbox"
    answers = [
        requests.get(f"{url}/journal", headers=headers, timeout=10),
        requests.get(f"{url}/settings", headers=headers, timeout=10),
        requests.post(f"{url}/settings", data=b'{"smartbills_com.plan": "pro"}', headers=headers, timeout=10),
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    settings = requests.get(f"{url}/settings", headers=build_headers(sandbox), timeout=10).json()
    assert settings["smartbills_com.plan"]["value"] == "free"
    assert sandbox.admin_token not in repr(sandbox)


@pytest.mark.parametrize("mount", ["_sandbox/settings", "smartbills_com/v1/invoices/inv_1", "nothing"])
def test_a_page_whose_name_was_pointed_to_this_machine_gets_no_answer(sandbox: Sandbox, mount: str) -> None:
    headers = build_headers(sandbox) | {"Host": f"evil.example:{sandbox.port}"}
    answer = requests.get(f"http://127.0.0.1:{sandbox.port}/{mount}", headers=headers, timeout=10)
    assert answer.status_code == 421
    assert "127.0.0.1" in answer.text


@pytest.mark.parametrize(
    ("authority", "is_loopback"),
    [
        ("127.0.0.1", True), ("127.0.0.1:8080", True), ("LocalHost:1", True), ("[::1]", True), ("[::1]:80", True),
        ("", False), ("evil.example", False), ("127.0.0.1.evil.example", False), ("localhost:80@evil.example", False),
        ("evil.example:127.0.0.1", False), ("localhost:8x", False), ("::1", False), ("localhost.", False),
    ],
)  # fmt: skip
def test_only_names_of_this_machine_are_loopback_names(authority: str, is_loopback: bool) -> None:
    assert is_loopback_authority(authority) == is_loopback


def test_a_port_that_is_taken_is_named_with_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken_socket:
        port = taken_socket.getsockname()[1]
        assert main(["serve", "--state", str(tmp_path), "--port", str(port)]) == 2
    message = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1" in message
    assert "--port" in message
    assert main(["serve", "--state", str(tmp_path), "--port", "70000"]) == 2
    assert "between 0 and 65535" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no privileged ports")
def test_the_message_ends_without_the_state_folder_being_held(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken_socket:
        arguments = ["serve", "--state", str(tmp_path), "--port", str(taken_socket.getsockname()[1])]
        assert [main(arguments), main(arguments)] == [2, 2]
