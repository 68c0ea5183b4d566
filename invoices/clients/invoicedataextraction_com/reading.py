"""From this vendor's JSON objects to values: what is missing is None or empty, what would be lost in silence is kept.

Source: contract sheet 02 §2.6 and §4.2. A note or a review item in a shape we do not know is still a warning, so it
comes out as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from invoices.clients.error_bodies import safe_text
from invoices.clients.invoicedataextraction_com.values import (
    Details,
    Extraction,
    FailedPage,
    Note,
    Pages,
    ReviewItem,
    SuccessfulPage,
    TaskError,
)
from invoices.clients.json_text import render
from invoices.clients.wire_values import moment, text, whole

Fields = Mapping[str, Any]
LONGEST_WARNING = 5_000  # characters


class UnknownPage(ValueError):
    """A page that is of no file or has no number; the client turns it into one of our errors."""


def extraction_of(extraction_id: str, status: str, fields: Fields, secrets: Sequence[str] = ()) -> Extraction:
    """Return an extraction's state; raises UnknownPage."""
    return Extraction(
        id=extraction_id,
        status=status,
        progress=whole(fields, "progress"),
        credits_deducted=whole(fields, "credits_deducted"),
        credits_balance=integer(fields, "credits_balance"),
        credits_reserved=integer(fields, "credits_reserved"),
        output_structure=text(fields, "output_structure", 100),
        output_expires_at=moment(fields, "output_expires_at"),
        pages=pages_of(fields.get("pages")),
        notes=notes_of(fields.get("ai_uncertainty_notes")),
        review_items=review_items_of(fields.get("review_needed")),
        questions=tuple(item for item in _list(fields.get("questions")) if isinstance(item, dict)),
        answer_by=moment(fields, "answer_by"),
        error=task_error_of(fields.get("error"), secrets),
        cancellation_reason=text(fields, "cancellation_reason", 200),
    )


def details_of(extraction: Extraction, fields: Fields) -> Details:
    """Return the record around an extraction's state."""
    prompt, options = fields.get("prompt"), fields.get("options")
    return Details(
        extraction=extraction,
        submission_id=text(fields, "submission_id", 200),
        task_name=text(fields, "task_name", 200),
        created_at=moment(fields, "created_at"),
        file_names=_texts(fields.get("file_names")),
        prompt=prompt if isinstance(prompt, (str, dict)) else None,
        options=options if isinstance(options, dict) else {},
    )


def task_error_of(value: Any, secrets: Sequence[str] = ()) -> TaskError | None:
    """Return why a task failed, or None where nothing is told."""
    if not isinstance(value, dict):
        return None
    details = value.get("details")
    told = details if isinstance(details, dict) else {}
    return TaskError(
        code=safe_text(value.get("code"), secrets, 64) or "UNKNOWN",
        message=safe_text(value.get("message"), secrets, 500),
        retryable=value.get("retryable") is True,
        file_names=_texts(told.get("file_names")),
        credits_required=integer(told, "credits_required"),
        credits_balance=integer(told, "credits_balance"),
        credits_reserved=integer(told, "credits_reserved"),
    )


def pages_of(value: Any) -> Pages | None:
    """Return the pages with the reasons of failed ones, from ``failed`` and ``failure_reasons`` alike."""
    if not isinstance(value, dict):
        return None
    successful = tuple(SuccessfulPage(*_page(entry)) for entry in _list(value.get("successful")))
    failed: dict[tuple[str, int | None], FailedPage] = {}
    for found in (*_listed_failures(value), *_reasons(value)):
        known = failed.get((found.file_name, found.page))
        code, message = (known.code, known.message) if known else (None, None)
        failed[found.file_name, found.page] = FailedPage(
            found.file_name, found.page, code or found.code, message or found.message
        )
    return Pages(
        successful,
        tuple(failed.values()),
        _count(value, "successful_count", len(successful)),
        max(_count(value, "failed_count", 0), sum(page is not None for _, page in failed), min(len(failed), 1)),
    )


def notes_of(value: Any) -> tuple[Note, ...]:
    """Return what the vendor was not sure about; text in any other shape is a note without a topic."""
    return tuple(_note(entry) for entry in _entries(value))


def review_items_of(value: Any) -> tuple[ReviewItem, ...]:
    """Return what a person should look at; where more is counted than listed, one item says so."""
    if isinstance(value, dict) and ("items" in value or "count" in value):
        items = tuple(_review_item(entry) for entry in _entries(value.get("items")))
        missing = (whole(value, "count") or 0) - len(items)
        return items if missing <= 0 else (*items, ReviewItem(f"{missing} more, of which the vendor tells nothing"))
    return tuple(_review_item(entry) for entry in _entries(value))


def integer(fields: Fields, name: str) -> int | None:
    """Return a whole number, also one below zero."""
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _listed_failures(pages: Fields) -> Iterator[FailedPage]:
    for entry in _list(pages.get("failed")):
        name, page = _page(entry)
        reason = entry.get("reason")
        inner = reason if isinstance(reason, dict) else entry
        message = safe_text(reason, (), LONGEST_WARNING) or safe_text(inner.get("message"), (), LONGEST_WARNING)
        yield FailedPage(name, page, text(inner, "code", 100), message)


def _reasons(pages: Fields) -> Iterator[FailedPage]:
    for reason in _list(pages.get("failure_reasons")):
        if not isinstance(reason, dict):
            continue
        code, message = text(reason, "code", 100), safe_text(reason.get("message"), (), LONGEST_WARNING)
        for place in _list(reason.get("affected_pages")):
            name = text(place, "file_name") if isinstance(place, dict) else None
            if name is None:
                raise UnknownPage("a failed page has no file name")
            numbers: list[int | None] = [number for number in _list(place.get("pages")) if isinstance(number, int)]
            for number in numbers or [None]:
                yield FailedPage(name, number, code, message)


def _page(entry: Any) -> tuple[str, int]:
    name, page = (text(entry, "file_name"), whole(entry, "page")) if isinstance(entry, dict) else (None, None)
    if name is None or page is None:
        raise UnknownPage("a page has no file name or no number")
    return name, page


def _note(entry: Any) -> Note:
    if not isinstance(entry, dict):
        return Note("", _words(entry))
    topic, description = (safe_text(entry.get(name), (), LONGEST_WARNING) for name in ("topic", "description"))
    return Note(topic or "", description or ("" if topic else _words(entry)))


def _review_item(entry: Any) -> ReviewItem:
    if not isinstance(entry, dict):
        return ReviewItem(_words(entry))
    return ReviewItem(
        message=safe_text(entry.get("message"), (), LONGEST_WARNING) or _words(entry),
        affected_fields=_texts(entry.get("affected_fields")),
        row_numbers=tuple(n for n in _list(entry.get("output_row_numbers")) if isinstance(n, int) and n >= 1),
        source_references=_texts(entry.get("source_references")),
    )


def _words(value: Any) -> str:
    told = value if isinstance(value, str) else render(value).decode()
    return safe_text(told, (), LONGEST_WARNING) or ""


def _entries(value: Any) -> list[Any]:
    """Return a list as it is, and anything else that says something as the one entry of a list."""
    return value if isinstance(value, list) else [value] if value else []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in _list(value) if isinstance(item, str))


def _count(fields: Fields, name: str, otherwise: int) -> int:
    count = whole(fields, name)
    return otherwise if count is None else count
