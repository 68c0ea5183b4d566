"""Taking a batch's answer apart: which rows, pages and remarks are about which document.

The vendor names files by ``file_name`` alone (contract sheet 02 §8), and its uncertainty notes name none at all: a note
that names no file of the batch is kept with every document of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from invoices.clients.invoicedataextraction_com import Extraction

SOURCE_FILE_COLUMN = "Source File"


@dataclass(slots=True)
class DocumentAnswer:
    """What a batch's answer says about one document; ``row_numbers`` are those of the whole output, from 1."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    row_numbers: list[int] = field(default_factory=list)
    pages_read: list[int] = field(default_factory=list)
    pages_failed: list[dict[str, Any]] = field(default_factory=list)
    review_needed: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """A batch's answer taken apart: by file name, and the file names that nobody asked about."""

    documents: Mapping[str, DocumentAnswer]
    unknown_files: Collection[str]


def split_answer_by_document(
    extraction: Extraction, rows: Sequence[Mapping[str, Any]], file_names: Collection[str]
) -> BatchAnswer:
    """Return what the answer says about each of the files; rows that name no file belong to the only one, if it is."""
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
            unknown_files.append(name or "no file at all")
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
    """Return the answer about one document as it is kept; ``others`` are the other files of the batch."""
    notes = [
        note
        for note in extraction.notes
        if not _is_about_other_file(f"{note.topic} {note.description}", name, other_names)
    ]
    return {
        "prompt": prompt_version,
        "output_structure": extraction.output_structure,
        "page_count": page_count,
        "rows": answer.rows,
        "pages": {"read": answer.pages_read, "failed": answer.pages_failed},
        "uncertainty_notes": [{"topic": note.topic, "description": note.description} for note in notes],
        "review_needed": answer.review_needed,
    }


def parse_file_name(source: str) -> str:
    """Return the file name in ``a.pdf (Page 1)``; text in any other shape is a name as it is."""
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
    """Give each item to the documents whose rows it counts, else to those it names, else to all: none gets lost."""
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
        for name, row_positions in (
            rows_by_name or named_files or {name: list[int]() for name in answers_by_name}
        ).items():
            entry = {"message": item.message, "affected_fields": list(item.affected_fields), "rows": row_positions}
            answers_by_name[name].review_needed.append(entry)


def _is_about_other_file(text: str, name: str, other_names: Collection[str]) -> bool:
    """Return whether a remark names files of the batch, and this one is not among them."""
    return name not in text and any(other_name in text for other_name in other_names)
