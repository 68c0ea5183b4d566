"""Parsing this vendor's JSON objects: a missing field is None or empty, and no warning is lost.

Source: contract sheet 02 §2.6 and §4.2. A note or a review item of an unknown shape is still a warning, so it is kept
as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from invoices.clients.error_bodies import redact_secrets
from invoices.clients.invoicedataextraction_com.api_models import (
    Extraction,
    ExtractionDetails,
    FailedPage,
    PageOutcomes,
    ReviewItem,
    SuccessfulPage,
    TaskError,
    UncertaintyNote,
)
from invoices.clients.json_fields import find_text, find_timestamp, find_whole_number, list_objects, list_texts
from invoices.clients.strict_json import render_json

JsonObject = Mapping[str, Any]
MAX_WARNING_CHARS = 5_000


class InvalidPageError(ValueError):
    """A page without file name or number; the client turns it into one of our errors."""


def parse_extraction(extraction_id: str, status: str, fields: JsonObject, secrets: Sequence[str] = ()) -> Extraction:
    """Return an extraction's state; raises InvalidPageError."""
    return Extraction(
        id=extraction_id,
        status=status,
        progress=find_whole_number(fields, "progress"),
        credits_deducted=find_whole_number(fields, "credits_deducted"),
        credits_balance=find_integer(fields, "credits_balance"),
        credits_reserved=find_integer(fields, "credits_reserved"),
        output_structure=find_text(fields, "output_structure", 100),
        output_expires_at=find_timestamp(fields, "output_expires_at"),
        pages=parse_page_outcomes(fields.get("pages")),
        notes=parse_uncertainty_notes(fields.get("ai_uncertainty_notes")),
        review_items=parse_review_items(fields.get("review_needed")),
        questions=tuple(list_objects(fields.get("questions"))),
        answer_by=find_timestamp(fields, "answer_by"),
        error=parse_task_error(fields.get("error"), secrets),
        cancellation_reason=find_text(fields, "cancellation_reason", 200),
    )


def parse_extraction_details(extraction: Extraction, fields: JsonObject) -> ExtractionDetails:
    """Return the vendor's record of an extraction, with ``extraction`` as its state."""
    prompt, options = fields.get("prompt"), fields.get("options")
    return ExtractionDetails(
        extraction=extraction,
        submission_id=find_text(fields, "submission_id", 200),
        task_name=find_text(fields, "task_name", 200),
        created_at=find_timestamp(fields, "created_at"),
        file_names=list_texts(fields.get("file_names")),
        prompt=prompt if isinstance(prompt, (str, dict)) else None,
        options=options if isinstance(options, dict) else {},
    )


def parse_task_error(value: Any, secrets: Sequence[str] = ()) -> TaskError | None:
    """Return why a task failed, or None if ``value`` is not an error object."""
    if not isinstance(value, dict):
        return None
    details = value.get("details")
    detail_fields = details if isinstance(details, dict) else {}
    return TaskError(
        code=redact_secrets(value.get("code"), secrets, 64) or "UNKNOWN",
        message=redact_secrets(value.get("message"), secrets, 500),
        retryable=value.get("retryable") is True,
        file_names=list_texts(detail_fields.get("file_names")),
        credits_required=find_integer(detail_fields, "credits_required"),
        credits_balance=find_integer(detail_fields, "credits_balance"),
        credits_reserved=find_integer(detail_fields, "credits_reserved"),
    )


def parse_page_outcomes(value: Any) -> PageOutcomes | None:
    """Return the pages, with the reasons of failed ones from both ``failed`` and ``failure_reasons``."""
    if not isinstance(value, dict):
        return None
    successful = tuple(SuccessfulPage(*_parse_file_and_page(entry)) for entry in _as_list(value.get("successful")))
    failed_pages: dict[tuple[str, int | None], FailedPage] = {}
    for failed_page in (*_parse_listed_failed_pages(value), *_parse_failed_pages_from_reasons(value)):
        known_page = failed_pages.get((failed_page.file_name, failed_page.page))
        code, message = (known_page.code, known_page.message) if known_page else (None, None)
        failed_pages[failed_page.file_name, failed_page.page] = FailedPage(
            failed_page.file_name, failed_page.page, code or failed_page.code, message or failed_page.message
        )
    return PageOutcomes(
        successful,
        tuple(failed_pages.values()),
        _get_count(value, "successful_count", len(successful)),
        max(
            _get_count(value, "failed_count", 0),
            sum(page is not None for _, page in failed_pages),
            min(len(failed_pages), 1),
        ),
    )


def parse_uncertainty_notes(value: Any) -> tuple[UncertaintyNote, ...]:
    """Return the notes; one of an unknown shape becomes a note without a topic."""
    return tuple(_parse_uncertainty_note(entry) for entry in _as_entries(value))


def parse_review_items(value: Any) -> tuple[ReviewItem, ...]:
    """Return the items to be checked by a person; if more are counted than listed, one item says so."""
    if isinstance(value, dict) and ("items" in value or "count" in value):
        items = tuple(_build_review_item_from_any_json(entry) for entry in _as_entries(value.get("items")))
        missing = (find_whole_number(value, "count") or 0) - len(items)
        if missing <= 0:
            return items
        missing_items = "1 more review item" if missing == 1 else f"{missing} more review items"
        return (*items, ReviewItem(f"The vendor counts {missing_items}, but lists no details."))
    return tuple(_build_review_item_from_any_json(entry) for entry in _as_entries(value))


def find_integer(fields: JsonObject, name: str) -> int | None:
    """Return a whole number, which may be negative."""
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _parse_listed_failed_pages(pages: JsonObject) -> Iterator[FailedPage]:
    for entry in _as_list(pages.get("failed")):
        file_name, page = _parse_file_and_page(entry)
        reason = entry.get("reason")
        reason_fields = reason if isinstance(reason, dict) else entry
        message = redact_secrets(reason, (), MAX_WARNING_CHARS) or redact_secrets(
            reason_fields.get("message"), (), MAX_WARNING_CHARS
        )
        yield FailedPage(file_name, page, find_text(reason_fields, "code", 100), message)


def _parse_failed_pages_from_reasons(pages: JsonObject) -> Iterator[FailedPage]:
    for reason in list_objects(pages.get("failure_reasons")):
        code, message = find_text(reason, "code", 100), redact_secrets(reason.get("message"), (), MAX_WARNING_CHARS)
        for affected_file in _as_list(reason.get("affected_pages")):
            file_name = find_text(affected_file, "file_name") if isinstance(affected_file, dict) else None
            if file_name is None:
                raise InvalidPageError("a failed page has no file name")
            page_numbers: list[int | None] = [
                page_number for page_number in _as_list(affected_file.get("pages")) if isinstance(page_number, int)
            ]
            for page_number in page_numbers or [None]:
                yield FailedPage(file_name, page_number, code, message)


def _parse_file_and_page(entry: Any) -> tuple[str, int]:
    file_name, page = (
        (find_text(entry, "file_name"), find_whole_number(entry, "page")) if isinstance(entry, dict) else (None, None)
    )
    if file_name is None or page is None:
        raise InvalidPageError("a page has no file name or no number")
    return file_name, page


def _parse_uncertainty_note(entry: Any) -> UncertaintyNote:
    if not isinstance(entry, dict):
        return UncertaintyNote("", _render_as_text(entry))
    topic, description = (redact_secrets(entry.get(name), (), MAX_WARNING_CHARS) for name in ("topic", "description"))
    return UncertaintyNote(topic or "", description or ("" if topic else _render_as_text(entry)))


def _build_review_item_from_any_json(entry: Any) -> ReviewItem:
    if not isinstance(entry, dict):
        return ReviewItem(_render_as_text(entry))
    return ReviewItem(
        message=redact_secrets(entry.get("message"), (), MAX_WARNING_CHARS) or _render_as_text(entry),
        affected_fields=list_texts(entry.get("affected_fields")),
        row_numbers=tuple(
            row_number
            for row_number in _as_list(entry.get("output_row_numbers"))
            if isinstance(row_number, int) and row_number >= 1
        ),
        source_references=list_texts(entry.get("source_references")),
    )


def _render_as_text(value: Any) -> str:
    rendered = value if isinstance(value, str) else render_json(value).decode()
    return redact_secrets(rendered, (), MAX_WARNING_CHARS) or ""


def _as_entries(value: Any) -> list[Any]:
    """Return a list as it is, and any other value that is not empty as a list of one entry."""
    return value if isinstance(value, list) else [value] if value else []


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _get_count(fields: JsonObject, name: str, default: int) -> int:
    count = find_whole_number(fields, name)
    return default if count is None else count
