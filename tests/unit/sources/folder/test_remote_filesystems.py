"""The settings of remote folders, checked before any server is contacted."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from invoices.errors import ConfigurationError
from invoices.settings.sources import FolderSettings
from sources.folder.backend_factory import open_folder_backend
from sources.folder.folder_backend import parse_move_target
from sources.folder.local_folder import LocalFolder
from sources.folder.remote_filesystems import connect_to_folder
from sources.folder.remote_folder import parse_byte_count, parse_modified_ns
from sources.folder.sftp_filesystem import parse_private_key

SECRETS = {"key": "user", "secret": "sesame"}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"url": "ftp://host/in"}, "'ftp' is not supported"),
        ({"url": "s3://bucket/in"}, "set key and secret"),
        (
            {"url": "s3://bucket/in", "secrets": SECRETS, "options": {"profile": "x"}},
            "unknown options for s3: ['profile']",
        ),
        ({"url": "sftp://me@host/in", "secrets": {"password": "x"}}, "set known_hosts"),
        ({"url": "sftp://me@host/in", "options": {"known_hosts": "/nowhere"}}, "file '/nowhere' does not exist"),
        ({"url": "webdav+http://host/in"}, "only for this machine"),
        ({"url": "webdav+https://host/in", "options": {"username": "me"}}, "both username and password"),
    ],
)
def test_wrong_settings_are_explained(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        connect_to_folder(FolderSettings(name="away", **settings))
    assert "'away'" in str(error.value)
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [("s3://bucket", "s3fs", "s3"), ("gs://bucket", "gcsfs", "gcs"), ("az://container", "adlfs", "azure")],
)
def test_a_missing_package_is_named_with_its_install_command(
    url: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=rf"pip install 'invoices\[{extra}\]'"):
        connect_to_folder(FolderSettings(name="away", url=url))


def test_the_error_about_an_invalid_private_key_does_not_contain_it(tmp_path: Path) -> None:
    (tmp_path / "known").write_text("host ssh-ed25519 AAAA")
    settings = FolderSettings(
        name="away", url="sftp://me@host/in", options={"known_hosts": str(tmp_path / "known")},
        secrets={"private_key": "hush-hush"},
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="private_key and its passphrase: KeyImportError") as error_info:
        connect_to_folder(settings)
    assert "hush" not in str(error_info.value)


def test_a_private_key_may_have_a_passphrase() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    text = key.export_private_key("openssh", passphrase="sesame").decode().strip()
    assert parse_private_key(text, "sesame", "away").export_public_key() == key.export_public_key()
    for wrong_passphrase in (None, "hush-hush"):
        with pytest.raises(ConfigurationError, match="private_key and its passphrase: Key"):
            parse_private_key(text, wrong_passphrase, "away")


def test_a_local_folder_may_be_a_file_url(tmp_path: Path) -> None:
    backend = open_folder_backend(FolderSettings(name="here", url=f"file://{tmp_path}/my%20bills"))
    assert isinstance(backend, LocalFolder)
    assert backend.root == tmp_path / "my bills"


@pytest.mark.parametrize(("after", "parts"), [("keep", ()), ("move:done", ("done",)), ("move:a/b/", ("a", "b"))])
def test_the_target_of_a_move_is_parsed_into_directories(after: str, parts: tuple[str, ...]) -> None:
    assert tuple(parse_move_target(FolderSettings(name="here", url="/in", after=after))) == parts


@pytest.mark.parametrize("size", [None, "large", "-1", -1, float("nan"), float("inf"), 2**63, [], ""])
def test_a_size_that_makes_no_sense_is_none(size: object) -> None:
    assert parse_byte_count({"size": size}) is None
    assert parse_byte_count({}) is None


@pytest.mark.parametrize(
    "modified",
    [float("nan"), float("inf"), "never", "9999-99-99", [], dt.datetime.min.replace(tzinfo=dt.UTC)],
)
def test_a_time_that_makes_no_sense_is_unknown_or_in_the_past(modified: object) -> None:
    assert parse_modified_ns({"mtime": modified}) <= 0
    assert parse_modified_ns({"mtime": 1.5}) == 1_500_000_000
