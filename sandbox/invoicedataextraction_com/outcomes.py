"""The outcome of one extraction: its pages, rows, review marks and notes (sheet 02 §2.6-2.8)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.invoicedataextraction_com.sample_answers import (
    HEADER_COLUMNS,
    LINE_COLUMNS,
    UNREADABLE_PAGE_MESSAGE,
    CellValue,
    build_rows,
    count_pages,
    find_failure_reason,
    normalise_column_name,
)

FIXED_SETTING_NAMES = (
    "read_strangers", "pages_per_file", "fail_pages", "missing_rows", "wrong_file", "notes", "review_needed",
)  # fmt: skip
"""Settings that count as they are when an extraction is submitted; later changes do not affect it."""
SOURCE_FILE_COLUMN, REVIEW_NEEDED_COLUMN = "Source File", "Review Needed"
REVIEW_MESSAGE = "Please check this value against the document."


@dataclass(frozen=True, slots=True)
class SubmittedFile:
    """A file of an extraction."""

    file_id: str
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PageResult:
    """One page; ``failure_reason`` is None if it succeeded."""

    file_name: str
    number: int
    failure_reason: str | None = None


@dataclass(frozen=True, slots=True)
class ExtractionOutcome:
    """An extraction's pages, columns and rows.

    ``read_page_counts`` has the successful pages of each file, ``review_row_numbers`` count from 1.
    """

    output_structure: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, CellValue], ...]
    pages: tuple[PageResult, ...]
    read_page_counts: tuple[int, ...]
    review_row_numbers: tuple[int, ...]
    note_topics: tuple[str, ...]


def is_file_selected(file: SubmittedFile, selectors: Sequence[str]) -> bool:
    """Return whether a selector matches this file: ``all``, part of its name, or 6 or more first digits of its hash."""
    return any(
        selector == "all" or selector in file.name or (len(selector) >= 6 and file.sha256.startswith(selector))
        for selector in selectors
    )


def count_file_pages(file: SubmittedFile, fixed_settings: Mapping[str, Any]) -> int:
    """Return the number of pages of a file."""
    return int(fixed_settings["pages_per_file"]) or count_pages(file.sha256)


def build_outcome(
    files: Sequence[SubmittedFile], request: Mapping[str, Any], fixed_settings: Mapping[str, Any]
) -> ExtractionOutcome:
    """Return the outcome of an extraction of these files."""
    output_structure, prompt_columns = _resolve_output_structure(request), _list_columns(request)
    excluded_columns = set(map(normalise_column_name, request.get("options", {}).get("exclude_columns", ())))
    added_columns = [
        name
        for name in (SOURCE_FILE_COLUMN, REVIEW_NEEDED_COLUMN)
        if normalise_column_name(name) not in excluded_columns
    ]
    pages: list[PageResult] = []
    rows: list[dict[str, CellValue]] = []
    review_row_numbers: list[int] = []
    read_page_counts = []
    for file_index, file in enumerate(files):
        file_pages = _build_page_results(file, fixed_settings)
        read_pages = [page for page in file_pages if page.failure_reason is None]
        pages += file_pages
        read_page_counts.append(len(read_pages))
        if not read_pages or is_file_selected(file, fixed_settings["missing_rows"]):
            continue
        source_reference = _format_reported_source_reference(files, file_index, read_pages[0].number, fixed_settings)
        is_flagged = is_file_selected(file, fixed_settings["review_needed"])
        added_values = {
            SOURCE_FILE_COLUMN: source_reference,
            REVIEW_NEEDED_COLUMN: REVIEW_MESSAGE if is_flagged else None,
        }
        file_rows = build_rows(file.sha256, prompt_columns, one_row_per_line=output_structure == "per_line_item")
        review_row_numbers += range(len(rows) + 1, len(rows) + len(file_rows) + 1) if is_flagged else ()
        rows += [{**row, **{name: added_values[name] for name in added_columns}} for row in file_rows]
    return ExtractionOutcome(
        output_structure,
        (*prompt_columns, *added_columns),
        tuple(rows),
        tuple(pages),
        tuple(read_page_counts),
        tuple(review_row_numbers),
        tuple(fixed_settings["notes"]),
    )


def _resolve_output_structure(request: Mapping[str, Any]) -> str:
    output_structure, prompt = str(request["output_structure"]), request["prompt"]
    if output_structure != "automatic":
        return output_structure
    prompt_text = prompt if isinstance(prompt, str) else " ".join(field["name"] for field in prompt["fields"])
    return "per_line_item" if re.search(r"\blines?\b", prompt_text, re.IGNORECASE) else "per_invoice"


def _list_columns(request: Mapping[str, Any]) -> tuple[str, ...]:
    prompt = request["prompt"]
    if not isinstance(prompt, str):
        return tuple(field["name"] for field in prompt["fields"])
    return (*HEADER_COLUMNS, *LINE_COLUMNS) if _resolve_output_structure(request) == "per_line_item" else HEADER_COLUMNS


def _build_page_results(file: SubmittedFile, fixed_settings: Mapping[str, Any]) -> list[PageResult]:
    failure_reason = find_failure_reason(file.sha256, accept_unknown_documents=fixed_settings["read_strangers"])
    pages = []
    for page_number in range(1, count_file_pages(file, fixed_settings) + 1):
        must_fail = _should_page_fail(file, page_number, fixed_settings["fail_pages"])
        page_failure = failure_reason or (UNREADABLE_PAGE_MESSAGE if must_fail else None)
        pages.append(PageResult(file.name, page_number, page_failure))
    return pages


def _should_page_fail(file: SubmittedFile, page_number: int, selectors: Sequence[str]) -> bool:
    for selector in selectors:
        has_page = re.search(r":[0-9]+$", selector)
        file_selector, _, page_text = selector.rpartition(":") if has_page else (selector, "", "")
        if is_file_selected(file, (file_selector,)) and page_text in ("", str(page_number)):
            return True
    return False


def _format_reported_source_reference(
    files: Sequence[SubmittedFile], file_index: int, page_number: int, fixed_settings: Mapping[str, Any]
) -> str:
    file_name = files[file_index].name
    if is_file_selected(files[file_index], fixed_settings["wrong_file"]):
        file_name = files[(file_index + 1) % len(files)].name if len(files) > 1 else "unknown.pdf"
    return f"{file_name} (Page {page_number})"
