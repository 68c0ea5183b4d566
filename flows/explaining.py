"""The story of one document: seen, read, asked, judged, published, exported; from the ledger alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from invoices.documents.outcomes import shown
from invoices.errors import ConfigurationError
from invoices.house import House
from invoices.ledger.documents import document_row, documents_at, find_documents, sighting_rows
from invoices.ledger.extractions import extraction_rows
from invoices.ledger.judgements import candidate_rows, document_of, export_rows, finding_rows, receipt_rows
from invoices.ledger.messages import message_rows, messages_named

LONGEST_LINE = 1_000  # characters
OUTCOMES = {
    "taken": "its documents were taken",
    "nothing": "nothing in it could be an invoice",
    "left": "left by a rule",
    "set_aside": "set aside as a whole",
    "too_large": "too large, and left where it is",
    "waiting": "waits for a later run",
}

Story = dict[str, Any]


def stories(house: House, identity: str) -> list[Story]:
    """Return the stories of the documents that ``identity`` names: (part of) a hash, invoice id or number, file name.

    The Message-ID of a mail names the documents that it brought, or the mail alone where it brought none.

    Raises:
        ConfigurationError: nothing in this house is named so.
    """
    identity = os.fsencode(identity).decode("utf-8", "backslashreplace")  # as locations are kept
    with house.ledger.reading() as connection:
        found = (  # a whole name goes before the beginning of some hash
            document_of(connection, identity)
            or documents_at(connection, identity)
            or (find_documents(connection, identity) if len(identity) >= 4 else [])
        )
        mails = [] if found else [{"mail": mail} for mail in messages_named(connection, identity)]
        if not found and not mails:
            raise ConfigurationError(f"nothing here is named {identity!r}; see: invoices status")
        return [_story(connection, document) for document in found] or mails


def _story(connection: Any, document: str) -> Story:
    candidates = []
    for row in candidate_rows(connection, document):
        body = json.loads(row["body"])
        candidates.append(
            dict(row)
            | body
            | {
                "receipts": receipt_rows(connection, row["invoice_id"]),
                "exports": export_rows(connection, row["invoice_id"]),
            }
        )
    sightings = sighting_rows(connection, document)
    mails = {row["message_key"]: row for row in message_rows(connection, _mails_of(sightings))}
    return {
        "document": document_row(connection, document),
        "sightings": [dict(row) | {"mail": mails.get(row["message_key"])} for row in sightings],
        "extractions": extraction_rows(connection, document),
        "candidates": candidates,
        "findings": finding_rows(connection, document),
    }


def _mails_of(sightings: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["message_key"] for row in sightings if row["message_key"]))


def as_text(story: Story) -> str:
    """Return a story as text, one line an event, in the order of the stages; what documents say stays on its line."""
    return "\n".join(shown(line, LONGEST_LINE) for line in _lines(story))


def _lines(story: Story) -> Iterator[str]:
    if "document" not in story:
        yield from _mail(story["mail"])
        return
    document = story["document"]
    pages = f", {document['page_count']} pages" if document["page_count"] is not None else ""
    yield f"Document {document['document_sha256']}"
    yield f"  {document['media_type']}, {document['byte_count']:,} bytes{pages}"
    yield f"  now {document['state']} ({document['reason_code']}): {document['reason']}"
    for seen in story["sightings"]:
        yield from _seen(seen)
    for flag in (finding for finding in story["findings"] if finding["invoice_id"] is None):
        yield f"{_at(flag['checked_at'])}  {flag['severity']}: {flag['rule_id']}: {flag['message']}"
    for asked in story["extractions"]:
        yield from _asked(asked)
    for candidate in story["candidates"]:
        yield from _judged(candidate, [f for f in story["findings"] if f["invoice_id"] == candidate["invoice_id"]])


def _seen(seen: Mapping[str, Any]) -> Iterator[str]:
    whose = "".join(f", {name} {seen[name]!r}" for name in ("entity", "cost_centre") if seen[name])
    left_out = f", left out as {seen['left_out']}" if seen["left_out"] else ""
    yield f"{_at(seen['seen_at'])}  seen by {seen['source_name']} at {seen['location']!r}{whose}{left_out}"
    if mail := seen["mail"]:
        forwarded = f", forwarded from {seen['original_sender']}" if seen["original_sender"] else ""
        yield f"{'':21}as {seen['file_name']!r} in a mail of {mail['sender']}{forwarded}: {mail['subject']!r}"
        yield f"{'':21}received {_at(mail['received_at']).strip() or 'at an unknown time'}, {_checked(mail)}"


def _mail(mail: Mapping[str, Any]) -> Iterator[str]:
    yield f"Mail {mail['message_id'] or mail['message_key']} of {mail['sender']}: {mail['subject']!r}"
    uid = f", UID {mail['uid']} of {mail['uidvalidity']}" if mail["uid"] else ""
    yield f"{_at(mail['seen_at'])}  seen by {mail['source_name']} in {mail['folder']!r}{uid}, {_checked(mail)}"
    left_out = f"; left out: {mail['left_out']}" if mail["left_out"] else ""
    why = f" ({mail['reason']})" if mail["reason"] else ""
    yield f"{'':21}{OUTCOMES[mail['outcome']]}{why}{left_out}"


def _checked(mail: Mapping[str, Any]) -> str:
    done = f", {mail['action']} on the server" if mail["action"] in ("done", "failed") else ""
    return f"authentication {mail['authentication'] or 'unknown'}{done}"


def _asked(asked: Mapping[str, Any]) -> Iterator[str]:
    who, remote = asked["extracted_by"], f" as {asked['remote_id']}" if asked["remote_id"] else ""
    if who == "einvoice":
        yield f"{_at(asked['answered_at'])}  read as an e-invoice, at no cost"
        return
    flag = "; POSSIBLY CHARGED TWICE: an earlier outcome is unknown" if asked["possible_double_charge"] else ""
    if asked["submitted_at"]:
        yield f"{_at(asked['requested_at'])}  submitted to {who}{remote}, {_pages(asked)}{flag}"
    else:
        known = "whether it arrived is not known" if asked["status"] in ("intended", "unknown") else "refused"
        yield f"{_at(asked['requested_at'])}  to be sent to {who}; {known}{flag}"
    if asked["answered_at"]:
        said = f": {asked['message']}" if asked["message"] else ""
        yield f"{_at(asked['answered_at'])}  {asked['status']} by {who}{said}"


def _pages(asked: Mapping[str, Any]) -> str:
    pages = asked["pages_charged"]
    told = f"{pages} page{'' if pages == 1 else 's'} charged"
    return f"{told} in batch {asked['batch_id']}" if asked["batch_id"] else told


def _judged(candidate: Mapping[str, Any], findings: list[Mapping[str, Any]]) -> Iterator[str]:
    body = candidate["candidate"]
    yield (
        f"{_at(candidate['judged_at'])}  judged {candidate['verdict']} by {candidate['judged_by']}: "
        f"{body.get('kind')} {body.get('invoice_number')!r} of {body.get('supplier_name')!r}, {body.get('issued_on')}, "
        f"total {body.get('total_amount')} {body.get('currency')}, {len(candidate['lines'])} lines"
    )
    yield f"{'':21}invoice id {candidate['invoice_id']}"
    for finding in findings:
        yield f"{'':21}{finding['severity']}: {finding['rule_id']}: {finding['message']}"
    for receipt in candidate["receipts"]:
        remote = f" as {receipt['remote_id']}" if receipt["remote_id"] else ""
        why = f" ({receipt['reason_code']}): {receipt['reason']}" if receipt["reason_code"] else ""
        yield f"{_at(receipt['changed_at'])}  receipt {receipt['receipt_id']} {receipt['status']}{remote}{why}"
    for batch in candidate["exports"]:
        yield f"{_at(batch['created_at'])}  exported in {batch['batch_id']}"


def _at(instant: Any) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%SZ}" if instant else f"{'':20}"
