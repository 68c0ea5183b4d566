"""Judge: the answers as canonical candidates, held to named rules; every outcome is a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa

from expectations.judging import STOPPING_RULES
from flows.apart import work_apart
from flows.queues import batches, waiting_count
from invoices.errors import ContractError
from invoices.house import House
from invoices.ledger.documents import Pending, settle
from invoices.ledger.extractions import Answer, answers
from invoices.ledger.judgements import known_keys
from invoices.report import Report
from transforms.shaping import EXTRACTIONS, shape

UNIT = "documents"
NO_TAX_IDS = "No tax id of your own company is set (company.tax_ids): every invoice counts as an expense."

Batch = list[Pending]


def total(house: House) -> int | None:
    """Return how many documents are answered and not judged."""
    return waiting_count(house, "judge")


def pending(house: House, _report: Report) -> Iterator[Batch]:
    """Yield the answered documents that nobody has judged."""
    return batches(house, "judge")


def work(house: House, batch: Batch, report: Report) -> None:
    """Shape the answers, judge the candidates, and write verdicts, findings and where each document stands.

    Raises:
        ContractError: nothing of the batch can be judged: it is not the documents' fault.
    """
    if not house.settings.company.tax_ids and NO_TAX_IDS not in report.remarks:
        report.remarks.append(NO_TAX_IDS)
    with house.ledger.reading() as connection:
        found = answers(connection, [document.document_sha256 for document in batch])
    for answer, error in work_apart(found, partial(_judge, house, report)):
        _set_aside(house, answer, error, report)
    report.tick(len(batch))


def _judge(house: House, report: Report, found: Sequence[Answer]) -> None:
    from expectations.judging import judge
    from flows.verdicts import record

    shaped = shape(
        pa.Table.from_pylist([asdict(answer) for answer in found], schema=EXTRACTIONS),
        partial(_known, house),
        house.settings.company.tax_ids,
        STOPPING_RULES,
    )
    judged = judge(shaped)
    with house.ledger.transaction() as tx:
        report.judged += record(tx, shaped, judged)


def _set_aside(house: House, answer: Answer, error: ContractError, report: Report) -> None:
    reason = f"What was extracted cannot be judged: {error}"
    with house.ledger.transaction() as tx:
        settle(
            tx, answer.document_sha256, stage="done", state="quarantined", reason_code="cannot_be_judged", reason=reason
        )  # fmt: skip
    report.problems.append(f"document {answer.document_sha256[:12]}: {reason}")


def _known(house: House, number_keys: Iterable[str], content_keys: Iterable[str]) -> list[Mapping[str, Any]]:
    with house.ledger.reading() as connection:
        return known_keys(connection, number_keys, content_keys)
