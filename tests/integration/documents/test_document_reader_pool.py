"""Reader processes are limited, killed if necessary, replaced, and ended with their pool or parent."""

from __future__ import annotations

import array
import fcntl
import io
import os
import signal
import subprocess
import sys
import termios
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pikepdf
import psutil
import pytest
from PIL import Image

from invoices.documents import title_ocr_process
from invoices.documents.content_sniffing import UNKNOWN_TYPE
from invoices.documents.document_reader_pool import DocumentReaderPool, ProcessLimits

UBL_TEMPLATE = b"""<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
  xmlns:b="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"><b:ID>%d</b:ID></Invoice>"""
MEGABYTE = 1 << 20


@pytest.fixture
def reader_pool() -> Iterator[DocumentReaderPool]:
    with DocumentReaderPool(worker_count=2) as pool:
        yield pool


def list_reader_processes() -> list[psutil.Process]:
    """Return our live reader processes."""
    live_children = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in live_children if any("invoices.documents" in part for part in child.cmdline())]


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_for_unread_input(pid: int) -> None:
    """Wait until there are bytes in the pipe to a process."""
    unread_byte_count = array.array("i", [0])
    deadline = time.monotonic() + 60
    with open(f"/proc/{pid}/fd/0", "rb", buffering=0) as pipe:
        while not unread_byte_count[0]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
            fcntl.ioctl(pipe, termios.FIONREAD, unread_byte_count)


def write_file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def compress_zeros(megabytes: int) -> bytes:
    """Return zeros deflated twice: a few hundred bytes per gigabyte."""
    compressor = zlib.compressobj(9)
    block = bytes(MEGABYTE)
    compressed = b"".join(compressor.compress(block) for _ in range(megabytes)) + compressor.flush()
    return zlib.compress(compressed, 9)


def build_pdf_bomb(megabytes: int) -> bytes:
    """Return a PDF whose attached invoice decompresses to ``megabytes``."""
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        filters = pikepdf.Array([pikepdf.Name("/FlateDecode"), pikepdf.Name("/FlateDecode")])
        stream = pikepdf.Stream(pdf, compress_zeros(megabytes), Filter=filters, Type=pikepdf.Name("/EmbeddedFile"))
        spec = pikepdf.Dictionary(Type=pikepdf.Name("/Filespec"), F="factur-x.xml", EF=pikepdf.Dictionary(F=stream))
        pdf.Root.AF = pdf.make_indirect(pikepdf.Array([pdf.make_indirect(spec)]))
        buffer = io.BytesIO()
        pdf.save(buffer, compress_streams=False, stream_decode_level=pikepdf.StreamDecodeLevel.none)
    return buffer.getvalue()


def test_readings_are_in_the_order_of_the_paths(tmp_path: Path, reader_pool: DocumentReaderPool) -> None:
    paths = [write_file(tmp_path, f"{n}.xml", UBL_TEMPLATE % n) for n in range(120)]
    payloads = [reading.payload for reading in reader_pool.read_in_order(paths)]
    numbers = [payload["invoices"][0]["invoice_number"] for payload in payloads if payload]
    assert numbers == [str(n) for n in range(120)]


def test_a_bad_document_harms_no_other_of_its_batch(tmp_path: Path, reader_pool: DocumentReaderPool) -> None:
    good = write_file(tmp_path, "good.xml", UBL_TEMPLATE % 1)
    bad = write_file(tmp_path, "bomb.pdf", build_pdf_bomb(600))
    readings = list(reader_pool.read_in_order([good, bad, good, bad, good]))
    assert [reading.outcome == "einvoice" for reading in readings] == [True, False, True, False, True]
    assert {reading.reason_code for reading in readings} == {None, "reader_memory"}
    assert readings[1].media_type == UNKNOWN_TYPE  # nothing of it is matched outside of its process


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bomb.pdf", build_pdf_bomb(600)),
        ("wide.xml", b"<a>" + b"<b/>" * 4_000_000 + b"</a>"),
        ("long.xml", b"<a>" + b"x" * (25 * MEGABYTE) + b"</a>"),
    ],
    ids=["bomb", "wide", "long"],
)
def test_memory_stays_below_300_megabytes(tmp_path: Path, name: str, content: bytes) -> None:
    program = f"""
import pathlib, resource
from invoices.documents.document_reader_pool import DocumentReaderPool
with DocumentReaderPool(worker_count=1) as pool:
    print(pool.read(pathlib.Path({str(write_file(tmp_path, name, content))!r})).outcome)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""
    started = time.monotonic()
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    outcome, megabytes = result.stdout.split()
    assert outcome in {"unreadable", "review", "not_invoice"}
    assert int(megabytes) < 300
    assert time.monotonic() - started < 10


def test_a_document_that_takes_too_long_is_stopped_and_the_next_one_read(tmp_path: Path) -> None:
    slow = write_file(tmp_path, "wide.xml", b"<a>" + b"<b c='d'/>" * 400_000 + b"</a>")
    with DocumentReaderPool(worker_count=1, limits=ProcessLimits(seconds=0.05)) as pool:
        assert pool.read(slow).reason_code == "reader_timeout"
        assert list_reader_processes() == []
        assert pool.read(write_file(tmp_path, "next.txt", b"text")).reason_code == "unsupported_type"


def test_a_reader_that_is_killed_while_idle_is_replaced_without_failing_a_document(tmp_path: Path) -> None:
    path = write_file(tmp_path, "a.xml", UBL_TEMPLATE % 1)
    with DocumentReaderPool(worker_count=1) as pool:
        assert pool.read(path).outcome == "einvoice"
        list_reader_processes()[0].kill()
        assert pool.read(path).outcome == "einvoice"


def test_a_reader_that_crashes_on_a_document_is_reported_with_its_signal(tmp_path: Path) -> None:
    path = write_file(tmp_path, "a.xml", UBL_TEMPLATE % 1)
    ending_children = set(list_reader_processes())  # of an earlier test, on a busy machine
    with DocumentReaderPool(worker_count=1) as pool, ThreadPoolExecutor(1) as thread:
        pool.read(path)
        (child,) = set(list_reader_processes()) - ending_children
        child.suspend()  # so that it crashes while it handles the request
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)  # until then it may still take the request from the pipe
        reading = thread.submit(pool.read, path)
        wait_for_unread_input(child.pid)
        child.send_signal(signal.SIGSEGV)
        child.resume()
        assert reading.result().reason_code == "reader_crashed"
        assert "signal 11" in str(reading.result().reason)


def test_a_child_has_no_secret_no_descriptor_and_no_room_to_write(tmp_path: Path) -> None:
    os.environ["INVOICES_SMARTBILLS_COM__API_KEY"] = "a-secret"
    inherited = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        with DocumentReaderPool(worker_count=1) as pool:
            pool.read(write_file(tmp_path, "a.xml", UBL_TEMPLATE % 1))
            child = list_reader_processes()[0]
            limits = Path(f"/proc/{child.pid}/limits").read_text()
            assert "a-secret" not in Path(f"/proc/{child.pid}/environ").read_text()
            assert str(tmp_path) not in {os.readlink(fd) for fd in Path(f"/proc/{child.pid}/fd").iterdir()}
    finally:
        os.close(inherited)
        del os.environ["INVOICES_SMARTBILLS_COM__API_KEY"]
    sizes = [line for line in limits.splitlines() if "file size" in line]
    assert [line.split()[-3:-1] for line in sizes] == [["0", "0"]] * 2  # of files, and of core dumps


def test_closing_leaves_no_process(tmp_path: Path) -> None:
    with DocumentReaderPool(worker_count=2) as pool:
        list(pool.read_in_order([write_file(tmp_path, f"{n}.xml", UBL_TEMPLATE % n) for n in range(10)]))
        assert list_reader_processes()
    assert list_reader_processes() == []
    pool.close()  # twice is fine


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    write_file(tmp_path, "a.xml", UBL_TEMPLATE % 1)
    program = f"""
import os, pathlib, psutil
from invoices.documents.document_reader_pool import DocumentReaderPool
pool = DocumentReaderPool(worker_count=1)
pool.read(pathlib.Path({str(tmp_path / "a.xml")!r}))
print(psutil.Process().children()[0].pid, flush=True)
os.kill(os.getpid(), 9)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    pid = int(result.stdout)
    deadline = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(pid)


def test_an_abandoned_batch_leaves_the_pool_usable(tmp_path: Path, reader_pool: DocumentReaderPool) -> None:
    paths = [write_file(tmp_path, f"{n}.xml", UBL_TEMPLATE % n) for n in range(60)]
    batch = reader_pool.read_in_order(paths)
    next(batch)
    batch.close()
    assert reader_pool.read(paths[0]).outcome == "einvoice"


def test_a_hundred_and_fifty_small_invoices_take_less_than_a_second(
    tmp_path: Path, reader_pool: DocumentReaderPool
) -> None:
    paths = [write_file(tmp_path, f"{n}.xml", UBL_TEMPLATE % n) for n in range(150)]
    list(reader_pool.read_in_order(paths[:4]))
    started = time.monotonic()
    assert all(reading.outcome == "einvoice" for reading in reader_pool.read_in_order(paths))
    assert time.monotonic() - started < 1


@pytest.mark.skipif(
    not title_ocr_process.is_ocr_installed(), reason="the optional package rapidocr-onnxruntime is not installed"
)
def test_the_title_of_a_picture_is_read_within_the_memory_limit(tmp_path: Path) -> None:
    Image.effect_noise((2480, 3508), 80).save(tmp_path / "noise.png")
    with DocumentReaderPool(worker_count=1) as pool:
        assert pool.read(tmp_path / "noise.png").outcome == "needs_extraction"
        assert max((child.memory_info().rss for child in list_reader_processes()), default=0) < 300 * MEGABYTE
