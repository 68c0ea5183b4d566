"""The story of one document: seen, read, asked, judged, published, exported; from the ledger alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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
from invoices.settings import MailboxSettings
from invoices.settings.sources import MOVE_PREFIX

MAX_LINE_CHARS = 1_000  # characters
MAIL_OUTCOME_TEXTS = {
    "collected": "its documents were taken",
    "no_documents": "nothing in it could be an invoice",
    "skipped": "left by a rule",
    "quarantined": "set aside as a whole",
    "too_large": "too large, and left where it is",
    "waiting": "waits for a later run",
}
MAIL_ACTION_TEXTS = {"seen": "marked as read", "flag": "flagged", "delete": "deleted"}
MAX_MAIL_DOCUMENTS = 20  # of the mails of one name
SKIP_REASON_TEXTS = {  # one, and more of them
    "body": ("text", "texts"),
    "container": ("container whose content is taken", "containers whose content is taken"),
    "calendar": ("calendar entry", "calendar entries"),
    "contact_card": ("contact card", "contact cards"),
    "signature": ("signature", "signatures"),
    "decoration": ("picture of the text", "pictures of the text"),
    "delivery_report": ("delivery report", "delivery reports"),
    "unmatched": ("file that fits no rule", "files that fit no rule"),
    "system_file": ("note of an operating system", "notes of an operating system"),
}

History = dict[str, Any]


def list_document_histories(app: App, identity: str) -> list[History]:
    """Return the stories of the documents that ``identity`` names: (part of) a hash, invoice id or number, file name.

    A mail comes before the documents that it brought, and alone where it brought none; see ``messages_named``.

    Raises:
        ConfigurationError: nothing in this house is named so.
    """
    identity = os.fsencode(identity).decode("utf-8", "backslashreplace")  # as locations are kept
    with app.ledger.open_snapshot() as connection:
        documents = list_document_hashes_by_invoice(connection, identity)
        mails = [] if documents else list_mails_by_name(connection, identity)
        mail_documents = list_document_hashes_of_mails(connection, [mail["message_key"] for mail in mails])[
            :MAX_MAIL_DOCUMENTS
        ]
        documents = (  # a whole name goes before the beginning of some hash
            documents
            or list(dict.fromkeys([*mail_documents, *list_document_hashes_by_name(connection, identity)]))
            or (list_document_hashes_by_prefix(connection, identity) if len(identity) >= 4 and not mails else [])
        )
        if not documents and not mails:
            raise ConfigurationError(f"nothing here is named {identity!r}; see: invoices status")
        action_texts = _build_action_texts_by_source(app)
        mail_histories = [{"mail": _add_action_text(mail, action_texts)} for mail in mails]
        return mail_histories + [_read_document_history(connection, document, action_texts) for document in documents]


def _build_action_texts_by_source(app: App) -> dict[str, str]:
    """Return in words what is done to the mails of each source that is configured."""
    action_by_source = {
        source.name: source.after for source in app.settings.sources if isinstance(source, MailboxSettings)
    }
    move_texts = {
        source_name: f"moved to {action.removeprefix(MOVE_PREFIX)!r}"
        for source_name, action in action_by_source.items()
        if action.startswith(MOVE_PREFIX)
    }
    return {
        source_name: MAIL_ACTION_TEXTS[action]
        for source_name, action in action_by_source.items()
        if action in MAIL_ACTION_TEXTS
    } | move_texts


def _add_action_text(mail: Mapping[str, Any], action_texts: Mapping[str, str]) -> History:
    """Return a mail with what was, or could not be, done to it on the server; None where that is not known."""
    is_action_known = mail["uid"] is not None and mail["action"] in ("done", "failed")
    return {**mail, "action_means": action_texts.get(mail["source_name"]) if is_action_known else None}


def _read_document_history(connection: Any, document: str, action_texts: Mapping[str, str]) -> History:
    candidates = []
    for row in list_candidate_rows(connection, document):
        body = json.loads(row["body"])
        candidates.append(
            dict(row)
            | body
            | {
                "receipts": list_receipt_rows(connection, row["invoice_id"]),
                "exports": list_export_batch_rows(connection, row["invoice_id"]),
            }
        )
    sightings = list_sighting_rows(connection, document)
    mail_rows = list_mail_rows(connection, _list_mail_keys(sightings))
    mails_by_key = {row["message_key"]: _add_action_text(row, action_texts) for row in mail_rows}
    return {
        "document": find_document_row(connection, document),
        "sightings": [dict(row) | {"mail": mails_by_key.get(row["message_key"])} for row in sightings],
        "extractions": list_extraction_rows(connection, document),
        "candidates": candidates,
        "findings": list_finding_rows(connection, document),
    }


def _list_mail_keys(sightings: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["message_key"] for row in sightings if row["message_key"]))


def format_history(history: History) -> str:
    """Return a story as text, one line an event, in the order of the stages; what documents say stays on its line."""
    return "\n".join(sanitise_for_display(line, MAX_LINE_CHARS) for line in _format_history_lines(history))


def _format_history_lines(history: History) -> Iterator[str]:
    if "document" not in history:
        yield from _format_mail_lines(history["mail"])
        return
    document = history["document"]
    page_text = f", {document['page_count']} pages" if document["page_count"] is not None else ""
    yield f"Document {document['document_sha256']}"
    yield f"  {document['media_type']}, {document['byte_count']:,} bytes{page_text}"
    yield f"  now {document['state']} ({document['reason_code']}): {document['reason']}"
    for sighting in history["sightings"]:
        yield from _format_sighting_lines(sighting)
    for document_finding in (finding for finding in history["findings"] if finding["invoice_id"] is None):
        yield f"{_format_instant(document_finding['checked_at'])}  {document_finding['severity']}: {document_finding['rule_id']}: {document_finding['message']}"
    for extraction in history["extractions"]:
        yield from _format_extraction_lines(extraction)
    for candidate in history["candidates"]:
        yield from _format_candidate_lines(
            candidate, [row for row in history["findings"] if row["invoice_id"] == candidate["invoice_id"]]
        )


def _format_sighting_lines(sighting: Mapping[str, Any]) -> Iterator[str]:
    allocation = "".join(f", {name} {sighting[name]!r}" for name in ("entity", "cost_centre") if sighting[name])
    skip_note = f", left out as {sighting['skip_reason_code']}" if sighting["skip_reason_code"] else ""
    yield f"{_format_instant(sighting['seen_at'])}  seen by {sighting['source_name']} at {sighting['location']!r}{allocation}{skip_note}"
    if mail := sighting["mail"]:
        forwarded_note = f", forwarded from {sighting['original_sender']}" if sighting["original_sender"] else ""
        yield f"{'':21}{_describe_mail_part(sighting)} a mail of {_format_sender(mail)}{forwarded_note}: {mail['subject']!r}"
        received_note = f"received {_format_instant(mail['received_at'])}, " if mail["received_at"] else ""
        yield f"{'':21}{received_note}{_format_authentication_and_action(mail)}"


def _describe_mail_part(sighting: Mapping[str, Any]) -> str:
    """Return in words what of a mail a document is."""
    if sighting["section"] is None:
        return "the whole of"
    if sighting["file_name"] is not None:
        return f"as {sighting['file_name']!r} in"
    return "the text of" if (sighting["declared_type"] or "").startswith("text/") else "without a name in"


def _format_sender(mail: Mapping[str, Any]) -> str:
    return mail["sender"] or "an unknown sender"


def _format_mail_lines(mail: Mapping[str, Any]) -> Iterator[str]:
    yield f"Mail {mail['message_id'] or mail['message_key']} of {_format_sender(mail)}: {mail['subject']!r}"
    uid_note = f", UID {mail['uid']} of {mail['uidvalidity']}" if mail["uid"] else ""
    yield f"{_format_instant(mail['seen_at'])}  seen by {mail['source_name']} in {mail['folder']!r}{uid_note}, {_format_authentication_and_action(mail)}"
    reason_note = f" ({mail['reason']})" if mail["reason"] else ""
    yield f"{'':21}{MAIL_OUTCOME_TEXTS[mail['outcome']]}{reason_note}{_format_skipped_part_counts(mail['skipped_parts'])}"


def _format_skipped_part_counts(counts_json: str | None) -> str:
    """Return in words which parts of a mail are no documents; ``counts`` is JSON: how many by reason code."""
    phrases = [
        f"{count} {SKIP_REASON_TEXTS[code][count != 1] if code in SKIP_REASON_TEXTS else code}"
        for code, count in json.loads(counts_json or "{}").items()
    ]
    return f"; left out: {', '.join(phrases)}" if phrases else ""


def _format_authentication_and_action(mail: Mapping[str, Any]) -> str:
    action_text = mail["action_means"]
    action_notes = {
        "done": f", {action_text or 'done'} on the server",
        "failed": f", could not be {action_text} on the server" if action_text else ", failed on the server",
    }
    return f"authentication {mail['authentication'] or 'unknown'}{action_notes.get(mail['action'], '')}"


def _format_extraction_lines(extraction: Mapping[str, Any]) -> Iterator[str]:
    extractor, remote_id_note = (
        extraction["extracted_by"],
        f" as {extraction['remote_id']}" if extraction["remote_id"] else "",
    )
    if extractor == "einvoice":
        yield f"{_format_instant(extraction['answered_at'])}  read as an e-invoice, at no cost"
        return
    double_charge_warning = (
        "; POSSIBLY CHARGED TWICE: an earlier outcome is unknown" if extraction["possible_double_charge"] else ""
    )
    if extraction["submitted_at"]:
        yield f"{_format_instant(extraction['requested_at'])}  submitted to {extractor}{remote_id_note}, {_format_charged_pages(extraction)}{double_charge_warning}"
    else:
        delivery_note = (
            "whether it arrived is not known" if extraction["status"] in ("intended", "unknown") else "refused"
        )
        yield f"{_format_instant(extraction['requested_at'])}  to be sent to {extractor}; {delivery_note}{double_charge_warning}"
    if extraction["answered_at"]:
        message_note = f": {extraction['message']}" if extraction["message"] else ""
        yield f"{_format_instant(extraction['answered_at'])}  {extraction['status']} by {extractor}{message_note}"


def _format_charged_pages(extraction: Mapping[str, Any]) -> str:
    pages = extraction["pages_charged"]
    text = f"{pages} page{'' if pages == 1 else 's'} charged"
    return f"{text} in batch {extraction['batch_id']}" if extraction["batch_id"] else text


def _format_candidate_lines(candidate: Mapping[str, Any], findings: list[Mapping[str, Any]]) -> Iterator[str]:
    invoice = candidate["candidate"]
    yield (
        f"{_format_instant(candidate['validated_at'])}  judged {candidate['verdict']} by {candidate['decided_by']}: "
        f"{invoice.get('kind')} {invoice.get('invoice_number')!r} of {invoice.get('supplier_name')!r}, {invoice.get('issued_on')}, "
        f"total {invoice.get('total_amount')} {invoice.get('currency')}, {len(candidate['lines'])} lines"
    )
    yield f"{'':21}invoice id {candidate['invoice_id']}"
    for finding in findings:
        yield f"{'':21}{finding['severity']}: {finding['rule_id']}: {finding['message']}"
    for receipt in candidate["receipts"]:
        remote_id_note = f" as {receipt['remote_id']}" if receipt["remote_id"] else ""
        reason_note = f" ({receipt['reason_code']}): {receipt['reason']}" if receipt["reason_code"] else ""
        yield f"{_format_instant(receipt['changed_at'])}  receipt {receipt['receipt_id']} {receipt['status']}{remote_id_note}{reason_note}"
    for batch in candidate["exports"]:
        yield f"{_format_instant(batch['created_at'])}  exported in {batch['batch_id']}"


def _format_instant(instant: Any) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%SZ}" if instant else f"{'':20}"
