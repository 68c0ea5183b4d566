"""Judge: the answers as canonical candidates, held to named rules; every outcome is a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial

import pyarrow as pa

from expectations.judging import STOPPING_RULES

from invoices.house import House
from invoices.ledger.documents import Pending, pending_count
from invoices.ledger.documents import pending as pending_documents
from invoices.ledger.extractions import Answer, answers
from invoices.ledger.judgements import known_keys
from invoices.report import Report
from transforms.shaping import EXTRACTIONS, KNOWN, Shaped, shape

UNIT = "documents"

Batch = list[Pending]


def total(house: House) -> int | None:
    """Return how many answered documents are not judged."""
    with house.ledger.reading() as connection:
        return pending_count(connection, "judge")


def pending(house: House, _report: Report) -> Iterator[Batch]:
    """Yield the answered documents that nobody has judged, in the order of arrival."""
    last = 0
    while batch := _next(house, last):
        yield batch
        last = batch[-1].sequence


def work(house: House, batch: Batch, report: Report) -> None:
    """Shape the answers, judge the candidates, and write verdicts, findings and where each document stands."""
    from expectations.judging import judge
    from flows.verdicts import record

    with house.ledger.reading() as connection:
        found = answers(connection, [document.document_sha256 for document in batch])
    shaped = _shape(house, found)
    judged = judge(shaped)
    with house.ledger.transaction() as tx:
        report.judged += record(tx, shaped, judged)


def _shape(house: House, found: Sequence[Answer]) -> Shaped:
    """Shape the answers alone; once more with the earlier candidates in view if any has the number or content of one."""
    extractions = pa.Table.from_pylist([asdict(answer) for answer in found], schema=EXTRACTIONS)
    shape_with = partial(
        shape, extractions, company_tax_ids=house.settings.company.tax_ids, stopping_rules=STOPPING_RULES
    )
    alone = shape_with(known=KNOWN.empty_table())
    keys = alone.keys.to_pylist()
    with house.ledger.reading() as connection:
        known = known_keys(connection, (key["number_key"] for key in keys), (key["content_key"] for key in keys))
    return shape_with(known=pa.Table.from_pylist(known, schema=KNOWN)) if known else alone


def _next(house: House, last: int) -> Batch:
    with house.ledger.reading() as connection:
        return pending_documents(connection, "judge", house.settings.batch_size, last)
