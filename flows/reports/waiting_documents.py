"""The documents that are not finished: each with its reason, its age and the command that comes next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from flows.plurals import format_count
from invoices.app import App
from invoices.documents.outcomes import sanitise_for_display
from invoices.ledger.documents import count_documents_by_state, list_documents_in_states

MAX_DOCUMENTS_LISTED = 10  # of each group
MAX_NAME_CHARS, MAX_REASON_CHARS = 60, 160
HASH_DIGITS = 12
TITLES_BY_STATES = {
    ("waiting",): "Waiting, the oldest first",
    ("review", "quarantined"): "For a person, the oldest first",
}
COMMANDS_BY_STAGE = {
    "extract_local": "invoices extract",
    "extract_remote": "invoices extract",
    "validate": "invoices validate",
}


def list_waiting_documents(app: App) -> list[dict[str, Any]]:
    """Return every document in ``waiting``, ``review`` or ``quarantined``, the one seen first coming first.

    Each has ``document_sha256``, ``file_name``, ``state``, ``reason_code``, ``reason``, ``first_seen_at``,
    ``age_days`` and ``next_command``.
    """
    now = app.ledger.now()
    states = tuple(state for group in TITLES_BY_STATES for state in group)
    with app.ledger.open_snapshot() as connection:
        rows = list_documents_in_states(connection, states)
    return [
        {
            **{name: row[name] for name in ("document_sha256", "file_name", "state", "reason_code", "reason")},
            "first_seen_at": row["first_seen_at"].isoformat(),
            "age_days": max((now - row["first_seen_at"]).days, 0),
            "next_command": _get_next_command(row),
        }
        for row in rows
    ]


def format_waiting_documents(app: App) -> Iterator[str]:
    """Yield a section for the documents that wait for a run, and one for those that wait for a person, if any do."""
    now = app.ledger.now()
    with app.ledger.open_snapshot() as connection:
        state_counts = count_documents_by_state(connection)
        rows_by_states = {
            states: list_documents_in_states(connection, states, MAX_DOCUMENTS_LISTED) for states in TITLES_BY_STATES
        }
    for states, rows in rows_by_states.items():
        if rows:
            total = sum(count for (state, _), count in state_counts.items() if state in states)
            lines = [TITLES_BY_STATES[states], *(line for row in rows for line in _format_document(row, now))]
            if total > len(rows):
                lines.append(f"  … and {total - len(rows):,} more (see them all with --json)")
            yield "\n".join(lines)


def _get_next_command(row: Mapping[str, Any]) -> str:
    return COMMANDS_BY_STAGE.get(row["stage"]) or f"invoices explain {row['document_sha256'][:HASH_DIGITS]}"


def _format_document(row: Mapping[str, Any], now: dt.datetime) -> Iterator[str]:
    name = sanitise_for_display(row["file_name"] or "without a name", MAX_NAME_CHARS)
    age = _format_age(now - row["first_seen_at"])
    yield f"  {row['document_sha256'][:HASH_DIGITS]}  {name}  {age}  {_get_next_command(row)}"
    yield f"      {row['reason_code']}: {sanitise_for_display(row['reason'], MAX_REASON_CHARS)}"


def _format_age(age: dt.timedelta) -> str:
    """Return how long ago a document was first seen, in its largest unit; a clock that was ahead counts as now."""
    seconds = max(age.total_seconds(), 0)
    for unit, unit_seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= unit_seconds:
            return f"for {format_count(int(seconds // unit_seconds), unit)}"
    return "for less than a minute"
