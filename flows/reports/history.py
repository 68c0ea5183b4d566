"""The history of one document, from the ledger alone: seen, extracted, validated, published, exported."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from flows.plurals import format_count
from flows.reports.invoice_comparison import describe_amounts, find_comparison, format_comparison
from invoices.app import App
from invoices.documents.outcomes import sanitise_for_display
from invoices.errors import ConfigurationError
from invoices.ledger.documents import (
    find_document_row,
    list_document_hashes_by_name,
    list_document_hashes_by_prefix,
    list_sighting_rows,
)
from invoices.ledger.extractions import list_extraction_rows
from invoices.ledger.mails import list_document_hashes_of_mails, list_mail_rows, list_mails_by_name
from invoices.ledger.validations import (
    list_candidate_rows,
    list_document_hashes_by_invoice,
    list_export_batch_rows,
    list_finding_rows,
    list_receipt_rows,
)
from invoices.model.currencies import format_money
from invoices.settings import MailboxSettings
from invoices.settings.sources import MOVE_PREFIX

MAX_LINE_CHARS = 1_000  # characters
MAIL_OUTCOME_TEXTS = {
    "collected": "its documents were collected",
    "no_documents": "nothing in it could be an invoice",
    "skipped": "skipped by a rule",
    "quarantined": "quarantined as a whole",
    "too_large": "too large and not fetched",
    "waiting": "waiting for a later run",
}
MAIL_ACTION_TEXTS = {"seen": "marked as read", "flag": "flagged", "delete": "deleted"}
MAX_MAIL_DOCUMENTS = 20  # of all mails that match one name
SKIP_REASON_TEXTS = {  # singular and plural
    "body": ("text", "texts"),
    "container": ("container whose content was collected", "containers whose content was collected"),
    "calendar": ("calendar entry", "calendar entries"),
    "contact_card": ("contact card", "contact cards"),
    "signature": ("signature", "signatures"),
    "decoration": ("decorative picture", "decorative pictures"),
    "delivery_report": ("delivery report", "delivery reports"),
    "unmatched": ("file that matches no rule", "files that match no rule"),
    "system_file": ("file of an operating system", "files of an operating system"),
}

History = dict[str, Any]


def list_document_histories(app: App, identity: str) -> list[History]:
    """Return the histories of the documents that ``identity`` names: hash or its beginning, invoice id or number, file.

    A mail comes before the documents that it brought, and alone if it brought none; see ``list_mails_by_name``.

    Raises:
        ConfigurationError: nothing in this home directory has that name.
    """
    with app.ledger.open_snapshot() as connection:
        documents, mails = find_documents_and_mails(connection, identity)
        action_texts = _build_action_texts_by_source(app)
        mail_histories = [{"mail": _add_action_text(mail, action_texts)} for mail in mails]
        return mail_histories + [_read_document_history(connection, document, action_texts) for document in documents]


def find_documents_and_mails(connection: Connection, identity: str) -> tuple[list[str], Sequence[Mapping[str, Any]]]:
    """Return the hashes of the documents that ``identity`` names, and the mails; see ``list_document_histories``.

    Raises:
        ConfigurationError: nothing in this home directory has that name.
    """
    identity = os.fsencode(identity).decode("utf-8", "backslashreplace")  # the form in which locations are recorded
    documents = list_document_hashes_by_invoice(connection, identity)
    mails = [] if documents else list_mails_by_name(connection, identity)
    mail_documents = list_document_hashes_of_mails(connection, [mail["message_key"] for mail in mails])
    documents = (  # a whole name has precedence over the beginning of a hash
        documents
        or list(
            dict.fromkeys([*mail_documents[:MAX_MAIL_DOCUMENTS], *list_document_hashes_by_name(connection, identity)])
        )
        or (list_document_hashes_by_prefix(connection, identity) if len(identity) >= 4 and not mails else [])
    )
    if not documents and not mails:
        raise ConfigurationError(
            f"nothing is named {identity!r}: give a hash or at least its first 4 digits, an invoice id or number, "
            "a file name or a Message-ID"
        )
    return documents, mails


def _build_action_texts_by_source(app: App) -> dict[str, str]:
    """Return for each configured mailbox, in words, what is done to its collected mails."""
    action_texts = {}
    for source in app.settings.sources:
        if isinstance(source, MailboxSettings) and source.after.startswith(MOVE_PREFIX):
            action_texts[source.name] = f"moved to {source.after.removeprefix(MOVE_PREFIX)!r}"
        elif isinstance(source, MailboxSettings) and source.after in MAIL_ACTION_TEXTS:
            action_texts[source.name] = MAIL_ACTION_TEXTS[source.after]
    return action_texts


def _add_action_text(mail: Mapping[str, Any], action_texts: Mapping[str, str]) -> History:
    """Return a mail with ``action_text``: what was, or could not be, done to it on the server; None if unknown."""
    is_action_known = mail["uid"] is not None and mail["action"] in ("done", "failed")
    return {**mail, "action_text": action_texts.get(mail["source_name"]) if is_action_known else None}


def _read_document_history(connection: Connection, document: str, action_texts: Mapping[str, str]) -> History:
    candidates, findings = [], list_finding_rows(connection, document)
    for row in list_candidate_rows(connection, document):
        body = json.loads(row["body"])
        receipts = list_receipt_rows(connection, row["invoice_id"])
        exports = list_export_batch_rows(connection, row["invoice_id"])
        own_findings = [finding for finding in findings if finding["invoice_id"] == row["invoice_id"]]
        comparison = find_comparison(connection, body, own_findings)
        candidates.append({**row, **body, "receipts": receipts, "exports": exports, "compared_with": comparison})
    sightings = list_sighting_rows(connection, document)
    message_keys = list(dict.fromkeys(row["message_key"] for row in sightings if row["message_key"]))
    mails_by_key = {
        row["message_key"]: _add_action_text(row, action_texts) for row in list_mail_rows(connection, message_keys)
    }
    return {
        "document": find_document_row(connection, document),
        "sightings": [dict(row) | {"mail": mails_by_key.get(row["message_key"])} for row in sightings],
        "extractions": list_extraction_rows(connection, document),
        "candidates": candidates,
        "findings": findings,
    }


def format_history(history: History) -> str:
    """Return a history as text, one line per event, in the order of the stages; quoted text never starts a new line."""
    return "\n".join(sanitise_for_display(line, MAX_LINE_CHARS) for line in _format_history_lines(history))


def _format_history_lines(history: History) -> Iterator[str]:
    if "document" not in history:
        yield from _format_mail_lines(history["mail"])
        return
    document = history["document"]
    page_text = f", {format_count(document['page_count'], 'page')}" if document["page_count"] is not None else ""
    yield f"Document {document['document_sha256']}"
    yield f"  {document['media_type']}, {format_count(document['byte_count'], 'byte')}{page_text}"
    yield f"  now {document['state']} ({document['reason_code']}): {document['reason']}"
    for sighting in history["sightings"]:
        yield from _format_sighting_lines(sighting)
    for finding in history["findings"]:
        if finding["invoice_id"] is None:  # a finding about the document itself
            text = f"{finding['severity']}: {finding['rule_id']}: {finding['message'] or 'no reason is recorded'}"
            yield _format_event(finding["checked_at"], text)
    for extraction in history["extractions"]:
        yield from _format_extraction_lines(extraction)
    for candidate in history["candidates"]:
        yield from _format_candidate_lines(
            candidate, [row for row in history["findings"] if row["invoice_id"] == candidate["invoice_id"]]
        )


def _format_event(instant: dt.datetime | None, text: str) -> str:
    """Return a line with its time (UTC) in the first column; without a time, the text continues the event before."""
    return f"{instant:%Y-%m-%d %H:%M:%SZ}  {text}" if instant else f"{'':22}{text}"


def _format_sighting_lines(sighting: Mapping[str, Any]) -> Iterator[str]:
    notes = "".join(f", {name} {sighting[name]!r}" for name in ("entity", "cost_centre") if sighting[name])
    notes += f", skipped as {sighting['skip_reason_code']}" if sighting["skip_reason_code"] else ""
    notes += f", inside document {sighting['embedded_in'][:12]}" if sighting["embedded_in"] else ""
    yield _format_event(sighting["seen_at"], f"seen by {sighting['source_name']} at {sighting['location']!r}{notes}")
    if mail := sighting["mail"]:
        forwarded_note = f", forwarded from {sighting['original_sender']}" if sighting["original_sender"] else ""
        yield _format_event(
            None, f"{_describe_mail_part(sighting)} a mail {_describe_mail_origin(mail, forwarded_note)}"
        )
        received_note = f"received {mail['received_at']:%Y-%m-%d %H:%M:%SZ}, " if mail["received_at"] else ""
        yield _format_event(None, f"{received_note}{_describe_authentication_and_action(mail)}")


def _describe_mail_part(sighting: Mapping[str, Any]) -> str:
    """Return in words which part of a mail a document is."""
    if sighting["section"] is None:
        return "the whole of"
    if sighting["file_name"] is not None:
        return f"as {sighting['file_name']!r} in"
    return "the text of" if (sighting["declared_type"] or "").startswith("text/") else "without a name in"


def _describe_mail_origin(mail: Mapping[str, Any], forwarded_note: str = "") -> str:
    subject_text = repr(mail["subject"]) if mail["subject"] else "no subject"
    return f"from {mail['sender'] or 'an unknown sender'}{forwarded_note}: {subject_text}"


def _format_mail_lines(mail: Mapping[str, Any]) -> Iterator[str]:
    yield f"Mail {mail['message_id'] or mail['message_key']} {_describe_mail_origin(mail)}"
    uid_note = f", UID {mail['uid']} of {mail['uidvalidity']}" if mail["uid"] else ""
    yield _format_event(
        mail["seen_at"],
        f"seen by {mail['source_name']} in {mail['folder']!r}{uid_note}, {_describe_authentication_and_action(mail)}",
    )
    reason_note = f" ({mail['reason']})" if mail["reason"] else ""
    skipped_note = _describe_skipped_parts(mail["skipped_parts"])
    yield _format_event(None, f"{MAIL_OUTCOME_TEXTS[mail['outcome']]}{reason_note}{skipped_note}")


def _describe_skipped_parts(counts_json: str | None) -> str:
    """Return in words which parts of a mail are no documents; ``counts_json`` is an object of counts by reason code."""
    phrases = [
        format_count(count, *SKIP_REASON_TEXTS.get(code, (code, code)))
        for code, count in json.loads(counts_json or "{}").items()
    ]
    return f"; skipped: {', '.join(phrases)}" if phrases else ""


def _describe_authentication_and_action(mail: Mapping[str, Any]) -> str:
    action_text = mail["action_text"]
    action_notes = {
        "done": f", {action_text or 'done'} on the server",
        "failed": f", could not be {action_text} on the server" if action_text else ", failed on the server",
    }
    return f"authentication {mail['authentication'] or 'unknown'}{action_notes.get(mail['action'], '')}"


def _format_extraction_lines(extraction: Mapping[str, Any]) -> Iterator[str]:
    extractor, requested_at = extraction["extracted_by"], extraction["requested_at"]
    if extractor == "einvoice":
        yield _format_event(extraction["answered_at"], "read as an e-invoice, at no cost")
        return
    warning = "; POSSIBLY CHARGED TWICE: an earlier outcome is unknown" if extraction["possible_double_charge"] else ""
    if extraction["submitted_at"]:
        remote_id_note = f" as {extraction['remote_id']}" if extraction["remote_id"] else ""
        charge_text = f"{format_count(extraction['pages_charged'] or 0, 'page')} charged"
        batch_note = f" in batch {extraction['batch_id']}" if extraction["batch_id"] else ""
        yield _format_event(
            requested_at, f"submitted to {extractor}{remote_id_note}, {charge_text}{batch_note}{warning}"
        )
    elif extraction["status"] in ("intended", "unknown"):
        yield _format_event(requested_at, f"submission to {extractor} prepared; unknown whether it arrived{warning}")
    else:
        yield _format_event(requested_at, f"submission to {extractor} refused{warning}")
    if extraction["answered_at"]:
        message_note = f": {extraction['message']}" if extraction["message"] else ""
        yield _format_event(extraction["answered_at"], f"{extraction['status']} by {extractor}{message_note}")


def _format_candidate_lines(candidate: Mapping[str, Any], findings: list[Mapping[str, Any]]) -> Iterator[str]:
    verdict_text = f"validated as {candidate['verdict']} by {candidate['decided_by']}"
    invoice_text = _describe_invoice(candidate["candidate"], len(candidate["lines"]))
    yield _format_event(candidate["validated_at"], f"{verdict_text}: {invoice_text}")
    yield _format_event(None, f"invoice id {candidate['invoice_id']}")
    if findings and (amounts_text := describe_amounts(candidate["candidate"])):
        yield _format_event(None, f"states {amounts_text}")
    for finding in findings:
        message_note = f": {finding['message']}" if finding["message"] else ""
        yield _format_event(None, f"{finding['severity']}: {finding['rule_id']}{message_note}")
    if candidate["compared_with"]:
        for line in format_comparison(candidate["compared_with"]):
            yield _format_event(None, line)
    for receipt in candidate["receipts"]:
        text = f"receipt {receipt['receipt_id']} {receipt['status']}"
        text += f" as {receipt['remote_id']}" if receipt["remote_id"] else ""
        text += f" ({receipt['reason_code']}): {receipt['reason']}" if receipt["reason_code"] else ""
        yield _format_event(receipt["changed_at"], text)
    for batch in candidate["exports"]:
        yield _format_event(batch["created_at"], f"exported in {batch['batch_id']}")


def _describe_invoice(invoice: Mapping[str, Any], line_count: int) -> str:
    """Return kind, number, supplier, date, total and number of lines in words; what is missing is named as missing."""
    kind = str(invoice.get("kind") or "invoice").replace("_", " ")
    number, supplier, issued_on = (invoice.get(name) for name in ("invoice_number", "supplier_name", "issued_on"))
    total, currency = invoice.get("total_amount"), invoice.get("currency")
    if total is None:
        total_text = "without a total"
    else:
        total_text = f"total {format_money(Decimal(total), currency)}" if currency else f"total {total} in no currency"
    number_text = repr(number) if number else "without a number"
    return ", ".join((
        f"{kind} {number_text} from {repr(supplier) if supplier else 'an unknown supplier'}",
        f"issued {issued_on}" if issued_on else "without an issue date",
        total_text,
        format_count(line_count, "line"),
    ))  # fmt: skip
