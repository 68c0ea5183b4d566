"""Mutated mails, XML and PDFs: each gets a result, none ends a process, and what comes of it can be recorded."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from invoices.documents.containers.container_opener_pool import ContainerOpenerPool
from invoices.documents.containers.recursive_opener import open_container_recursively
from invoices.documents.document_reader_pool import DocumentReaderPool
from invoices.documents.format_dispatch import read_document_file
from invoices.documents.outcomes import REASON_CODES
from invoices.documents.store import DocumentStore
from invoices.ledger import Ledger
from invoices.ledger.mails import record_arrivals
from sources.arrivals import Origin, add_quarantined_mail, build_mail_arrival, from_row, to_row
from tests.integration.sources.mailbox.mailbox_fixtures import build_invoice_mail
from tests.mutation import build_random, iter_case_numbers, mutate_bytes, read_kept_cases
from tests.run_environment import SAMPLES

SAMPLE_PATHS = sorted(
    path for path in (SAMPLES / "inbox").rglob("*") if path.is_file() and path.stat().st_size < 200_000
)
RecordProperty = Callable[[str, object], None]


def read_samples(suffix: str) -> list[bytes]:
    """Return the samples of a kind."""
    return [path.read_bytes() for path in SAMPLE_PATHS if path.suffix == suffix]


def build_case(edge: str, number: int, samples: Sequence[bytes]) -> bytes:
    """Return a mutated sample."""
    random = build_random(edge, number)
    return mutate_bytes(random.choice(samples), random)


@pytest.mark.sweep
def test_no_mail_fails_the_opener_or_the_ledger(tmp_path: Path, record_property: RecordProperty) -> None:
    samples = [*read_samples(".eml"), build_invoice_mail(1), build_invoice_mail(2, Subject="=?utf-8?q?R=C3=BC?=")]
    outcomes: Counter[str | None] = Counter()
    ledger, store = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite"), DocumentStore(tmp_path / "store")
    with ContainerOpenerPool(worker_count=1) as pool, store.open_batch() as batch:
        for number in iter_case_numbers(60):
            mail = build_case("mail", number, samples)
            opened, _ = open_container_recursively(mail, "message/rfc822")
            container = pool.open_container(b"X-Mailbox:\r\nDelivered-To:\r\n" + mail, batch)
            outcomes[container.reason_code] += 1
            assert opened.reason_code in {None, *REASON_CODES}, (number, mail)
            assert container.reason_code != "reader_crashed", (number, mail)
            origin = Origin("ap", "mailbox", f"/INBOX;UID={number}", dt.datetime(2026, 8, 1, tzinfo=dt.UTC))
            arrival = build_mail_arrival(origin, mail, container, "unknown")
            if container.reason_code:
                arrival = add_quarantined_mail(arrival, origin, batch.put(mail), container)
            with ledger.begin_transaction() as tx:
                record_arrivals(tx, [from_row(to_row(arrival))])
    ledger.close()
    record_property("outcomes", dict(outcomes))


@pytest.mark.sweep
def test_no_xml_fails_its_reader(tmp_path: Path, record_property: RecordProperty) -> None:
    samples, outcomes, file = read_samples(".xml"), Counter[str](), tmp_path / "document"
    for content in read_kept_cases("xml"):
        file.write_bytes(content)
        assert read_document_file(file).outcome
    for number in iter_case_numbers(150):
        content = build_case("xml", number, samples)
        file.write_bytes(content)
        try:
            outcomes[read_document_file(file).outcome] += 1
        except Exception as error:
            raise AssertionError(f"case {number}: {content!r}") from error
    record_property("outcomes", dict(outcomes))


@pytest.mark.sweep
def test_no_pdf_ends_more_than_its_own_reading(tmp_path: Path, record_property: RecordProperty) -> None:
    samples, outcomes = read_samples(".pdf"), Counter[str]()
    with DocumentReaderPool(worker_count=1) as pool:
        for number in iter_case_numbers(25):
            file = tmp_path / "document"
            file.write_bytes(build_case("pdf", number, samples))
            reading = pool.read(file)
            outcomes[reading.reason_code or reading.outcome] += 1
            assert reading.reason_code != "reader_crashed", (number, reading.reason)
        file.write_bytes(samples[0])
        assert pool.read(file).outcome != "unreadable"
    record_property("outcomes", dict(outcomes))
