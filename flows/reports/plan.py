"""Plan a run without running it: nothing is written, and no call is made that costs anything."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from flows.plurals import format_count
from flows.work_queue import iter_waiting_batches
from invoices.app import App
from invoices.clients.http_client import make_session
from invoices.clients.invoicedataextraction_com import InvoiceDataExtractionClient
from invoices.documents.containers.container_media_types import is_container_type
from invoices.documents.outcomes import DocumentReading, sanitise_for_display
from invoices.errors import InvoicesError
from invoices.extraction import invoicedataextraction_com
from invoices.extraction.estimate import estimate_minutes
from invoices.extraction.extractor_choice import choose_extractor, get_configurations
from invoices.ledger.documents import PendingDocument, count_pending_documents, filter_known_hashes
from invoices.ledger.extractions import ExtractionJob, list_jobs_by_document
from invoices.ledger.sightings import list_fingerprints_by_location
from invoices.ledger.spending import PageCaps, compute_remaining_pages
from invoices.settings import PAID_EXTRACTORS, FolderSettings, PaidExtractorSettings
from sources.folder.listing import LocalFile, open_without_following_links
from sources.folder.local_folder import LocalFolder, resolve_folder_root

PLAN_BATCH_SIZE = 500  # files or documents
MAX_SENTENCE_CHARS = 500  # characters of a sentence that may quote a server
OUTCOME_LABELS = {  # singular and plural
    "container": ("mail or archive, opened when it is collected", "mails and archives, opened when they are collected"),
    "einvoice": ("e-invoice, extracted locally at no cost", "e-invoices, extracted locally at no cost"),
    "needs_extraction": ("document for an extraction API", "documents for an extraction API"),
    "not_invoice": ("document that is no invoice", "documents that are no invoices"),
    "review": ("document for review: empty, locked, too large, or of an unsupported type",
               "documents for review: empty, locked, too large, or of an unsupported type"),
    "unreadable": ("document to quarantine: broken or dangerous", "documents to quarantine: broken or dangerous"),
}  # fmt: skip

ProgressCallback = Callable[[int], None]


@dataclass(slots=True)
class _Inventory:
    """The documents in the folders and in the ledger, by what they need next."""

    new_mails: dict[str, int | str]  # by mailbox, or why they cannot be counted
    new_file_count: int = 0
    known_content_count: int = 0
    local_outcomes: Counter[str] = field(default_factory=Counter)
    to_submit: list[PendingDocument] = field(default_factory=list)


def plan_run(app: App, advance_progress: ProgressCallback = lambda _: None) -> dict[str, Any]:
    """Return what a run would do now; ``advance_progress`` gets the number of documents just read.

    Keys: ``rehearsal``; ``new_files``; ``new_mails`` by mailbox, a sentence if they cannot be counted;
    ``extract_local``, documents by outcome of reading them locally; ``already_answered``; ``extract_remote``, a list in
    order of preference with ``extractor``, ``documents``, ``pages``, ``awaiting_response`` (submitted before, only the
    response is missing), ``pages_left_under_caps``, ``over_cap`` (documents), ``credits_left``, ``minutes``;
    ``without_extractor``, the documents that no configured extractor can read.
    """
    inventory = _take_inventory(app, advance_progress)
    with app.ledger.open_snapshot() as connection:
        jobs_by_document = list_jobs_by_document(
            connection, [document.document_sha256 for document in inventory.to_submit]
        )
        unvalidated_count = count_pending_documents(connection, "validate")
    if app.settings.is_rehearsal:  # the sandbox stands in for all of them
        extractors = [name for name in app.settings.extractors if name in PAID_EXTRACTORS]
    else:
        extractors = list(app.settings.paid_extractors)
    configurations = get_configurations(app.settings)
    assignments = [
        (
            document,
            choose_extractor(
                document, jobs_by_document.get(document.document_sha256, ()), extractors, (), configurations
            ),
        )
        for document in inventory.to_submit
    ]
    answered_count = sum(
        extractor is None
        and any(job.status == "answered" for job in jobs_by_document.get(document.document_sha256, ()))
        for document, extractor in assignments
    )
    return {
        "rehearsal": app.is_rehearsal,
        "new_files": inventory.new_file_count,
        "new_mails": inventory.new_mails,
        "extract_local": dict(sorted(inventory.local_outcomes.items())),
        "already_answered": unvalidated_count + inventory.known_content_count + answered_count,
        "extract_remote": [
            _plan_extractor(
                app, name, [document for document, extractor in assignments if extractor == name], jobs_by_document
            )
            for name in dict.fromkeys(extractor for _, extractor in assignments if extractor is not None)
        ],
        "without_extractor": sum(extractor is None for _, extractor in assignments) - answered_count,
    }


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
        "awaiting_response": len(submitted_hashes),
        "pages_left_under_caps": pages_left,
        "over_cap": _count_documents_over_cap(unsubmitted, pages_left),
        "credits_left": _fetch_credits_left(app, extractor),
        "minutes": estimate_minutes(extractor_settings, len(documents)),
    }


def _count_documents_over_cap(documents: Sequence[PendingDocument], pages_left: int | None) -> int:
    """Return how many documents, in their order, do not fit; after one that does not fit, a shorter one may still."""
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
    """Return the credits left in the account, a sentence if they cannot be fetched, or None if it has no credits."""
    extractor_settings = app.settings.invoicedataextraction_com
    if extractor != invoicedataextraction_com.EXTRACTOR or extractor_settings.api_key is None:
        return None
    try:
        client = InvoiceDataExtractionClient(
            extractor_settings.base_url, extractor_settings.api_key.get_secret_value(), make_session()
        )
        return client.fetch_balance().credits_available
    except InvoicesError as error:
        return f"unknown: {error}"


def _take_inventory(app: App, advance_progress: ProgressCallback) -> _Inventory:
    """Read the new files in local folders and the unread documents of the ledger; count the new mails."""
    inventory = _Inventory(_count_new_mails_by_mailbox(app))
    seen_hashes: set[str] = set()
    for files in _iter_batches_of_new_files(app):
        inventory.new_file_count += len(files)
        files_by_hash = {sha256: file for file in files if (sha256 := _hash_file(file)) is not None}
        with app.ledger.open_snapshot() as connection:
            known_hashes = filter_known_hashes(connection, files_by_hash) | seen_hashes
        seen_hashes |= files_by_hash.keys()
        new_files = [(sha256, file) for sha256, file in files_by_hash.items() if sha256 not in known_hashes]
        inventory.known_content_count += len(files) - len(new_files)
        readings = app.document_reader_pool.read_in_order(file.path for _, file in new_files)
        for (sha256, file), reading in zip(new_files, readings, strict=True):
            _add_document_to_inventory(inventory, reading, sha256, file.size)
        advance_progress(len(files))
    for documents in iter_waiting_batches(app, "extract_local", PLAN_BATCH_SIZE):
        readings = app.document_reader_pool.read_in_order(
            (app.store.get_path(document.document_sha256) for document in documents),
            (document.document_sha256 for document in documents),
        )
        for document, reading in zip(documents, readings, strict=True):
            _add_document_to_inventory(inventory, reading, document.document_sha256, document.byte_count)
        advance_progress(len(documents))
    for documents in iter_waiting_batches(app, "extract_remote", PLAN_BATCH_SIZE):
        inventory.to_submit += documents
    return inventory


def _add_document_to_inventory(inventory: _Inventory, reading: DocumentReading, sha256: str, byte_count: int) -> None:
    media_type = reading.media_type or ""
    inventory.local_outcomes["container" if is_container_type(media_type) else reading.outcome] += 1
    if reading.outcome == "needs_extraction":
        first_seen_at = dt.datetime.now(dt.UTC)
        inventory.to_submit.append(
            PendingDocument(sha256, 0, media_type, first_seen_at, reading.page_count, byte_count)
        )


def _count_new_mails_by_mailbox(app: App) -> dict[str, int | str]:
    """Return for each mailbox how many mails it lists that the ledger lacks, or why they cannot be counted."""
    counts: dict[str, int | str] = {}
    for source in app.settings.mailboxes:
        from flows.mailboxes import list_mails_with_outcome

        try:
            counts[source.name] = sum(outcome is None for _, outcome in list_mails_with_outcome(app, source))
        except InvoicesError as error:
            counts[source.name] = f"new mails in mailbox {source.name!r} cannot be counted: {error}"
    return counts


def _iter_batches_of_new_files(app: App) -> Iterator[list[LocalFile]]:
    """Yield in batches the files in folders on this machine that the ledger lacks."""
    for source in app.settings.sources:
        if not isinstance(source, FolderSettings) or source.is_remote or not resolve_folder_root(source).is_dir():
            continue
        files = (file for file in LocalFolder(source).list_files() if isinstance(file, LocalFile))
        while batch := list(islice(files, PLAN_BATCH_SIZE)):
            with app.ledger.open_snapshot() as connection:
                known_fingerprints = list_fingerprints_by_location(
                    connection, source.name, [file.location for file in batch]
                )
            if new := [file for file in batch if file.fingerprint not in known_fingerprints.get(file.location, ())]:
                yield new


def _hash_file(file: LocalFile) -> str | None:
    """Return the SHA-256 of a file as it is now, or None if it cannot be read."""
    try:
        with open_without_following_links(file.path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def format_plan(plan: dict[str, Any]) -> str:
    """Return the plan as text for a person."""
    lines = []
    if plan["rehearsal"]:
        lines.append("REHEARSAL: no vendor key is set, so the sandbox would stand in for every remote API.")
    lines.append(_format_row(plan["new_files"], "new file in folders", "new files in folders"))
    for name, count in plan["new_mails"].items():
        if isinstance(count, int):
            lines.append(_format_row(count, f"new mail in mailbox {name!r}", f"new mails in mailbox {name!r}"))
        else:
            lines.append(f"{'?':>8}  {sanitise_for_display(count, MAX_SENTENCE_CHARS)}")
    lines += [_format_row(count, *OUTCOME_LABELS[outcome]) for outcome, count in plan["extract_local"].items()]
    lines.append(f"{plan['already_answered']:>8,}  already answered, or the same bytes as a known document: no cost")
    for extractor_plan in plan["extract_remote"]:
        lines += _format_extractor_plan(extractor_plan)
    if plan["without_extractor"]:
        lines.append(f"{plan['without_extractor']:>8,}  waiting: no configured extractor can read them")
    return "\n".join(lines)


def _format_row(count: int, singular: str, plural: str) -> str:
    return f"{count:>8,}  {singular if count == 1 else plural}"


def _format_extractor_plan(extractor_plan: dict[str, Any]) -> list[str]:
    credits_left, pages_left = extractor_plan["credits_left"], extractor_plan["pages_left_under_caps"]
    lines = [
        f"{extractor_plan['documents']:>8,}  to {extractor_plan['extractor']}: "
        f"{format_count(extractor_plan['pages'], 'page')}, at least {extractor_plan['minutes']} min"
    ]
    if extractor_plan["awaiting_response"]:
        lines.append(
            f"{extractor_plan['awaiting_response']:>8,}  already submitted there: only the response is missing"
        )
    if extractor_plan["over_cap"]:
        lines.append(
            f"{extractor_plan['over_cap']:>8,}  of them wait: the caps leave {format_count(pages_left, 'page')}"
        )
    if isinstance(credits_left, str):
        lines.append(f"          credits left: {sanitise_for_display(credits_left, MAX_SENTENCE_CHARS)}")
        lines.append("          until that is solved, a run leaves these documents waiting or uses the next extractor")
    elif credits_left is not None:
        lines.append(f"          credits left: {credits_left:,}")
    return lines
