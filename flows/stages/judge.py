"""Judge: the answers as canonical candidates, held to named rules; every outcome is a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from invoices.house import House
from invoices.ledger.documents import Pending, pending_count
from invoices.ledger.documents import pending as pending_documents
from invoices.ledger.extractions import Answer, answers
from invoices.ledger.judgements import known_keys
from invoices.report import Report

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
    from expectations.judging import STOPPING_RULES, judge
    from flows.verdicts import record
    from transforms.shaping import Shaped, extractions_table, known_table, shape

    def shaped_with(found: Sequence[Answer]) -> Shaped:
        extractions, ours = extractions_table(found), house.settings.company.tax_ids
        alone = shape(extractions, known_table(()), ours, STOPPING_RULES)
        with house.ledger.reading() as connection:
            keys = alone.keys.to_pylist()
            known = known_keys(connection, (k["number_key"] for k in keys), (k["content_key"] for k in keys))
        return shape(extractions, known_table(known), ours, STOPPING_RULES) if known else alone

    with house.ledger.reading() as connection:
        found = answers(connection, [document.document_sha256 for document in batch])
    shaped = shaped_with(found)
    with house.ledger.transaction() as tx:
        report.judged += record(tx, shaped, judge(shaped))


def _next(house: House, last: int) -> Batch:
    with house.ledger.reading() as connection:
        return pending_documents(connection, "judge", house.settings.batch_size, last)
