"""Splits a batch's answer into the rows, pages and notes of each document.

The vendor names files by ``file_name`` only (contract sheet 02 §8), and its uncertainty notes have no file field. A
note that mentions no file of the batch is stored with every document of the batch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from invoices.clients.invoicedataextraction_com import Extraction

SOURCE_FILE_COLUMN = "Source File"


@dataclass(slots=True)
class DocumentAnswer:
    """The part of a batch's answer for one document; ``row_numbers`` count in the whole output, from 1."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    row_numbers: list[int] = field(default_factory=list)
    pages_read: list[int] = field(default_factory=list)
    pages_failed: list[dict[str, Any]] = field(default_factory=list)
    review_needed: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """A batch's answer by file name, and the file names in it that were not submitted."""

    documents: Mapping[str, DocumentAnswer]
    unknown_files: Collection[str]


def split_answer_by_document(
    extraction: Extraction, rows: Sequence[Mapping[str, Any]], file_names: Collection[str]
) -> BatchAnswer:
    """Return the answer for each file; rows that name no file belong to the batch's only file, if it has just one."""
    answers_by_name = {name: DocumentAnswer() for name in file_names}
    unknown_files: list[str] = []
    only_name = next(iter(answers_by_name)) if len(answers_by_name) == 1 else None
    for number, row in enumerate(rows, start=1):
        source = row.get(SOURCE_FILE_COLUMN)
        name = parse_file_name(source) if isinstance(source, str) and source.strip() else only_name
        if name in answers_by_name:
            answers_by_name[name].rows.append(dict(row))
            answers_by_name[name].row_numbers.append(number)
        else:
            unknown_files.append(name or "(no file name)")
    _assign_pages(extraction, answers_by_name, unknown_files)
    _assign_review_items(extraction, answers_by_name)
    return BatchAnswer(answers_by_name, sorted(set(unknown_files)))


def build_payload(
    extraction: Extraction,
    answer: DocumentAnswer,
    name: str,
    other_names: Collection[str],
    *,
    prompt_version: str,
    page_count: int | None,
) -> dict[str, Any]:
    """Return the stored payload of one document; ``other_names`` are the other files of the batch.

    Uncertainty notes that mention other files but not this one are left out.
    """
    uncertainty_notes: list[dict[str, str]] = []
    for note in extraction.notes:
        text = f"{note.topic} {note.description}"
        if name in text or not any(other_name in text for other_name in other_names):
            uncertainty_notes.append({"topic": note.topic, "description": note.description})
    return {
        "prompt": prompt_version,
        "output_structure": extraction.output_structure,
        "page_count": page_count,
        "rows": answer.rows,
        "pages": {"read": answer.pages_read, "failed": answer.pages_failed},
        "uncertainty_notes": uncertainty_notes,
        "review_needed": answer.review_needed,
    }


def parse_file_name(source: str) -> str:
    """Return the file name in ``a.pdf (Page 1)``; text of any other form is a name itself."""
    name, _, page = source.strip().rpartition("(")
    return name.rstrip() if page.endswith(")") and page.casefold().startswith("page") else source.strip()


def _assign_pages(
    extraction: Extraction, answers_by_name: Mapping[str, DocumentAnswer], unknown_files: list[str]
) -> None:
    pages = extraction.pages
    if pages is None:
        return
    for successful_page in pages.successful:
        if successful_page.file_name in answers_by_name:
            answers_by_name[successful_page.file_name].pages_read.append(successful_page.page)
    for failed_page in pages.failed:
        if failed_page.file_name in answers_by_name:
            failure = {"page": failed_page.page, "code": failed_page.code, "message": failed_page.message}
            answers_by_name[failed_page.file_name].pages_failed.append(failure)
    named_files = {page.file_name for page in pages.successful} | {page.file_name for page in pages.failed}
    unknown_files.extend(named_files - answers_by_name.keys())


def _assign_review_items(extraction: Extraction, answers_by_name: Mapping[str, DocumentAnswer]) -> None:
    """Add each review item to the documents of its rows, else to those it names, else to all, so that none is lost."""
    row_owners = {
        number: (name, row_position)
        for name, answer in answers_by_name.items()
        for row_position, number in enumerate(answer.row_numbers, start=1)
    }
    for item in extraction.review_items:
        rows_by_name: dict[str, list[int]] = {}
        for name, row_position in (row_owners[number] for number in item.row_numbers if number in row_owners):
            rows_by_name.setdefault(name, []).append(row_position)
        named_files = {
            name: list[int]() for name in answers_by_name if any(name in entry for entry in item.source_references)
        }
        all_files = {name: list[int]() for name in answers_by_name}
        for name, row_positions in (rows_by_name or named_files or all_files).items():
            entry = {"message": item.message, "affected_fields": list(item.affected_fields), "rows": row_positions}
            answers_by_name[name].review_needed.append(entry)
