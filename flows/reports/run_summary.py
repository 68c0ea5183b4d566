"""What a run says at its end: a summary that a person can read, and the same as one object for machines."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from flows.reports.silent_sources import SilentSource, query_silent_sources
from invoices.app import App
from invoices.documents.outcomes import sanitise_for_display
from invoices.ledger.documents import count_documents_by_state
from invoices.ledger.export_batches import count_exports
from invoices.ledger.mails import count_uncollected_mails
from invoices.ledger.outbox import count_receipts_by_status
from invoices.run_report import RunReport
from transforms.loading.accepted_invoices import sum_accepted_amounts_by_currency
from transforms.loading.release import get_published_database_path

STATES = ("accepted", "review", "quarantined", "duplicate", "not_invoice", "waiting")
MAX_SENTENCE_CHARS = 500  # characters of what others wrote
AWAITED_BY_STATE = {
    "review": "a person: look at it",
    "quarantined": "a person or a better file",
    "waiting": "a later run",
}


def get_run_result(app: App, report: RunReport) -> dict[str, Any]:
    """Return what a run did: documents, paid, receipts, exports, seconds, problems."""
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
        "quiet": status["quiet"],
        "problems": report.problems,
        "remarks": report.remarks,
    }


def get_pipeline_status(app: App) -> dict[str, Any]:
    """Return where every document, receipt and export stands."""
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
        "quiet": [silent_source.to_json() for silent_source in list_silent_sources(app)],
    }


def format_run_summary(app: App, report: RunReport | None) -> str:
    """Return the summary for a person; ``report`` is what this run did, None for a mere look."""
    sections = [
        _format_headline(app, report), _format_document_states(app), _format_waiting_mails(app), _format_accepted_amounts(app), _format_receipts(app, report),
        _format_exports(app, report), _format_remarks(report), _format_silent_sources(app), _format_locations_and_next_step(app),
    ]  # fmt: skip
    return "\n\n".join(section for section in sections if section)


def _format_headline(app: App, report: RunReport | None) -> str:
    lines = []
    if app.is_rehearsal:
        lines.append("REHEARSAL: no vendor key is set, so the sandbox stood in for every remote API.")
    if report is not None:
        paid_text = f"{_format_count(report.paid_pages, 'page')} paid for" if report.paid_calls else "no paid call"
        lines.append(
            f"{_format_count(report.new_documents, 'new document')}, {paid_text}, {report.total_seconds:.1f} s."
        )
        lines += [
            _format_extractor_counts(name, counts) for name, counts in report.remote_outcomes.items() if counts.total()
        ]
    return "\n".join(lines)


def _format_extractor_counts(name: str, counts: Counter[str]) -> str:
    text = f"  {name}: {counts['answered']} answered, {_format_count(counts['pages'], 'page')} paid for"
    text += f", {counts['passed_on']} passed on to the next" if counts["passed_on"] else ""
    return text + (f", {counts['set_aside']} set aside" if counts["set_aside"] else "")


def _format_count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _format_document_states(app: App) -> str:
    with app.ledger.open_snapshot() as connection:
        state_counts = count_documents_by_state(connection)
    if not state_counts:
        return f"No document yet. {_format_source_hint(app)}, or try: invoices run --samples"
    lines = [f"Documents ({sum(state_counts.values())})"]
    for state in STATES:
        reason_counts = {code: count for (row_state, code), count in sorted(state_counts.items()) if row_state == state}
        if reason_counts:
            awaited_text = f"   waits for {AWAITED_BY_STATE[state]}" if state in AWAITED_BY_STATE else ""
            lines.append(f"  {state:12}{sum(reason_counts.values()):6}{awaited_text}")
            if state not in ("accepted", "duplicate"):
                lines += [
                    f"      {count:6}  {code}" for code, count in sorted(reason_counts.items(), key=lambda r: -r[1])
                ]
    return "\n".join(lines)


def _format_source_hint(app: App) -> str:
    sources = app.settings.sources
    if [source.name for source in sources] == [app.settings.inbox.name]:
        return f"Put some into {app.settings.inbox_directory}"
    return f"Visit {', '.join(repr(source.name) for source in sources)} with: invoices run"


def _format_waiting_mails(app: App) -> str:
    with app.ledger.open_snapshot() as connection:
        counts = [f"{count} {outcome}" for outcome, count in count_uncollected_mails(connection).items() if count]
    return f"Mails that wait: {', '.join(counts)} (invoices reconcile names them)" if counts else ""


def _format_accepted_amounts(app: App) -> str:
    rows = sum_accepted_amounts_by_currency(app.settings.warehouse_directory)
    if not rows:
        return ""
    header = f"  {'':4}{'invoices':>10}{'net':>18}{'tax':>18}{'total':>18}"
    body = [
        f"  {row[0]:4}{row[1]:>10}" + "".join(f"{_format_amount(amount):>18}" for amount in row[2:]) for row in rows
    ]
    return "\n".join(["Accepted (credit notes negative)", header, *body])


def _format_amount(amount: Decimal | None) -> str:
    return "" if amount is None else f"{amount:,.2f}" if amount == round(amount, 2) else f"{amount:,}"


def _format_receipts(app: App, report: RunReport | None) -> str:
    with app.ledger.open_snapshot() as connection:
        receipt_counts = count_receipts_by_status(connection)
    if not receipt_counts:
        return ""
    title = "Receipts" + (f" ({report.receipt_statuses['published']} published by this run)" if report else "")
    lines = [title]
    for (status, code, reason), count in sorted(receipt_counts.items(), key=str):
        reason_note = f"   {code}: {sanitise_for_display(reason or '', MAX_SENTENCE_CHARS)}" if code else ""
        lines.append(f"  {status:12}{count:6}{reason_note}")
    return "\n".join(lines)


def _format_exports(app: App, report: RunReport | None) -> str:
    with app.ledger.open_snapshot() as connection:
        counts = count_exports(connection)
    if not any(counts.values()):
        return ""
    run_note = f" ({report.exported_invoices} by this run)" if report else ""
    waiting_note = f", {counts['waiting']} wait for one" if counts["waiting"] else ""
    batches_text = f"{counts['batches']} batch{'' if counts['batches'] == 1 else 'es'}"
    return f"Exports\n  {_format_count(counts['invoices'], 'invoice')} in {batches_text}{run_note}{waiting_note}"


def _format_remarks(report: RunReport | None) -> str:
    first_remarks = report.remarks[:10] if report else []
    overflow_line = [f"  … and {len(report.remarks) - 10} more"] if report and len(report.remarks) > 10 else []
    return (
        "\n".join(
            [
                "Noticed",
                *(f"  {sanitise_for_display(remark, MAX_SENTENCE_CHARS)}" for remark in first_remarks),
                *overflow_line,
            ]
        )
        if first_remarks
        else ""
    )


def _format_silent_sources(app: App) -> str:
    silent_sources = list_silent_sources(app)
    overflow_line = (
        [f"  … and {len(silent_sources) - 10} more: marts.arrival_rhythm"] if len(silent_sources) > 10 else []
    )
    return (
        "\n".join(["Gone quiet", *(f"  {silent_source}" for silent_source in silent_sources[:10]), *overflow_line])
        if silent_sources
        else ""
    )


def list_silent_sources(app: App) -> list[SilentSource]:
    """Return the sources and suppliers of which nothing came for unusually long."""
    settings = app.settings
    return query_silent_sources(settings.warehouse_directory, app.ledger.now().date(), settings.intake.quiet_factor)


def _format_locations_and_next_step(app: App) -> str:
    home = app.settings.home
    lines = ["Where things are"]
    if get_published_database_path(app.settings.warehouse_directory).exists():
        lines.append(
            f"  for analysts     {get_published_database_path(app.settings.warehouse_directory)} (and warehouse/parquet)"
        )
    if app.settings.exports_directory.exists():
        lines.append(f"  for accountants  {app.settings.exports_directory}")
    lines.append(f"  everything else  {home}")
    with app.ledger.open_snapshot() as connection:
        states_with_reasons = set(count_documents_by_state(connection))
    if ("waiting", "collected") in states_with_reasons:
        lines += ["", "Next: read what was collected:  invoices extract"]
    elif {state for state, _ in states_with_reasons} & {"review", "quarantined"}:
        lines += ["", "Next: see why one was set aside, by file name, invoice number or hash:  invoices explain ID"]
    return "\n".join(lines)
