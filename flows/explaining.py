"""The story of one document: seen, read, asked, judged, published, exported; from the ledger alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from invoices.documents.outcomes import shown
from invoices.errors import ConfigurationError
from invoices.house import House
from invoices.ledger.documents import document_row, documents_at, find_documents, sighting_rows
from invoices.ledger.extractions import extraction_rows
from invoices.ledger.judgements import candidate_rows, document_of, export_rows, finding_rows, receipt_rows

LONGEST_LINE = 1_000  # characters

Story = dict[str, Any]


def stories(house: House, identity: str) -> list[Story]:
    """Return the stories of the documents that ``identity`` names: (part of) a hash, invoice id or number, file name.

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
        if not found:
            raise ConfigurationError(f"nothing here is named {identity!r}; see: invoices status")
        return [_story(connection, document) for document in found]


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
    return {
        "document": document_row(connection, document),
        "sightings": sighting_rows(connection, document),
        "extractions": extraction_rows(connection, document),
        "candidates": candidates,
        "findings": finding_rows(connection, document),
    }


def as_text(story: Story) -> str:
    """Return a story as text, one line an event, in the order of the stages; what documents say stays on its line."""
    return "\n".join(shown(line, LONGEST_LINE) for line in _lines(story))


def _lines(story: Story) -> Iterator[str]:
    document = story["document"]
    pages = f", {document['page_count']} pages" if document["page_count"] is not None else ""
    yield f"Document {document['document_sha256']}"
    yield f"  {document['media_type']}, {document['byte_count']:,} bytes{pages}"
    yield f"  now {document['state']} ({document['reason_code']}): {document['reason']}"
    for seen in story["sightings"]:
        yield f"{_at(seen['seen_at'])}  seen by {seen['source_name']} at {seen['location']!r}"
    for flag in (finding for finding in story["findings"] if finding["invoice_id"] is None):
        yield f"{_at(flag['checked_at'])}  {flag['severity']}: {flag['rule_id']}: {flag['message']}"
    for asked in story["extractions"]:
        yield from _asked(asked)
    for candidate in story["candidates"]:
        yield from _judged(candidate, [f for f in story["findings"] if f["invoice_id"] == candidate["invoice_id"]])


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
