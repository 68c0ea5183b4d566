"""Judge: the answers as canonical candidates, held to named rules; every outcome is a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa

from expectations.judging import STOPPING_RULES
from flows.queues import batches, waiting_count
from invoices.house import House
from invoices.ledger.documents import Pending
from invoices.ledger.extractions import answers
from invoices.ledger.judgements import known_keys
from invoices.report import Report
from transforms.shaping import EXTRACTIONS, shape

UNIT = "documents"

Batch = list[Pending]


def total(house: House) -> int | None:
    """Return how many documents are answered and not judged."""
    return waiting_count(house, "judge")


def pending(house: House, _report: Report) -> Iterator[Batch]:
    """Yield the answered documents that nobody has judged."""
    return batches(house, "judge")


def work(house: House, batch: Batch, report: Report) -> None:
    """Shape the answers, judge the candidates, and write verdicts, findings and where each document stands."""
    from expectations.judging import judge
    from flows.verdicts import record

    with house.ledger.reading() as connection:
        found = answers(connection, [document.document_sha256 for document in batch])
    shaped = shape(
        pa.Table.from_pylist([asdict(answer) for answer in found], schema=EXTRACTIONS),
        partial(_known, house),
        house.settings.company.tax_ids,
        STOPPING_RULES,
    )
    judged = judge(shaped)
    with house.ledger.transaction() as tx:
        report.judged += record(tx, shaped, judged)
    report.tick(len(batch))


def _known(house: House, number_keys: Iterable[str], content_keys: Iterable[str]) -> list[Mapping[str, Any]]:
    with house.ledger.reading() as connection:
        return known_keys(connection, number_keys, content_keys)
