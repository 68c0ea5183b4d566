"""Opener processes are limited and killed if necessary; their parts are whole in the store or are not counted."""

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
    """One process that obeys the commands in its containers."""
    with ContainerOpenerPool(1, SHORT_LIMITS, module=MISBEHAVING_MODULE) as pool:
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


def test_the_parts_of_a_mail_are_in_the_store_under_their_hashes(
    store: DocumentStore, opener_pool: ContainerOpenerPool
) -> None:
    files = [build_pdf(1), build_pdf(2, 3 * MEGABYTE), build_pdf(3)]
    with store.open_batch() as batch:
        opened = opener_pool.open_container(build_mail(*files), batch)
    assert [part.section for part in opened.parts if part.media_type == "application/pdf"] == ["2", "3", "4"]
    assert len(opened.part_hashes) == len(opened.parts)
    assert {hash_content(file) for file in files} <= set(opened.part_hashes)
    assert all(store.read(sha256) for sha256 in opened.part_hashes)
    assert opened.header is not None
    assert opened.header.sender == "a@seller.example"


def test_a_mail_in_a_file_is_opened_like_one_in_memory(
    store: DocumentStore, opener_pool: ContainerOpenerPool, tmp_path: Path
) -> None:
    (tmp_path / "a.eml").write_bytes(build_mail(build_pdf(1)))
    with store.open_batch() as batch:
        opened = opener_pool.open_container(tmp_path / "a.eml", batch)
        assert opened == opener_pool.open_container(build_mail(build_pdf(1)), batch)
    assert hash_content(build_pdf(1)) in opened.part_hashes


def test_a_container_of_too_many_bytes_is_not_opened(store: DocumentStore, tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(bytes(11))
    with ContainerOpenerPool(1, ProcessLimits(max_bytes=10)) as pool, store.open_batch() as batch:
        assert pool.open_container(bytes(11), batch).reason_code == "too_large"
        assert pool.open_container(tmp_path / "a.eml", batch).reason_code == "too_large"
        assert list_opener_processes() == []


def list_opener_processes() -> list[psutil.Process]:
    live_children = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in live_children if MISBEHAVING_MODULE in child.cmdline()]


@pytest.mark.parametrize(
    ("command", "reason_code"),
    {
        b"hang": "reader_timeout",
        b"crash": "reader_crashed",
        b"bomb": "reader_memory",
        b"hang in the middle": "reader_timeout",
        b"crash in the middle": "reader_crashed",
        b"be killed in the middle": "reader_crashed",
        b"misstate lengths": "reader_crashed",
        b"send more than stated": "reader_crashed",
        b"claim a terabyte": "reader_crashed",
        b"invent a reason code": "reader_crashed",
        b"send a long media type": "reader_crashed",
        b"claim a negative length": "reader_crashed",
        b"send an invalid container": "reader_crashed",
        b"send hashes": "reader_crashed",
        b"invent a skip reason": "reader_crashed",
    }.items(),
    ids=lambda value: value.decode() if isinstance(value, bytes) else "",
)
def test_a_process_without_a_valid_response_costs_one_result(
    store: DocumentStore, misbehaving_opener_pool: ContainerOpenerPool, command: bytes, reason_code: str
) -> None:
    with store.open_batch() as batch:
        opened = misbehaving_opener_pool.open_container(command, batch)
        assert (opened.reason_code, list(opened.parts), opened.part_hashes) == (reason_code, [], ())
        assert opened.reason
        assert misbehaving_opener_pool.open_container(b"echo next", batch).part_hashes == (hash_content(b"next"),)
    assert store.read(hash_content(b"next")) == b"next"


def test_results_of_all_processes_are_in_order(store: DocumentStore) -> None:
    commands = [b"echo %d" % number for number in range(200)]
    commands[50:53] = [b"crash", b"send an invalid container", b"echo 50"]
    with ContainerOpenerPool(2, module=MISBEHAVING_MODULE) as pool, store.open_batch() as batch:
        opened = list(pool.open_containers_in_order(iter(commands), batch))
    reasons_or_hashes = [result.reason_code or result.part_hashes[0] for result in opened]
    crashing = {b"crash", b"send an invalid container"}
    assert reasons_or_hashes == [
        "reader_crashed" if command in crashing else hash_content(command[5:]) for command in commands
    ]
    assert all(sha256 in store for sha256 in reasons_or_hashes if sha256 != "reader_crashed")


def test_only_a_bounded_number_of_containers_is_fetched_ahead(
    store: DocumentStore, misbehaving_opener_pool: ContainerOpenerPool
) -> None:
    fetched_numbers: list[int] = []

    def generate_mails() -> Iterator[bytes]:
        while True:
            fetched_numbers.append(len(fetched_numbers))
            yield b"echo " + bytes(5 * MEGABYTE)

    with store.open_batch() as batch:
        results = misbehaving_opener_pool.open_containers_in_order(generate_mails(), batch)
        next(results)
        assert len(fetched_numbers) < 20
        results.close()
        assert misbehaving_opener_pool.open_container(b"echo next", batch).part_hashes == (hash_content(b"next"),)


def test_threads_can_share_the_processes_and_the_store_batch(store: DocumentStore) -> None:
    commands = [b"echo %d" % (number % 70) for number in range(140)]
    with (
        ContainerOpenerPool(2, module=MISBEHAVING_MODULE) as pool,
        store.open_batch() as batch,
        ThreadPoolExecutor(4) as threads,
    ):
        opened = list(threads.map(lambda content: pool.open_container(content, batch), commands))
    assert [result.part_hashes for result in opened] == [(hash_content(command[5:]),) for command in commands]
    assert len([path for path in store.get_path("0" * 64).parents[1].rglob("*") if path.is_file()]) == 70


def test_a_child_gets_no_secret(store: DocumentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOICES_MAILBOXES", "a-secret")
    with ContainerOpenerPool(1, module=MISBEHAVING_MODULE) as pool, store.open_batch() as batch:
        environment_hash = pool.open_container(b"environment", batch).part_hashes[0]
        batch.flush()
        assert b"LC_ALL=C.UTF-8" in store.read(environment_hash)
        assert b"a-secret" not in store.read(environment_hash)


@pytest.mark.skipif(os.uname().machine not in {"x86_64", "aarch64"}, reason="the filter supports no other processor")
@pytest.mark.parametrize("attempt", ["tcp", "udp by the C library", "run", "write", "remove", "trace the parent"])
def test_the_kernel_refuses_forbidden_actions_of_a_child(
    store: DocumentStore, misbehaving_opener_pool: ContainerOpenerPool, attempt: str
) -> None:
    with store.open_batch() as batch:
        opened = misbehaving_opener_pool.open_container(attempt.encode(), batch)
    assert opened.part_hashes == (hash_content(b"refused: PermissionError"),)


def test_a_batch_that_cannot_write_raises_and_the_next_mail_is_opened(
    store: DocumentStore, misbehaving_opener_pool: ContainerOpenerPool, limit_file_size: Callable[[int], None]
) -> None:
    limit_file_size(10 * MEGABYTE)
    with pytest.raises(OSError, match="File too large"), store.open_batch() as batch:
        misbehaving_opener_pool.open_container(b"large", batch)
    assert list(store.get_path("0" * 64).parents[1].rglob("incoming/*")) == []
    with store.open_batch() as batch:
        assert misbehaving_opener_pool.open_container(b"echo next", batch).part_hashes == (hash_content(b"next"),)


@pytest.fixture
def limit_file_size() -> Iterator[Callable[[int], None]]:
    """Limit the size of the files that this process writes, as a quota does."""
    previous_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, previous_limit[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, previous_limit)


def build_zip_bomb(megabytes: int) -> bytes:
    """Return a ZIP with one file of zeros, a thousandth of its unpacked size."""
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
bomb = build_mail(build_zip_bomb(300))
with (
    ContainerOpenerPool(1) as pool,
    ContainerOpenerPool(1, module=MISBEHAVING_MODULE) as misbehaving_pool,
    store.open_batch() as batch,
):
    for content in (bomb, b"echo"): pool.open_container(content, batch)
    assert len(misbehaving_pool.open_container(b"large", batch).parts) == 4
    before = read_memory_megabytes("VmHWM")
    for _ in range(97): assert len(pool.open_container(bomb, batch).parts) == 1
    for command in (b"bomb", b"crash", b"misstate lengths"): misbehaving_pool.open_container(command, batch)
    print(before, read_memory_megabytes("VmHWM"))
"""


def test_the_memory_of_the_parent_stays_constant_over_a_hundred_bombs(tmp_path: Path) -> None:
    program = MEMORY_SCRIPT.format(store=str(tmp_path / "documents"))
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, after = map(int, result.stdout.split())
    assert after <= before + 3
    assert before < 100  # 80 MB of parts went through it


def test_a_mail_of_fifty_megabytes_is_opened_within_the_memory_limit(
    store: DocumentStore, opener_pool: ContainerOpenerPool
) -> None:
    files = [build_pdf(1, 20 * MEGABYTE), build_pdf(2, 16 * MEGABYTE)]
    with store.open_batch() as batch:
        opened = opener_pool.open_container(build_mail(*files), batch)
    assert {hash_content(file) for file in files} <= set(opened.part_hashes)
