"""What the settings of a folder may say, before any server is asked."""

from __future__ import annotations

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
from sources.folder.sftp_filesystem import parse_private_key

SECRETS = {"key": "house", "secret": "sesame"}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"url": "ftp://host/in"}, "'ftp' is no kind of folder"),
        ({"url": "s3://bucket/in"}, "set key and secret"),
        (
            {"url": "s3://bucket/in", "secrets": SECRETS, "options": {"profile": "x"}},
            "['profile'] are no options",
        ),
        ({"url": "sftp://me@host/in", "secrets": {"password": "x"}}, "set known_hosts"),
        ({"url": "sftp://me@host/in", "options": {"known_hosts": "/nowhere"}}, "no file '/nowhere' of known hosts"),
        ({"url": "webdav+http://host/in"}, "for this machine itself only"),
        ({"url": "webdav+https://host/in", "options": {"username": "me"}}, "both username and password"),
    ],
)
def test_what_is_wrong_is_told_in_words(said: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        connect_to_folder(FolderSettings(name="away", **said))
    assert "'away'" in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [("s3://bucket", "s3fs", "s3"), ("gs://bucket", "gcsfs", "gcs"), ("az://container", "adlfs", "azure")],
)
def test_a_package_that_is_missing_is_named_with_the_way_to_install_it(
    url: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=rf"pip install 'invoices\[{extra}\]'"):
        connect_to_folder(FolderSettings(name="away", url=url))


def test_a_private_key_that_is_none_is_told_without_it(tmp_path: Path) -> None:
    (tmp_path / "known").write_text("host ssh-ed25519 AAAA")
    settings = FolderSettings(
        name="away", url="sftp://me@host/in", options={"known_hosts": str(tmp_path / "known")},
        secrets={"private_key": "hush-hush"},
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="private_key: KeyImportError") as error_info:
        connect_to_folder(settings)
    assert "hush" not in str(error_info.value)


def test_a_private_key_may_have_a_passphrase() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    text = key.export_private_key("openssh", passphrase="sesame").decode().strip()
    assert parse_private_key(text, "sesame", "away").export_public_key() == key.export_public_key()
    for wrong in (None, "hush-hush"):
        with pytest.raises(ConfigurationError, match="private_key: Key"):
            parse_private_key(text, wrong, "away")


def test_a_folder_here_may_be_said_as_a_url(tmp_path: Path) -> None:
    at = open_folder_backend(FolderSettings(name="here", url=f"file://{tmp_path}/my%20bills"))
    assert isinstance(at, LocalFolder)
    assert at.root == tmp_path / "my bills"


@pytest.mark.parametrize(("after", "parts"), [("keep", ()), ("move:done", ("done",)), ("move:a/b/", ("a", "b"))])
def test_the_folder_beside_is_known_by_its_parts(after: str, parts: tuple[str, ...]) -> None:
    assert tuple(parse_move_target(FolderSettings(name="here", url="/in", after=after))) == parts
