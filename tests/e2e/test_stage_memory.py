"""The memory of validation, loading, publishing and exporting does not depend on how much a document or a batch holds.

``make soak`` measures each stage in a process of its own: documents of few bytes that are heavy to process, and many
ordinary ones.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Self

import pytest

from flows.bootstrap import open_app
from invoices.documents.xml_reader import read_xml_document
from invoices.exports import BatchHeader, render_batch_folder
from invoices.model import Invoice, Line
from invoices.settings import InboxSettings, Settings
from tests.heavy_documents import build_envelope_of_bare_invoices, build_long_invoice
from tests.integration.flows.stages.test_validate import add_answered_document
from tests.stage_memory import measure_stages
from tests.sweep_size import IS_SOAK

MAX_MEGABYTES = 700
MAX_LOAD_MEGABYTES = 1_500  # DuckDB keeps what it merges in memory: 1,252 for 1,600,000 rows
GOOD_DOCUMENT = build_long_invoice("GOOD", 2)
SCENARIOS: dict[str, Callable[[], Iterator[bytes]]] = {
    "four envelopes of 20,000 bare invoices": lambda: (
        build_envelope_of_bare_invoices(str(number), 20_000) for number in range(4)
    ),
    "90 invoices of 20,000 lines": lambda: (build_long_invoice(f"L-{number}", 20_000) for number in range(90)),
    "an invoice of 38,000 lines": lambda: (build_long_invoice("L", 38_000) for _ in range(1)),
    "an invoice of 90,000 bare lines": lambda: (build_long_invoice("L", 90_000, has_bare_lines=True) for _ in range(1)),
    "10,000 ordinary invoices": lambda: (build_long_invoice(f"O-{number}", 3) for number in range(10_000)),
}


def record_read_documents(home: Path, documents: Iterator[bytes]) -> int:
    """Record the documents in a new home as they are after local extraction; return their number."""
    count = 0
    with open_app(Settings(home=home, inbox=InboxSettings(settle_seconds=0))) as app:
        for content in (*documents, GOOD_DOCUMENT):
            payload = json.dumps(read_xml_document(content).payload, ensure_ascii=False)
            add_answered_document(app, payload, f"document-{count}")
            count += 1
    return count


@pytest.mark.sweep
@pytest.mark.skipif(not IS_SOAK, reason="it takes minutes, and runs in make soak")
@pytest.mark.parametrize("name", SCENARIOS)
def test_no_stage_needs_more_than_700_megabytes(
    tmp_path: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    home = tmp_path / "home"
    count = record_read_documents(home, SCENARIOS[name]())
    measurements = {stage: measure_stages(home, stage) for stage in ("validate", "load", "publish", "export")}
    megabytes = {stage: measured.peak_megabytes for stage, measured in measurements.items()}
    record_property("figures", megabytes)
    print(f"\n{name}: {megabytes}")  # noqa: T201  figures
    verdicts = measurements["validate"].report["verdicts"]
    accepted_count = 1 if "bare invoices" in name else count  # a line without a tax category is accepted (BR-CO-04)
    assert isinstance(verdicts, dict)
    assert verdicts["accepted"] == accepted_count
    assert measurements["validate"].report["problems"] == []
    if "lines" not in name:  # the receipts API takes no receipt of 20,000 lines
        assert measurements["publish"].report["receipt_statuses"] == {"published": accepted_count}
    assert measurements["export"].report["exported_invoices"] == accepted_count
    assert measurements.pop("load").peak_megabytes < MAX_LOAD_MEGABYTES
    assert max(measured.peak_megabytes for measured in measurements.values()) < MAX_MEGABYTES


class CountedLines(tuple[Line, ...]):
    """The lines of an invoice; the class counts how many are in memory."""

    alive_count = max_alive_count = 0

    def __new__(cls, lines: Iterable[Line]) -> Self:
        """Count the new lines."""
        CountedLines.alive_count += 1
        CountedLines.max_alive_count = max(CountedLines.max_alive_count, CountedLines.alive_count)
        return super().__new__(cls, lines)

    def __del__(self) -> None:
        """Count the lines that are gone."""
        CountedLines.alive_count -= 1


class RepeatedInvoices:
    """So many invoices in the order of an export, each made when it is needed."""

    def __init__(self, count: int) -> None:
        """Remember the number."""
        self.count = count

    def __len__(self) -> int:
        """Return the number."""
        return self.count

    def __iter__(self) -> Iterator[Invoice]:
        """Make the invoices."""
        for number in range(self.count):
            yield Invoice(
                f"i{number:06d}", "a" * 64, 1, "invoice", "expense", f"R-{number:06d}", dt.date(2026, 1, 1), "EUR",
                Decimal(1), lines=CountedLines([Line(1, f"Part {number}"), Line(2, "Part")]),
            )  # fmt: skip


def test_one_invoice_of_a_batch_is_in_memory_at_a_time(tmp_path: Path) -> None:
    batch = BatchHeader("batch-000001", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    files = render_batch_folder(tmp_path, batch, RepeatedInvoices(100))
    assert [file.row_count for file in files.values()] == [100, 200, 0, 300, 0]
    assert CountedLines.max_alive_count <= 2
