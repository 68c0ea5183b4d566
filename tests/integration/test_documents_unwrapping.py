"""Unwrapping processes: limited, killed where they must be, and their parts whole in the store or not counted."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from invoices.documents.child import Limits
from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import LIMITS, Unwrappers
from tests.integration import odd_unwrapper

MEGABYTE = 1 << 20
ODD = odd_unwrapper.__name__
IN_TIME = Limits(memory_bytes=LIMITS.memory_bytes, seconds=1.5)


@pytest.fixture
def store(tmp_path: Path) -> DocumentStore:
    return DocumentStore(tmp_path / "documents")


@pytest.fixture(scope="module")
def odd() -> Iterator[Unwrappers]:
    """One process that does what a container tells it to."""
    with Unwrappers(1, IN_TIME, module=ODD) as pool:
        yield pool


@pytest.fixture(scope="module")
def unwrappers() -> Iterator[Unwrappers]:
    """The real thing."""
    with Unwrappers(2) as pool:
        yield pool


def mail_with(*files: bytes) -> bytes:
    """Return a mail with these PDF files attached."""
    head = b"From: a@seller.example\r\nTo: b@us.example\r\nSubject: Invoice\r\nMIME-Version: 1.0\r\n"
    parts = [b"Content-Type: text/plain\r\n\r\nPlease find attached."]
    for number, file in enumerate(files):
        name = b"Content-Disposition: attachment; filename=%d.pdf\r\n" % number
        encoded = base64.encodebytes(file).replace(b"\n", b"\r\n")
        parts.append(
            b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n" + name + b"\r\n" + encoded
        )
    body = b"".join(b"--edge\r\n" + part + b"\r\n" for part in parts) + b"--edge--\r\n"
    return head + b"Content-Type: multipart/mixed; boundary=edge\r\n\r\n" + body


def pdf(number: int, size: int = 1000) -> bytes:
    return b"%%PDF-1.7 %d\n" % number + b"x" * size + b"\n%%EOF\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_is_in_a_mail_is_in_the_store_under_its_hash(store: DocumentStore, unwrappers: Unwrappers) -> None:
    files = [pdf(1), pdf(2, 3 * MEGABYTE), pdf(3)]
    with store.landing() as landing:
        found = unwrappers.unwrap(mail_with(*files), landing)
    assert [part.section for part in found.parts if part.media_type == "application/pdf"] == ["2", "3", "4"]
    assert len(found.hashes) == len(found.parts)
    assert {sha256(file) for file in files} <= set(found.hashes)
    assert all(store.read(each) for each in found.hashes)
    assert found.header is not None
    assert found.header.sender == "a@seller.example"


def test_a_mail_in_a_file_is_opened_like_one_in_memory(
    store: DocumentStore, unwrappers: Unwrappers, tmp_path: Path
) -> None:
    (tmp_path / "a.eml").write_bytes(mail_with(pdf(1)))
    with store.landing() as landing:
        found = unwrappers.unwrap(tmp_path / "a.eml", landing)
        assert found == unwrappers.unwrap(mail_with(pdf(1)), landing)
    assert sha256(pdf(1)) in found.hashes


def test_a_container_of_too_many_bytes_is_not_opened(store: DocumentStore, tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(bytes(11))
    with Unwrappers(1, Limits(max_bytes=10)) as pool, store.landing() as landing:
        assert pool.unwrap(bytes(11), landing).reason_code == "too_large"
        assert pool.unwrap(tmp_path / "a.eml", landing).reason_code == "too_large"
        assert children() == []


def children() -> list[psutil.Process]:
    mine = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in mine if ODD in child.cmdline()]


@pytest.mark.parametrize(
    ("order", "reason_code"),
    {
        b"hang": "reader_timeout",
        b"crash": "reader_crashed",
        b"bomb": "reader_memory",
        b"hang in the middle": "reader_timeout",
        b"crash in the middle": "reader_crashed",
        b"die of memory in the middle": "reader_memory",
        b"lie about lengths": "reader_crashed",
        b"say more than asked": "reader_crashed",
        b"claim a terabyte": "reader_crashed",
        b"set aside at will": "reader_crashed",
        b"call it something long": "reader_crashed",
        b"claim less than nothing": "reader_crashed",
        b"tell rubbish": "reader_crashed",
        b"tell hashes": "reader_crashed",
        b"leave out at will": "reader_crashed",
    }.items(),
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_a_process_that_gives_no_whole_answer_costs_one_result(
    store: DocumentStore, odd: Unwrappers, order: bytes, reason_code: str
) -> None:
    with store.landing() as landing:
        found = odd.unwrap(order, landing)
        assert (found.reason_code, list(found.parts), found.hashes) == (reason_code, [], ())
        assert found.reason
        assert odd.unwrap(b"say next", landing).hashes == (sha256(b"next"),)
    assert store.read(sha256(b"next")) == b"next"


def test_results_come_in_order_from_all_processes(store: DocumentStore) -> None:
    said = [b"say %d" % number for number in range(200)]
    said[50:53] = [b"crash", b"tell rubbish", b"say 50"]
    with Unwrappers(2, module=ODD) as pool, store.landing() as landing:
        found = list(pool.unwrap_ordered(iter(said), landing))
    told = [each.reason_code or each.hashes[0] for each in found]
    crashed = {b"crash", b"tell rubbish"}
    assert told == ["reader_crashed" if each in crashed else sha256(each[4:]) for each in said]
    assert all(each in store for each in told if each != "reader_crashed")


def test_only_so_much_is_drawn_ahead(store: DocumentStore, odd: Unwrappers) -> None:
    drawn = []

    def endless() -> Iterator[bytes]:
        while True:
            drawn.append(len(drawn))
            yield b"say " + bytes(5 * MEGABYTE)

    with store.landing() as landing:
        results = odd.unwrap_ordered(endless(), landing)
        next(results)
        assert len(drawn) < 20
        results.close()
        assert odd.unwrap(b"say next", landing).hashes == (sha256(b"next"),)


def test_threads_share_the_processes_and_the_landing(store: DocumentStore) -> None:
    said = [b"say %d" % (number % 70) for number in range(140)]
    with Unwrappers(2, module=ODD) as pool, store.landing() as landing, ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda content: pool.unwrap(content, landing), said))
    assert [each.hashes for each in found] == [(sha256(each[4:]),) for each in said]
    assert len([path for path in store.path("0" * 64).parents[1].rglob("*") if path.is_file()]) == 70


def test_a_child_knows_no_secret(store: DocumentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOICES_MAILBOXES", "a-secret")
    with Unwrappers(1, module=ODD) as pool, store.landing() as landing:
        known = pool.unwrap(b"surroundings", landing).hashes[0]
        landing.settle()
        assert b"LC_ALL=C.UTF-8" in store.read(known)
        assert b"a-secret" not in store.read(known)


@pytest.mark.skipif(os.uname().machine not in {"x86_64", "aarch64"}, reason="the filter knows no other processor")
@pytest.mark.parametrize("attempt", ["tcp", "udp by the C library", "run", "write", "remove", "look at the parent"])
def test_the_kernel_refuses_a_child(store: DocumentStore, odd: Unwrappers, attempt: str) -> None:
    with store.landing() as landing:
        found = odd.unwrap(attempt.encode(), landing)
    assert found.hashes == (sha256(b"refused: PermissionError"),)


def test_a_landing_that_cannot_write_says_so_and_the_next_mail_is_opened(
    store: DocumentStore, odd: Unwrappers, limited_files: Callable[[int], None]
) -> None:
    limited_files(10 * MEGABYTE)
    with pytest.raises(OSError, match="File too large"), store.landing() as landing:
        odd.unwrap(b"large", landing)
    assert list(store.path("0" * 64).parents[1].rglob("incoming/*")) == []
    with store.landing() as landing:
        assert odd.unwrap(b"say next", landing).hashes == (sha256(b"next"),)


@pytest.fixture
def limited_files() -> Iterator[Callable[[int], None]]:
    """Set how large a file of this process may be, as a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def archive_bomb(megabytes: int) -> bytes:
    """Return a ZIP with one file of zeros: a thousandth of what it unpacks to."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros.pdf", "w") as file:
        for _ in range(megabytes):
            file.write(bytes(MEGABYTE))
    return written.getvalue()


def megabytes(kind: str, process: int | str = "self") -> int:
    """Return the most (``VmHWM``) or present (``VmRSS``) memory of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(kind))


PROGRAM = """
import pathlib
from invoices.documents.store import DocumentStore
from invoices.documents.unwrapping.unwrapping import Unwrappers
from tests.integration.test_documents_unwrapping import *
store = DocumentStore(pathlib.Path({store!r}))
bomb = mail_with(archive_bomb(300))
with Unwrappers(1) as pool, Unwrappers(1, module=ODD) as odd, store.landing() as landing:
    for order in (bomb, b"say"): pool.unwrap(order, landing)
    assert len(odd.unwrap(b"large", landing).parts) == 4
    before = megabytes("VmHWM")
    for _ in range(97): assert len(pool.unwrap(bomb, landing).parts) == 1
    for order in (b"bomb", b"crash", b"lie about lengths"): odd.unwrap(order, landing)
    print(before, megabytes("VmHWM"))
"""


def test_the_parent_stays_flat_over_a_hundred_bombs(tmp_path: Path) -> None:
    program = PROGRAM.format(store=str(tmp_path / "documents"))
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, after = map(int, ran.stdout.split())
    assert after <= before + 3
    assert before < 100  # 80 MB of parts went through it


def test_a_mail_of_fifty_megabytes_is_opened_within_the_memory_allowed(
    store: DocumentStore, unwrappers: Unwrappers
) -> None:
    files = [pdf(1, 20 * MEGABYTE), pdf(2, 16 * MEGABYTE)]
    with store.landing() as landing:
        found = unwrappers.unwrap(mail_with(*files), landing)
    assert {sha256(file) for file in files} <= set(found.hashes)
