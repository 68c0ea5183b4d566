"""The summary of a run, or of the present state: as text for a person and as one JSON object for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from flows.plurals import format_count
from flows.reports.claimed_documents import claims_to_json, format_claims, list_claims_of_others
from flows.reports.silent_sources import SilentSource, query_silent_sources
from flows.reports.waiting_documents import format_waiting_documents
from invoices.app import App
from invoices.documents.outcomes import sanitise_for_display
from invoices.extraction.vendor_change_guard import describe_missing_fields
from invoices.ledger.documents import count_documents_by_state
from invoices.ledger.export_batches import count_exports
from invoices.ledger.mails import count_uncollected_mails
from invoices.ledger.outbox import count_receipts_by_status
from invoices.ledger.vendor_changes import read_vendor_changes
from invoices.model.currencies import format_money
from invoices.run_report import RunReport
from invoices.settings import PAID_EXTRACTORS
from transforms.loading.accepted_invoice_reader import sum_accepted_amounts_by_currency
from transforms.loading.release import get_published_database_path

STATES = ("accepted", "review", "quarantined", "duplicate", "not_invoice", "waiting")
MAX_SENTENCE_CHARS = 500  # characters of a remark or a reason, which may quote documents and vendors
MAX_LINES_LISTED = 10  # remarks and silent sources
NEXT_STEP_BY_STATE = {
    "review": "a person decides",
    "quarantined": "a person decides, or a better file arrives",
    "waiting": "the next run continues",
}
MAIL_OUTCOME_NAMES = {"too_large": "too large", "waiting": "waiting for a later run"}


def get_run_result(app: App, report: RunReport) -> dict[str, Any]:
    """Return what a run did: documents, paid calls and pages, receipts, exports, seconds, problems."""
    status = get_pipeline_status(app)
    return {
        "documents": {
            "seen": status["documents"]["seen"],
            "new": report.new_documents,
            "by_state": status["documents"]["by_state"],
        },
        "paid": {
            "calls": report.paid_calls,
            "pages": report.paid_pages,
            "by_extractor": {name: dict(counts) for name, counts in report.remote_outcomes.items()},
        },
        "receipts": {
            "published": report.receipt_statuses["published"],
            "waiting": status["receipts"]["waiting"],
            "failed": status["receipts"]["failed"],
        },
        "exports": {"batches": len(report.export_batches), "invoices": report.exported_invoices},
        "seconds": round(report.total_seconds, 3),
        "seconds_by_stage": {name: round(seconds, 3) for name, seconds in report.stage_seconds.items()},
        "rows_loaded": report.rows_loaded,
        "rehearsal": app.is_rehearsal,
        "silent_sources": status["silent_sources"],
        "problems": report.problems,
        "remarks": report.remarks,
    }


def get_pipeline_status(app: App) -> dict[str, Any]:
    """Return how many documents, receipts and exports are in which state."""
    with app.ledger.open_snapshot() as connection:
        state_counts, receipt_counts = count_documents_by_state(connection), count_receipts_by_status(connection)
        export_totals, waiting_mail_counts = count_exports(connection), count_uncollected_mails(connection)
    totals_by_state: Counter[str] = Counter()
    for (state, _), count in state_counts.items():
        totals_by_state[state] += count
    totals_by_status: Counter[str] = Counter()
    for (status, _, _), count in receipt_counts.items():
        totals_by_status[status] += count
    return {
        "documents": {
            "seen": sum(totals_by_state.values()),
            "by_state": {state: totals_by_state[state] for state in STATES},
        },
        "reasons": [
            {"state": state, "reason_code": code, "documents": count}
            for (state, code), count in sorted(state_counts.items())
        ],
        "receipts": {
            "published": totals_by_status["published"],
            "waiting": sum(totals_by_status[status] for status in ("pending", "waiting", "sending", "held")),
            "failed": totals_by_status["failed"],
        },
        "exports": export_totals,
        "mails_waiting": waiting_mail_counts,
        "claims": claims_to_json(list_claims_of_others(app)),
        "changed_vendors": list_changed_vendors(app),
        "silent_sources": [silent_source.to_json() for silent_source in list_silent_sources(app)],
    }


def list_changed_vendors(app: App) -> list[str]:
    """Return a sentence for each vendor whose answers lack fields, until a person decides about it."""
    with app.ledger.open_snapshot() as connection:
        missing = {name: read_vendor_changes(connection, name).missing_fields for name in PAID_EXTRACTORS}
    return [describe_missing_fields(name, name, fields) for name, fields in missing.items() if fields]


def list_silent_sources(app: App) -> list[SilentSource]:
    """Return the sources and suppliers that have sent nothing for unusually long."""
    settings = app.settings
    return query_silent_sources(settings.warehouse_directory, app.ledger.now().date(), settings.intake.quiet_factor)


def format_run_summary(app: App, report: RunReport | None) -> str:
    """Return the summary for a person; ``report`` is what this run did, None if nothing was run."""
    with app.ledger.open_snapshot() as connection:
        state_counts, receipt_counts = count_documents_by_state(connection), count_receipts_by_status(connection)
        export_totals, waiting_mail_counts = count_exports(connection), count_uncollected_mails(connection)
    mail_counts = [
        f"{count} {MAIL_OUTCOME_NAMES.get(outcome, outcome)}" for outcome, count in waiting_mail_counts.items() if count
    ]
    sections = [
        _format_headline(app, report),
        _format_document_states(state_counts) if state_counts else _format_first_steps(app),
        *(format_waiting_documents(app) if report is None else ()),
        f"Mails not collected: {', '.join(mail_counts)} (list them with: invoices reconcile)" if mail_counts else "",
        "\n".join(list_changed_vendors(app)) if report is None else "",
        format_claims(list_claims_of_others(app)),
        _format_accepted_amounts(app),
        _format_receipts(receipt_counts, report, is_rehearsal=app.is_rehearsal),
        _format_exports(export_totals, report),
        _format_remarks(report.remarks) if report else "",
        _format_silent_sources(list_silent_sources(app)),
        _format_locations(app),
        _format_next_step(state_counts),
    ]
    return "\n\n".join(section for section in sections if section)


def _format_headline(app: App, report: RunReport | None) -> str:
    lines = []
    if app.is_rehearsal:
        lines.append("REHEARSAL: no vendor key is set, so the sandbox stands in for every remote API.")
    if report is not None:
        paid_text = f"{format_count(report.paid_pages, 'page')} charged" if report.paid_calls else "no paid calls"
        lines.append(f"{format_count(report.new_documents, 'new document')}, {paid_text}, {report.total_seconds:.1f} s")
        for name, counts in report.remote_outcomes.items():
            if counts.total():
                line = f"  {name}: {counts['answered']} answered, {format_count(counts['pages'], 'page')} charged"
                line += f", {counts['passed_to_next']} passed to the next extractor" if counts["passed_to_next"] else ""
                lines.append(line + (f", {counts['quarantined']} quarantined" if counts["quarantined"] else ""))
    return "\n".join(lines)


def _format_document_states(state_counts: Mapping[tuple[str, str], int]) -> str:
    lines = [f"Documents ({sum(state_counts.values()):,})"]
    for state in STATES:
        reason_counts = {code: count for (row_state, code), count in sorted(state_counts.items()) if row_state == state}
        if reason_counts:
            next_step = f"   {NEXT_STEP_BY_STATE[state]}" if state in NEXT_STEP_BY_STATE else ""
            lines.append(f"  {state:12}{sum(reason_counts.values()):>8,}{next_step}")
            if state not in ("accepted", "duplicate"):
                by_frequency = sorted(reason_counts.items(), key=lambda code_and_count: -code_and_count[1])
                lines += [f"      {count:>8,}  {code}" for code, count in by_frequency]
    return "\n".join(lines)


def _format_first_steps(app: App) -> str:
    sources = app.settings.sources
    if [source.name for source in sources] == [app.settings.inbox.name]:
        hint = f"Put documents into {app.settings.inbox_directory}"
    else:
        hint = f"Collect from {', '.join(repr(source.name) for source in sources)} with: invoices run"
    return f"No documents yet. {hint}, or try the sample documents: invoices run --samples"


def _format_accepted_amounts(app: App) -> str:
    rows = sum_accepted_amounts_by_currency(app.settings.warehouse_directory)
    if not rows:
        return ""
    lines = [
        "Accepted invoices (credit notes are negative)",
        f"  {'invoices':>10}{'net':>22}{'tax':>22}{'total':>22}",
    ]
    for currency, invoice_count, *amounts in rows:
        cells = ["" if amount is None else format_money(amount, currency) for amount in amounts]
        lines.append(f"  {invoice_count:>10,}" + "".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines)


def _format_receipts(
    receipt_counts: Mapping[tuple[str, str | None, str | None], int], report: RunReport | None, *, is_rehearsal: bool
) -> str:
    if not receipt_counts:
        return ""
    heading = "Receipts of a rehearsal, which only the sandbox has" if is_rehearsal else "Receipts"
    lines = [heading + (f" ({report.receipt_statuses['published']:,} published by this run)" if report else "")]
    for (status, code, reason), count in sorted(receipt_counts.items(), key=str):
        label = f"{code}, for example" if count > 1 else code
        reason_note = f"   {label}: {sanitise_for_display(reason or '', MAX_SENTENCE_CHARS)}" if code else ""
        lines.append(f"  {status:12}{count:>8,}{reason_note}")
    return "\n".join(lines)


def _format_exports(export_totals: Mapping[str, int], report: RunReport | None) -> str:
    if not any(export_totals.values()):
        return ""
    batches_text = format_count(export_totals["batches"], "batch", "batches")
    line = f"  {format_count(export_totals['invoices'], 'invoice')} in {batches_text}"
    line += f" ({report.exported_invoices:,} by this run)" if report else ""
    line += f", {export_totals['waiting']:,} not exported yet" if export_totals["waiting"] else ""
    return f"Exports\n{line}"


def _format_remarks(remarks: list[str]) -> str:
    if not remarks:
        return ""
    lines = [f"  {sanitise_for_display(remark, MAX_SENTENCE_CHARS)}" for remark in remarks[:MAX_LINES_LISTED]]
    if len(remarks) > MAX_LINES_LISTED:
        lines.append(f"  … and {len(remarks) - MAX_LINES_LISTED} more (see them all with --json)")
    return "\n".join(["Remarks", *lines])


def _format_silent_sources(silent_sources: list[SilentSource]) -> str:
    if not silent_sources:
        return ""
    lines = [f"  {silent_source}" for silent_source in silent_sources[:MAX_LINES_LISTED]]
    if len(silent_sources) > MAX_LINES_LISTED:
        lines.append(f"  … and {len(silent_sources) - MAX_LINES_LISTED} more (see marts.arrival_rhythm)")
    return "\n".join(["Unusually long without a document", *lines])


def _format_locations(app: App) -> str:
    settings = app.settings
    lines = ["Locations"]
    database_path = get_published_database_path(settings.warehouse_directory)
    if database_path.exists():
        lines.append(f"  warehouse       {database_path} (and warehouse/parquet)")
    if settings.exports_directory.exists():
        lines.append(f"  exports         {settings.exports_directory}")
    lines.append(f"  home directory  {settings.home}")
    return "\n".join(lines)


def _format_next_step(state_counts: Mapping[tuple[str, str], int]) -> str:
    if ("waiting", "collected") in state_counts:
        return "Next: extract the collected documents: invoices extract"
    if {state for state, _ in state_counts} & {"review", "quarantined"}:
        return "Next: see why a document needs a person, by its file name, invoice number or hash: invoices explain ID"
    return ""
