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
from invoices.ledger.messages import documents_of_mails, message_rows, messages_named
from invoices.settings import Mailbox
from invoices.settings.intake import MOVE

LONGEST_LINE = 1_000  # characters
OUTCOMES = {
    "taken": "its documents were taken",
    "nothing": "nothing in it could be an invoice",
    "left": "left by a rule",
    "set_aside": "set aside as a whole",
    "too_large": "too large, and left where it is",
    "waiting": "waits for a later run",
}
ACTIONS = {"seen": "marked as read", "flag": "flagged", "delete": "deleted"}
MOST_DOCUMENTS = 20  # of the mails of one name
WORDS = {  # one, and more of them
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

Story = dict[str, Any]


def stories(house: House, identity: str) -> list[Story]:
    """Return the stories of the documents that ``identity`` names: (part of) a hash, invoice id or number, file name.

    A mail comes before the documents that it brought, and alone where it brought none; see ``messages_named``.

    Raises:
        ConfigurationError: nothing in this house is named so.
    """
    identity = os.fsencode(identity).decode("utf-8", "backslashreplace")  # as locations are kept
    with house.ledger.reading() as connection:
        found = document_of(connection, identity)
        mails = [] if found else messages_named(connection, identity)
        brought = documents_of_mails(connection, [mail["message_key"] for mail in mails])[:MOST_DOCUMENTS]
        found = (  # a whole name goes before the beginning of some hash
            found
            or list(dict.fromkeys([*brought, *documents_at(connection, identity)]))
            or (find_documents(connection, identity) if len(identity) >= 4 and not mails else [])
        )
        if not found and not mails:
            raise ConfigurationError(f"nothing here is named {identity!r}; see: invoices status")
        actions = _actions(house)
        told = [{"mail": _with_action(mail, actions)} for mail in mails]
        return told + [_story(connection, document, actions) for document in found]


def _actions(house: House) -> dict[str, str]:
    """Return in words what is done to the mails of each source that is configured."""
    after = {one.name: one.after for one in house.settings.sources if isinstance(one, Mailbox)}
    moved = {name: f"moved to {how.removeprefix(MOVE)!r}" for name, how in after.items() if how.startswith(MOVE)}
    return {name: ACTIONS[how] for name, how in after.items() if how in ACTIONS} | moved


def _with_action(mail: Mapping[str, Any], actions: Mapping[str, str]) -> Story:
    """Return a mail with what was, or could not be, done to it on the server; None where that is not known."""
    is_known = mail["uid"] is not None and mail["action"] in ("done", "failed")
    return {**mail, "action_means": actions.get(mail["source_name"]) if is_known else None}


def _story(connection: Any, document: str, actions: Mapping[str, str]) -> Story:
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
    rows = message_rows(connection, _mails_of(sightings))
    mails = {row["message_key"]: _with_action(row, actions) for row in rows}
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
        yield f"{'':21}{_part(seen)} a mail of {_from(mail)}{forwarded}: {mail['subject']!r}"
        received = f"received {_at(mail['received_at'])}, " if mail["received_at"] else ""
        yield f"{'':21}{received}{_checked(mail)}"


def _part(seen: Mapping[str, Any]) -> str:
    """Return in words what of a mail a document is."""
    if seen["section"] is None:
        return "the whole of"
    if seen["file_name"] is not None:
        return f"as {seen['file_name']!r} in"
    return "the text of" if (seen["declared_type"] or "").startswith("text/") else "without a name in"


def _from(mail: Mapping[str, Any]) -> str:
    return mail["sender"] or "an unknown sender"


def _mail(mail: Mapping[str, Any]) -> Iterator[str]:
    yield f"Mail {mail['message_id'] or mail['message_key']} of {_from(mail)}: {mail['subject']!r}"
    uid = f", UID {mail['uid']} of {mail['uidvalidity']}" if mail["uid"] else ""
    yield f"{_at(mail['seen_at'])}  seen by {mail['source_name']} in {mail['folder']!r}{uid}, {_checked(mail)}"
    why = f" ({mail['reason']})" if mail["reason"] else ""
    yield f"{'':21}{OUTCOMES[mail['outcome']]}{why}{_left_out(mail['left_out'])}"


def _left_out(counts: str | None) -> str:
    """Return in words which parts of a mail are no documents; ``counts`` is JSON: how many by reason code."""
    told = [
        f"{count} {WORDS[code][count != 1] if code in WORDS else code}"
        for code, count in json.loads(counts or "{}").items()
    ]
    return f"; left out: {', '.join(told)}" if told else ""


def _checked(mail: Mapping[str, Any]) -> str:
    means = mail["action_means"]
    done = {
        "done": f", {means or 'done'} on the server",
        "failed": f", could not be {means} on the server" if means else ", failed on the server",
    }
    return f"authentication {mail['authentication'] or 'unknown'}{done.get(mail['action'], '')}"


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
