"""What a run says at its end: a summary that a person can read, and the same as one object for machines."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from flows.quiet import Quiet, quiet
from invoices.documents.outcomes import shown
from invoices.house import House
from invoices.ledger.batches import export_counts
from invoices.ledger.documents import count_by_state
from invoices.ledger.messages import waiting_mails
from invoices.ledger.outbox import receipts_by_status
from invoices.report import Report
from transforms.loading.accepted import money_by_currency
from transforms.loading.release import published_path

STATES = ("accepted", "review", "quarantined", "duplicate", "not_invoice", "waiting")
LONGEST_SENTENCE = 500  # characters of what others wrote
WAITS_FOR = {
    "review": "a person: look at it",
    "quarantined": "a person or a better file",
    "waiting": "a later run",
}


def outcome(house: House, report: Report) -> dict[str, Any]:
    """Return what a run did: documents, paid, receipts, exports, seconds, problems."""
    now = standing(house)
    return {
        "documents": {
            "seen": now["documents"]["seen"],
            "new": report.new_documents,
            "by_state": now["documents"]["by_state"],
        },
        "paid": {
            "calls": report.paid_calls,
            "pages": report.paid_pages,
            "by_extractor": {name: dict(counts) for name, counts in report.asked.items()},
        },
        "receipts": {
            "published": report.receipts["published"],
            "waiting": now["receipts"]["waiting"],
            "failed": now["receipts"]["failed"],
        },
        "exports": {"batches": len(report.export_batches), "invoices": report.exported_invoices},
        "seconds": round(report.total_seconds, 3),
        "seconds_by_stage": {name: round(seconds, 3) for name, seconds in report.seconds.items()},
        "rows_loaded": report.rows_loaded,
        "rehearsal": house.rehearses,
        "quiet": now["quiet"],
        "problems": report.problems,
        "remarks": report.remarks,
    }


def standing(house: House) -> dict[str, Any]:
    """Return where every document, receipt and export stands."""
    with house.ledger.reading() as connection:
        states, receipts = count_by_state(connection), receipts_by_status(connection)
        exports, mails = export_counts(connection), waiting_mails(connection)
    by_state: Counter[str] = Counter()
    for (state, _), count in states.items():
        by_state[state] += count
    by_status: Counter[str] = Counter()
    for (status, _, _), count in receipts.items():
        by_status[status] += count
    return {
        "documents": {"seen": sum(by_state.values()), "by_state": {state: by_state[state] for state in STATES}},
        "reasons": [
            {"state": state, "reason_code": code, "documents": count} for (state, code), count in sorted(states.items())
        ],
        "receipts": {
            "published": by_status["published"],
            "waiting": sum(by_status[status] for status in ("pending", "waiting", "sending", "held")),
            "failed": by_status["failed"],
        },
        "exports": exports,
        "mails_waiting": mails,
        "quiet": [one.record() for one in gone_quiet(house)],
    }


def summary(house: House, report: Report | None) -> str:
    """Return the summary for a person; ``report`` is what this run did, None for a mere look."""
    parts = [
        _opening(house, report), _documents(house), _mails(house), _money(house), _receipts(house, report),
        _exports(house, report), _remarks(report), _quiet(house), _next_steps(house),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def _opening(house: House, report: Report | None) -> str:
    lines = []
    if house.rehearses:
        lines.append("REHEARSAL: no vendor key is set, so the sandbox stood in for every remote API.")
    if report is not None:
        paid = f"{_count(report.paid_pages, 'page')} paid for" if report.paid_calls else "no paid call"
        lines.append(f"{_count(report.new_documents, 'new document')}, {paid}, {report.total_seconds:.1f} s.")
        lines += [_asked(name, counts) for name, counts in report.asked.items() if counts.total()]
    return "\n".join(lines)


def _asked(name: str, counts: Counter[str]) -> str:
    told = f"  {name}: {counts['answered']} answered, {_count(counts['pages'], 'page')} paid for"
    told += f", {counts['passed_on']} passed on to the next" if counts["passed_on"] else ""
    return told + (f", {counts['set_aside']} set aside" if counts["set_aside"] else "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _documents(house: House) -> str:
    with house.ledger.reading() as connection:
        states = count_by_state(connection)
    if not states:
        return f"No document yet. {_whence(house)}, or try: invoices run --samples"
    lines = [f"Documents ({sum(states.values())})"]
    for state in STATES:
        reasons = {code: count for (found, code), count in sorted(states.items()) if found == state}
        if reasons:
            waits = f"   waits for {WAITS_FOR[state]}" if state in WAITS_FOR else ""
            lines.append(f"  {state:12}{sum(reasons.values()):6}{waits}")
            if state not in ("accepted", "duplicate"):
                lines += [f"      {count:6}  {code}" for code, count in sorted(reasons.items(), key=lambda r: -r[1])]
    return "\n".join(lines)


def _whence(house: House) -> str:
    sources = house.settings.sources
    if [source.name for source in sources] == [house.settings.inbox.name]:
        return f"Put some into {house.settings.inbox_directory}"
    return f"Visit {', '.join(repr(source.name) for source in sources)} with: invoices run"


def _mails(house: House) -> str:
    with house.ledger.reading() as connection:
        counts = [f"{count} {outcome}" for outcome, count in waiting_mails(connection).items() if count]
    return f"Mails that wait: {', '.join(counts)} (invoices reconcile names them)" if counts else ""


def _money(house: House) -> str:
    rows = money_by_currency(house.settings.warehouse_directory)
    if not rows:
        return ""
    head = f"  {'':4}{'invoices':>10}{'net':>18}{'tax':>18}{'total':>18}"
    body = [f"  {row[0]:4}{row[1]:>10}" + "".join(f"{_plain(amount):>18}" for amount in row[2:]) for row in rows]
    return "\n".join(["Accepted (credit notes negative)", head, *body])


def _plain(amount: Decimal | None) -> str:
    return "" if amount is None else f"{amount:,.2f}" if amount == round(amount, 2) else f"{amount:,}"


def _receipts(house: House, report: Report | None) -> str:
    with house.ledger.reading() as connection:
        receipts = receipts_by_status(connection)
    if not receipts:
        return ""
    title = "Receipts" + (f" ({report.receipts['published']} published by this run)" if report else "")
    lines = [title]
    for (status, code, reason), count in sorted(receipts.items(), key=str):
        why = f"   {code}: {shown(reason or '', LONGEST_SENTENCE)}" if code else ""
        lines.append(f"  {status:12}{count:6}{why}")
    return "\n".join(lines)


def _exports(house: House, report: Report | None) -> str:
    with house.ledger.reading() as connection:
        counts = export_counts(connection)
    if not any(counts.values()):
        return ""
    this = f" ({report.exported_invoices} by this run)" if report else ""
    waiting = f", {counts['waiting']} wait for one" if counts["waiting"] else ""
    batches = f"{counts['batches']} batch{'' if counts['batches'] == 1 else 'es'}"
    return f"Exports\n  {_count(counts['invoices'], 'invoice')} in {batches}{this}{waiting}"


def _remarks(report: Report | None) -> str:
    told = report.remarks[:10] if report else []
    more = [f"  … and {len(report.remarks) - 10} more"] if report and len(report.remarks) > 10 else []
    return "\n".join(["Noticed", *(f"  {shown(remark, LONGEST_SENTENCE)}" for remark in told), *more]) if told else ""


def _quiet(house: House) -> str:
    found = gone_quiet(house)
    more = [f"  … and {len(found) - 10} more: marts.arrival_rhythm"] if len(found) > 10 else []
    return "\n".join(["Gone quiet", *(f"  {one}" for one in found[:10]), *more]) if found else ""


def gone_quiet(house: House) -> list[Quiet]:
    """Return the sources and suppliers of which nothing came for unusually long."""
    settings = house.settings
    return quiet(settings.warehouse_directory, house.ledger.now().date(), settings.intake.quiet_factor)


def _next_steps(house: House) -> str:
    home = house.settings.home
    lines = ["Where things are"]
    if published_path(house.settings.warehouse_directory).exists():
        lines.append(f"  for analysts     {published_path(house.settings.warehouse_directory)} (and warehouse/parquet)")
    if house.settings.exports_directory.exists():
        lines.append(f"  for accountants  {house.settings.exports_directory}")
    lines.append(f"  everything else  {home}")
    with house.ledger.reading() as connection:
        stands = set(count_by_state(connection))
    if ("waiting", "collected") in stands:
        lines += ["", "Next: read what was collected:  invoices extract"]
    elif {state for state, _ in stands} & {"review", "quarantined"}:
        lines += ["", "Next: see why one was set aside, by file name, invoice number or hash:  invoices explain ID"]
    return "\n".join(lines)
