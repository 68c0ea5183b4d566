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

from invoices.documents.child_process import ProcessLimits
from invoices.documents.containers.container_opener_pool import CONTAINER_LIMITS, ContainerOpenerPool
from invoices.documents.store import DocumentStore
from tests.integration.documents.containers import misbehaving_container_opener

MEGABYTE = 1 << 20
MISBEHAVING_MODULE = misbehaving_container_opener.__name__
SHORT_LIMITS = ProcessLimits(memory_bytes=CONTAINER_LIMITS.memory_bytes, seconds=1.5)


@pytest.fixture
def store(tmp_path: Path) -> DocumentStore:
    return DocumentStore(tmp_path / "documents")


@pytest.fixture(scope="module")
def misbehaving_opener_pool() -> Iterator[ContainerOpenerPool]:
    """One process that does what a container tells it to."""
    with ContainerOpenerPool(1, SHORT_LIMITS, module=MISBEHAVING_MODULE) as pool:
        yield pool


@pytest.fixture(scope="module")
def opener_pool() -> Iterator[ContainerOpenerPool]:
    """The real thing."""
    with ContainerOpenerPool(2) as pool:
        yield pool


def build_mail(*files: bytes) -> bytes:
    """Return a mail with these PDF files attached."""
    headers = b"From: a@seller.example\r\nTo: b@us.example\r\nSubject: Invoice\r\nMIME-Version: 1.0\r\n"
    parts = [b"Content-Type: text/plain\r\n\r\nPlease find attached."]
    for number, content in enumerate(files):
        name = b"Content-Disposition: attachment; filename=%d.pdf\r\n" % number
        encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
        parts.append(
            b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n" + name + b"\r\n" + encoded
        )
    body = b"".join(b"--edge\r\n" + part + b"\r\n" for part in parts) + b"--edge--\r\n"
    return headers + b"Content-Type: multipart/mixed; boundary=edge\r\n\r\n" + body


def build_pdf(number: int, size: int = 1000) -> bytes:
    return b"%%PDF-1.7 %d\n" % number + b"x" * size + b"\n%%EOF\n"


def hash_content(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_is_in_a_mail_is_in_the_store_under_its_hash(
    store: DocumentStore, opener_pool: ContainerOpenerPool
) -> None:
    files = [build_pdf(1), build_pdf(2, 3 * MEGABYTE), build_pdf(3)]
    with store.open_batch() as landing:
        opened = opener_pool.open_container(build_mail(*files), landing)
    assert [part.section for part in opened.parts if part.media_type == "application/pdf"] == ["2", "3", "4"]
    assert len(opened.part_hashes) == len(opened.parts)
    assert {hash_content(file) for file in files} <= set(opened.part_hashes)
    assert all(store.read(each) for each in opened.part_hashes)
    assert opened.header is not None
    assert opened.header.sender == "a@seller.example"


def test_a_mail_in_a_file_is_opened_like_one_in_memory(
    store: DocumentStore, opener_pool: ContainerOpenerPool, tmp_path: Path
) -> None:
    (tmp_path / "a.eml").write_bytes(build_mail(build_pdf(1)))
    with store.open_batch() as landing:
        opened = opener_pool.open_container(tmp_path / "a.eml", landing)
        assert opened == opener_pool.open_container(build_mail(build_pdf(1)), landing)
    assert hash_content(build_pdf(1)) in opened.part_hashes


def test_a_container_of_too_many_bytes_is_not_opened(store: DocumentStore, tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(bytes(11))
    with ContainerOpenerPool(1, ProcessLimits(max_bytes=10)) as pool, store.open_batch() as landing:
        assert pool.open_container(bytes(11), landing).reason_code == "too_large"
        assert pool.open_container(tmp_path / "a.eml", landing).reason_code == "too_large"
        assert list_opener_processes() == []


def list_opener_processes() -> list[psutil.Process]:
    live_children = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in live_children if MISBEHAVING_MODULE in child.cmdline()]


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
    store: DocumentStore, misbehaving_opener_pool: ContainerOpenerPool, order: bytes, reason_code: str
) -> None:
    with store.open_batch() as landing:
        opened = misbehaving_opener_pool.open_container(order, landing)
        assert (opened.reason_code, list(opened.parts), opened.part_hashes) == (reason_code, [], ())
        assert opened.reason
        assert misbehaving_opener_pool.open_container(b"say next", landing).part_hashes == (hash_content(b"next"),)
    assert store.read(hash_content(b"next")) == b"next"


def test_results_come_in_order_from_all_processes(store: DocumentStore) -> None:
    orders = [b"say %d" % number for number in range(200)]
    orders[50:53] = [b"crash", b"tell rubbish", b"say 50"]
    with ContainerOpenerPool(2, module=MISBEHAVING_MODULE) as pool, store.open_batch() as landing:
        opened = list(pool.open_containers_in_order(iter(orders), landing))
    reasons_or_hashes = [each.reason_code or each.part_hashes[0] for each in opened]
    crashed = {b"crash", b"tell rubbish"}
    assert reasons_or_hashes == ["reader_crashed" if each in crashed else hash_content(each[4:]) for each in orders]
    assert all(each in store for each in reasons_or_hashes if each != "reader_crashed")


def test_only_so_much_is_drawn_ahead(store: DocumentStore, misbehaving_opener_pool: ContainerOpenerPool) -> None:
    drawn = []

    def generate_mails() -> Iterator[bytes]:
        while True:
            drawn.append(len(drawn))
            yield b"say " + bytes(5 * MEGABYTE)

    with store.open_batch() as landing:
        results = misbehaving_opener_pool.open_containers_in_order(generate_mails(), landing)
        next(results)
        assert len(drawn) < 20
        results.close()
        assert misbehaving_opener_pool.open_container(b"say next", landing).part_hashes == (hash_content(b"next"),)


def test_threads_share_the_processes_and_the_store_batch(store: DocumentStore) -> None:
    orders = [b"say %d" % (number % 70) for number in range(140)]
    with (
        ContainerOpenerPool(2, module=MISBEHAVING_MODULE) as pool,
        store.open_batch() as landing,
        ThreadPoolExecutor(4) as threads,
    ):
        opened = list(threads.map(lambda content: pool.open_container(content, landing), orders))
    assert [each.part_hashes for each in opened] == [(hash_content(each[4:]),) for each in orders]
    assert len([path for path in store.get_path("0" * 64).parents[1].rglob("*") if path.is_file()]) == 70


def test_a_child_knows_no_secret(store: DocumentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOICES_MAILBOXES", "a-secret")
    with ContainerOpenerPool(1, module=MISBEHAVING_MODULE) as pool, store.open_batch() as landing:
        known = pool.open_container(b"surroundings", landing).part_hashes[0]
        landing.flush()
        assert b"LC_ALL=C.UTF-8" in store.read(known)
        assert b"a-secret" not in store.read(known)


@pytest.mark.skipif(os.uname().machine not in {"x86_64", "aarch64"}, reason="the filter knows no other processor")
@pytest.mark.parametrize("attempt", ["tcp", "udp by the C library", "run", "write", "remove", "look at the parent"])
def test_the_kernel_refuses_a_child(
    store: DocumentStore, misbehaving_opener_pool: ContainerOpenerPool, attempt: str
) -> None:
    with store.open_batch() as landing:
        opened = misbehaving_opener_pool.open_container(attempt.encode(), landing)
    assert opened.part_hashes == (hash_content(b"refused: PermissionError"),)


def test_a_store_batch_that_cannot_write_says_so_and_the_next_mail_is_opened(
    store: DocumentStore, misbehaving_opener_pool: ContainerOpenerPool, limit_file_size: Callable[[int], None]
) -> None:
    limit_file_size(10 * MEGABYTE)
    with pytest.raises(OSError, match="File too large"), store.open_batch() as landing:
        misbehaving_opener_pool.open_container(b"large", landing)
    assert list(store.get_path("0" * 64).parents[1].rglob("incoming/*")) == []
    with store.open_batch() as landing:
        assert misbehaving_opener_pool.open_container(b"say next", landing).part_hashes == (hash_content(b"next"),)


@pytest.fixture
def limit_file_size() -> Iterator[Callable[[int], None]]:
    """Set how large a file of this process may be, as a quota does."""
    previous_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, previous_limit[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, previous_limit)


def build_zip_bomb(megabytes: int) -> bytes:
    """Return a ZIP with one file of zeros: a thousandth of what it unpacks to."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros.pdf", "w") as file:
        for _ in range(megabytes):
            file.write(bytes(MEGABYTE))
    return buffer.getvalue()


def read_memory_megabytes(field_name: str, process: int | str = "self") -> int:
    """Return the most (``VmHWM``) or present (``VmRSS``) memory of a process."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(field_name))


MEMORY_SCRIPT = """
import pathlib
from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.store import DocumentStore
from tests.integration.documents.containers.test_container_opener_pool import *
store = DocumentStore(pathlib.Path({store!r}))
bomb = build_mail(build_archive_bomb(300))
with (
    ContainerOpenerPool(1) as pool,
    ContainerOpenerPool(1, module=MISBEHAVING_MODULE) as misbehaving_pool,
    store.open_batch() as batch,
):
    for content in (bomb, b"say"): pool.open_container(content, batch)
    assert len(misbehaving_pool.open_container(b"large", batch).parts) == 4
    before = read_memory_megabytes("VmHWM")
    for _ in range(97): assert len(pool.open_container(bomb, batch).parts) == 1
    for command in (b"bomb", b"crash", b"lie about lengths"): misbehaving_pool.open_container(command, batch)
    print(before, read_memory_megabytes("VmHWM"))
"""


def test_the_parent_stays_flat_over_a_hundred_bombs(tmp_path: Path) -> None:
    program = MEMORY_SCRIPT.format(store=str(tmp_path / "documents"))
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, after = map(int, result.stdout.split())
    assert after <= before + 3
    assert before < 100  # 80 MB of parts went through it


def test_a_mail_of_fifty_megabytes_is_opened_within_the_memory_allowed(
    store: DocumentStore, opener_pool: ContainerOpenerPool
) -> None:
    files = [build_pdf(1, 20 * MEGABYTE), build_pdf(2, 16 * MEGABYTE)]
    with store.open_batch() as landing:
        opened = opener_pool.open_container(build_mail(*files), landing)
    assert {hash_content(file) for file in files} <= set(opened.part_hashes)
