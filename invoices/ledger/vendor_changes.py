"""Changes of a vendor's answers: which of its fields are missing now, and which changes a person has accepted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter
from sqlalchemy import Connection, Label, case, func, select

from invoices.ledger.documents import iter_chunks
from invoices.ledger.ledger import Transaction, find_note, set_note
from invoices.ledger.tables import extractions

MAX_BASELINE_ANSWERS = 200  # the latest of a vendor, so that the cost does not grow with the history
MAX_COMPARED_CHARS = 200_000  # of one answer; a longer one counts as not compared
_NOTE_PREFIX = "vendor_change:"
_MAX_EXCLUDED_PERIODS = 20


@dataclass(frozen=True, slots=True)
class MissingField:
    """A field of a vendor's answers that used to be there: in how many answers it is missing now, and was before."""

    name: str
    missing_count: int
    answer_count: int
    missing_count_before: int
    answer_count_before: int

    def __str__(self) -> str:
        return (
            f"{self.name!r} is missing in {self.missing_count} of {self.answer_count} answers, "
            f"before in {self.missing_count_before} of {self.answer_count_before}"
        )


Period = tuple[dt.datetime, dt.datetime]


@dataclass(frozen=True, slots=True)
class VendorChanges:
    """The fields that are missing since a time, until a person decides, and the decisions before.

    ``accepted_at`` says by field since when it may be missing. The answers of ``excluded_periods`` lacked fields that
    the vendor has repaired, so nothing is compared with them.
    """

    missing_fields: Sequence[MissingField] = ()
    missing_since: dt.datetime | None = None
    accepted_at: Mapping[str, dt.datetime] = field(default_factory=dict)
    excluded_periods: Sequence[Period] = ()


@dataclass(frozen=True, slots=True)
class AnswerText:
    """An answer as it is stored; without a payload it is too long to be compared."""

    answered_at: dt.datetime
    payload: str | None


def list_recent_answers(connection: Connection, extracted_by: str) -> list[AnswerText]:
    """Return the latest answers of a vendor, at most ``MAX_BASELINE_ANSWERS``."""
    query = (
        select(extractions.c.answered_at, _select_bounded_payload())
        .where(extractions.c.extracted_by == extracted_by, extractions.c.status == "answered")
        .order_by(extractions.c.answered_at.desc())
        .limit(MAX_BASELINE_ANSWERS)
    )
    return [AnswerText(*row) for row in connection.execute(query) if row.answered_at is not None]


def list_answers_about(
    connection: Connection, extracted_by: str, document_hashes: Iterable[str], since: dt.datetime
) -> list[AnswerText]:
    """Return the answers of a vendor about these documents since a time."""
    answers: list[AnswerText] = []
    for chunk in iter_chunks(document_hashes):
        rows = connection.execute(
            select(extractions.c.answered_at, _select_bounded_payload()).where(
                extractions.c.document_sha256.in_(chunk), extractions.c.extracted_by == extracted_by,
                extractions.c.status == "answered", extractions.c.answered_at >= since,
            )
        )  # fmt: skip
        answers += [AnswerText(*row) for row in rows]
    return answers


def read_vendor_changes(connection: Connection, extracted_by: str) -> VendorChanges:
    """Return what is known about changes of a vendor's answers."""
    text = find_note(connection, _NOTE_PREFIX + extracted_by)
    return _CHANGES_ADAPTER.validate_json(text) if text else VendorChanges()


def record_missing_fields(
    tx: Transaction, extracted_by: str, missing_fields: Sequence[MissingField], since: dt.datetime
) -> None:
    """Record which fields are missing in a vendor's answers since a time; until a person decides, it is not asked."""
    changes = read_vendor_changes(tx.connection, extracted_by)
    _write_changes(tx, extracted_by, replace(changes, missing_fields=missing_fields, missing_since=since))


def accept_missing_fields(tx: Transaction, extracted_by: str, *, is_repaired: bool) -> Sequence[MissingField]:
    """Let the vendor be asked again, and return the fields that were missing.

    They may be missing from now on, or if the vendor has repaired them, they are expected as before.
    """
    changes = read_vendor_changes(tx.connection, extracted_by)
    if not changes.missing_fields:
        return ()
    decided = replace(changes, missing_fields=(), missing_since=None)
    if is_repaired:
        period = (changes.missing_since or tx.timestamp, tx.timestamp)
        decided = replace(decided, excluded_periods=[*changes.excluded_periods, period][-_MAX_EXCLUDED_PERIODS:])
    else:
        newly_accepted = {missing_field.name: tx.timestamp for missing_field in changes.missing_fields}
        decided = replace(decided, accepted_at={**changes.accepted_at, **newly_accepted})
    _write_changes(tx, extracted_by, decided)
    return changes.missing_fields


def _select_bounded_payload() -> Label[str]:
    is_short = func.length(extractions.c.payload) <= MAX_COMPARED_CHARS
    return case((is_short, extractions.c.payload)).label("payload")


def _write_changes(tx: Transaction, extracted_by: str, changes: VendorChanges) -> None:
    set_note(tx, _NOTE_PREFIX + extracted_by, _CHANGES_ADAPTER.dump_json(changes).decode())


_CHANGES_ADAPTER = TypeAdapter(VendorChanges)
