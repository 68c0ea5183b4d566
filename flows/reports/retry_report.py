"""What a retry would do and cost, and how it ended, as text and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from flows.plurals import format_count
from flows.retry import RetryPlan, list_costs
from invoices.app import App
from invoices.documents.outcomes import sanitise_for_display
from invoices.ledger.retries import OBSTACLES, list_documents_to_retry
from invoices.model.currencies import format_money
from invoices.run_report import RunReport

MAX_DOCUMENTS_LISTED = 20
MAX_REASON_CHARS, HASH_DIGITS = 200, 12


def format_retry_plan(app: App, plan: RetryPlan) -> str:
    """Return what a retry would do, for a person."""
    lines = []
    if app.is_rehearsal:
        lines.append("REHEARSAL: no vendor key is set, so the sandbox stands in for every remote API.")
    if not plan.documents:
        return "\n".join([*lines, "No document has this state and reason."])
    lines.append(f"{format_count(len(plan.retried_hashes), 'document')} to read, extract and validate again")
    lines += _format_costs(app, plan)
    left_alone = [row for row in plan.documents if row["document_sha256"] in plan.obstacles]
    if left_alone:
        lines.append(f"{format_count(len(left_alone), 'document')} left alone")
        for row in left_alone[:MAX_DOCUMENTS_LISTED]:
            why = OBSTACLES[plan.obstacles[row["document_sha256"]]]
            lines.append(f"  {row['document_sha256'][:HASH_DIGITS]}  {row['state']} ({row['reason_code']}): {why}")
        lines += _format_rest(len(left_alone))
    return "\n".join(lines)


def _format_costs(app: App, plan: RetryPlan) -> Iterator[str]:
    costs = list_costs(app, plan)
    if not costs and plan.retried_hashes:
        yield "  at no cost: what they need is read locally, or was answered before"
    for cost in costs:
        price = (
            "the price of a page is not set"
            if cost["amount"] is None
            else format_money(Decimal(cost["amount"]), cost["currency"])
        )
        documents = format_count(cost["documents"], "document")
        yield f"  {documents} of them to {cost['extractor']}: up to {format_count(cost['pages'], 'page')}, {price}"


def format_retry_outcome(app: App, plan: RetryPlan, report: RunReport) -> str:
    """Return the state of each retried document now, and what to do next if an invoice was accepted, for a person."""
    lines = ["Now"]
    rows = _list_outcome_rows(app, plan)
    for row in rows[:MAX_DOCUMENTS_LISTED]:
        reason = sanitise_for_display(row["reason"], MAX_REASON_CHARS)
        lines.append(f"  {row['document_sha256'][:HASH_DIGITS]}  {row['state']} ({row['reason_code']}): {reason}")
    lines += _format_rest(len(rows))
    if report.verdicts["accepted"]:
        lines.append("Next: load, publish and export what was accepted: invoices run")
    return "\n".join(lines)


def build_retry_result(app: App, plan: RetryPlan, report: RunReport, *, is_executed: bool) -> dict[str, Any]:
    """Return the plan and the outcome as one JSON object.

    Keys: ``rehearsal``; ``executed``; ``documents``, each with ``document_sha256``, ``before``, ``after`` (``state``,
    ``reason_code``), ``extractor`` and ``pages`` (the most that it may be charged); ``left_alone``, each with
    ``document_sha256``, ``state``, ``reason_code`` and ``why``; ``costs``; ``paid`` (``calls``, ``pages``);
    ``problems``; ``remarks``.
    """
    rows_after = {row["document_sha256"]: row for row in _list_outcome_rows(app, plan)}
    documents, left_alone = [], []
    for row in plan.documents:
        sha256 = row["document_sha256"]
        if sha256 in plan.obstacles:
            left_alone.append({"document_sha256": sha256, **_get_state(row), "why": plan.obstacles[sha256]})
        else:
            extractor, pages = plan.pages_by_document.get(sha256, (None, 0))
            states = {"before": _get_state(row), "after": _get_state(rows_after[sha256])}
            documents.append({"document_sha256": sha256, **states, "extractor": extractor, "pages": pages})
    return {
        "rehearsal": app.is_rehearsal,
        "executed": is_executed,
        "documents": documents,
        "left_alone": left_alone,
        "costs": list_costs(app, plan),
        "paid": {"calls": report.paid_calls, "pages": report.paid_pages},
        "problems": report.problems,
        "remarks": report.remarks,
    }


def _list_outcome_rows(app: App, plan: RetryPlan) -> list[Mapping[str, Any]]:
    if not plan.retried_hashes:
        return []
    with app.ledger.open_snapshot() as connection:
        return list_documents_to_retry(connection, plan.retried_hashes)


def _get_state(row: Mapping[str, Any]) -> dict[str, str]:
    return {"state": row["state"], "reason_code": row["reason_code"]}


def _format_rest(count: int) -> list[str]:
    if count <= MAX_DOCUMENTS_LISTED:
        return []
    return [f"  … and {count - MAX_DOCUMENTS_LISTED:,} more (see them all with --json)"]
