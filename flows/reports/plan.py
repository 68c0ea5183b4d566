"""What a run would do, found out without doing it: nothing is written, and no call is made that costs anything."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from invoices.app import App
from invoices.clients.http_client import make_session
from invoices.clients.invoicedataextraction_com import InvoiceDataExtractionClient
from invoices.documents.containers.container_types import is_container_type
from invoices.documents.outcomes import DocumentReading
from invoices.errors import InvoicesError
from invoices.extraction import invoicedataextraction_com
from invoices.extraction.estimate import estimate_minutes
from invoices.extraction.extractor_choice import choose_extractor
from invoices.ledger.documents import (
    PendingDocument,
    count_pending_documents,
    filter_known_hashes,
    list_pending_documents,
)
from invoices.ledger.extractions import ExtractionJob, list_jobs_by_document
from invoices.ledger.sightings import list_fingerprints_by_location
from invoices.ledger.spending import PageCaps, compute_remaining_pages
from invoices.settings import PAID_EXTRACTORS, FolderSettings, PaidExtractorSettings
from sources.folder.listing import LocalFile, open_regular_file
from sources.folder.local_folder import LocalFolder, resolve_folder_root

PLAN_BATCH_SIZE = 500

ProgressCallback = Callable[[int], None]


@dataclass(slots=True)
class _Inventory:
    """What is in the inbox and in the ledger, sorted by what comes next."""

    new_file_count: int
    new_mails: dict[str, int | str]  # by mailbox, or why they cannot be counted
    known_content_count: int
    local_outcomes: Counter[str]
    to_submit: list[PendingDocument]


def plan_run(app: App, advance_progress: ProgressCallback = lambda _: None) -> dict[str, Any]:
    """Return what a run would do now; ``tick`` is told how many documents were just looked at.

    Keys: ``new_files``; ``new_mails`` by mailbox, a sentence where they cannot be counted; ``read`` (documents by
    outcome of reading them locally); ``already_answered``; ``ask``, a list with ``extractor``, ``documents``,
    ``pages``, ``owed`` (asked before, only the answer is missing), ``waits_for_cap``, ``credits_left``, ``minutes``;
    ``nobody``, the documents that no extractor is set up for.
    """
    inventory = _take_inventory(app, advance_progress)
    with app.ledger.open_snapshot() as connection:
        jobs_by_document = list_jobs_by_document(
            connection, [document.document_sha256 for document in inventory.to_submit]
        )
        unvalidated_count = count_pending_documents(connection, "validate")
    extractors = _list_extractors_in_order(app)
    assignments = [
        (document, choose_extractor(document, jobs_by_document.get(document.document_sha256, ()), extractors))
        for document in inventory.to_submit
    ]
    return {
        "rehearsal": app.is_rehearsal,
        "new_files": inventory.new_file_count,
        "new_mails": inventory.new_mails,
        "read": dict(sorted(inventory.local_outcomes.items())),
        "already_answered": unvalidated_count + inventory.known_content_count,
        "ask": [
            _plan_extractor(
                app, name, [document for document, extractor in assignments if extractor == name], jobs_by_document
            )
            for name in dict.fromkeys(extractor for _, extractor in assignments if extractor is not None)
        ],
        "nobody": sum(extractor is None for _, extractor in assignments),
    }


def _list_extractors_in_order(app: App) -> list[str]:
    """Return who would be asked; a rehearsal has the sandbox stand in for everybody."""
    if app.settings.is_rehearsal:
        return [name for name in app.settings.extractors if name in PAID_EXTRACTORS]
    return list(app.settings.paid_extractors)


def _plan_extractor(
    app: App, extractor: str, documents: Sequence[PendingDocument], jobs_by_document: dict[str, list[ExtractionJob]]
) -> dict[str, Any]:
    extractor_settings: PaidExtractorSettings = getattr(app.settings, extractor)
    submitted_hashes = {
        sha256
        for sha256, document_jobs in jobs_by_document.items()
        for job in document_jobs
        if job.extracted_by == extractor and job.is_open
    } & {document.document_sha256 for document in documents}
    unsubmitted = [document for document in documents if document.document_sha256 not in submitted_hashes]
    with app.ledger.open_snapshot() as connection:
        caps = PageCaps(
            extractor_settings.pages_per_run, extractor_settings.pages_per_day, extractor_settings.pages_per_month
        )
        pages_left = compute_remaining_pages(connection, extractor, caps, app.ledger.now(), "the next")
    return {
        "extractor": extractor,
        "documents": len(unsubmitted),
        "pages": sum(document.page_count or 1 for document in unsubmitted),
        "owed": len(submitted_hashes),
        "pages_left_under_caps": pages_left,
        "waits_for_cap": _count_documents_over_cap(unsubmitted, pages_left),
        "credits_left": _fetch_credits_left(app, extractor),
        "minutes": estimate_minutes(extractor_settings, len(documents)),
    }


def _count_documents_over_cap(documents: Sequence[PendingDocument], pages_left: int | None) -> int:
    """Return how many documents do not fit into so many pages, taken in turn; a shorter one may fit behind a longer."""
    if pages_left is None:
        return 0
    over_cap_count = 0
    for document in documents:
        pages = document.page_count or 1
        if pages <= pages_left:
            pages_left -= pages
        else:
            over_cap_count += 1
    return over_cap_count


def _fetch_credits_left(app: App, extractor: str) -> int | str | None:
    """Return the credits that the account has left, a sentence where they cannot be told, or None without any."""
    extractor_settings = app.settings.invoicedataextraction_com
    if extractor != invoicedataextraction_com.EXTRACTOR or extractor_settings.api_key is None:
        return None
    try:
        client = InvoiceDataExtractionClient(
            extractor_settings.base_url, extractor_settings.api_key.get_secret_value(), make_session()
        )
        return client.fetch_balance().credits_available
    except InvoicesError as error:
        return f"not known: {error}"


def _take_inventory(app: App, advance_progress: ProgressCallback) -> _Inventory:
    inventory = _Inventory(0, _count_new_mails_by_mailbox(app), 0, Counter(), [])
    seen_hashes: set[str] = set()
    for files in _split_into_batches(_iter_new_local_files(app)):
        inventory.new_file_count += len(files)
        files_by_hash = {sha256: file for file in files if (sha256 := _hash_file(file)) is not None}
        with app.ledger.open_snapshot() as connection:
            known_hashes = filter_known_hashes(connection, files_by_hash)
        inventory.known_content_count += len(files) - len(files_by_hash.keys() - known_hashes - seen_hashes)
        new_files = [
            (sha256, file) for sha256, file in files_by_hash.items() if sha256 not in known_hashes | seen_hashes
        ]
        seen_hashes |= files_by_hash.keys()
        readings = app.document_reader_pool.read_in_order(file.path for _, file in new_files)
        for (sha256, file), reading in zip(new_files, readings, strict=True):
            _add_document_to_inventory(inventory, reading, sha256, file.size)
        advance_progress(len(files))
    _add_ledger_documents_to_inventory(app, inventory, advance_progress)
    return inventory


def _add_ledger_documents_to_inventory(app: App, inventory: _Inventory, advance_progress: ProgressCallback) -> None:
    for documents in _read_waiting_documents(app, "extract_local"):
        readings = app.document_reader_pool.read_in_order(
            app.store.get_path(document.document_sha256) for document in documents
        )
        for document, reading in zip(documents, readings, strict=True):
            _add_document_to_inventory(inventory, reading, document.document_sha256, document.byte_count)
        advance_progress(len(documents))
    for documents in _read_waiting_documents(app, "extract_remote"):
        inventory.to_submit += documents


def _add_document_to_inventory(inventory: _Inventory, reading: DocumentReading, sha256: str, byte_count: int) -> None:
    inventory.local_outcomes["container" if is_container_type(reading.media_type or "") else reading.outcome] += 1
    if reading.outcome == "needs_extraction":
        first_seen_at = dt.datetime.now(dt.UTC)
        media_type = reading.media_type or ""
        inventory.to_submit.append(
            PendingDocument(sha256, 0, media_type, first_seen_at, reading.page_count, byte_count)
        )


def _count_new_mails_by_mailbox(app: App) -> dict[str, int | str]:
    """Return for each mailbox how many mails are listed there that the ledger does not know."""
    counts: dict[str, int | str] = {}
    if app.settings.mailboxes:
        from flows import mailboxes
    for source in app.settings.mailboxes:
        try:
            counts[source.name] = sum(outcome is None for _, outcome in mailboxes.list_mails_with_outcome(app, source))
        except InvoicesError as error:
            counts[source.name] = f"new mails in mailbox {source.name!r} are not known: {error}"
    return counts


def _iter_new_local_files(app: App) -> Iterator[LocalFile]:
    """Yield the files in folders on this machine that the ledger does not know."""
    for source in app.settings.sources:
        if isinstance(source, FolderSettings) and not source.is_remote and resolve_folder_root(source).is_dir():
            yield from _iter_new_files_in_folder(app, source)


def _iter_new_files_in_folder(app: App, source: FolderSettings) -> Iterator[LocalFile]:
    for batch in _split_into_batches(file for file in LocalFolder(source).list_files() if isinstance(file, LocalFile)):
        with app.ledger.open_snapshot() as connection:
            known_fingerprints = list_fingerprints_by_location(
                connection, source.name, [file.location for file in batch]
            )
        yield from (file for file in batch if file.fingerprint not in known_fingerprints.get(file.location, ()))


def _read_waiting_documents(
    app: App, stage: Literal["extract_local", "extract_remote"]
) -> Iterator[list[PendingDocument]]:
    last_sequence = 0
    while True:
        with app.ledger.open_snapshot() as connection:
            documents = list_pending_documents(connection, stage, PLAN_BATCH_SIZE, last_sequence)
        if not documents:
            return
        yield documents
        last_sequence = documents[-1].sequence


def _split_into_batches(files: Iterator[LocalFile]) -> Iterator[list[LocalFile]]:
    while batch := list(islice(files, PLAN_BATCH_SIZE)):
        yield batch


def _hash_file(file: LocalFile) -> str | None:
    """Return the SHA-256 of a file as it is now, or None where it cannot be read."""
    try:
        with open_regular_file(file.path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def format_plan(plan: dict[str, Any]) -> str:
    """Return the plan as a person reads it."""
    outcome_counts = plan["read"]
    lines = ["REHEARSAL: no vendor key is set, so the sandbox would stand in."] if plan["rehearsal"] else []
    lines.append(f"{plan['new_files']:6}  new files in folders")
    for name, count in plan["new_mails"].items():
        lines.append(f"{count:6}  new mails in mailbox {name!r}" if isinstance(count, int) else f"{'?':>6}  {count}")
    lines += [f"{count:6}  {OUTCOME_TEXTS[outcome]}" for outcome, count in outcome_counts.items()]
    lines.append(f"{plan['already_answered']:6}  answered already, or the same bytes as a known document: free")
    for extractor_plan in plan["ask"]:
        lines += _format_extractor_plan(extractor_plan)
    if plan["nobody"]:
        lines.append(f"{plan['nobody']:6}  wait: no extractor is set up that can read them")
    return "\n".join(lines)


OUTCOME_TEXTS = {
    "container": "mails and archives: what is in them is known once they are collected",
    "einvoice": "e-invoices, read locally: free",
    "needs_extraction": "need an extraction service",
    "not_invoice": "no invoices",
    "review": "for a person: empty, locked, too large, or of a type that is not read",
    "unreadable": "set aside: broken or dangerous",
}


def _format_extractor_plan(extractor_plan: dict[str, Any]) -> list[str]:
    lines = [
        f"{extractor_plan['documents']:6}  to {extractor_plan['extractor']}: {extractor_plan['pages']} pages, at least {extractor_plan['minutes']} min"
    ]
    if extractor_plan["owed"]:
        lines.append(f"{extractor_plan['owed']:6}  asked there before; only the answers are missing")
    if extractor_plan["waits_for_cap"]:
        lines.append(
            f"{extractor_plan['waits_for_cap']:6}  of them wait: the caps leave {extractor_plan['pages_left_under_caps']} pages"
        )
    if extractor_plan["credits_left"] is not None:
        lines.append(f"        credits left: {extractor_plan['credits_left']}")
    if isinstance(extractor_plan["credits_left"], str):
        lines.append("        as long as that is so, a run leaves these documents waiting, or asks the next extractor")
    return lines
