"""Taking a batch's answer apart: which rows, pages and remarks are about which document.

The vendor names files by ``file_name`` alone (contract sheet 02 §8), and its uncertainty notes name none at all: a note
that names no file of the batch is kept with every document of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from invoices.clients.invoicedataextraction_com import Extraction

SOURCE = "Source File"


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
    strangers: Collection[str]


def take_apart(extraction: Extraction, rows: Sequence[Mapping[str, Any]], file_names: Collection[str]) -> BatchAnswer:
    """Return what the answer says about each of the files; rows that name no file belong to the only one, if it is."""
    documents = {name: DocumentAnswer() for name in file_names}
    strangers: list[str] = []
    only = next(iter(documents)) if len(documents) == 1 else None
    for number, row in enumerate(rows, start=1):
        said = row.get(SOURCE)
        name = file_name(said) if isinstance(said, str) and said.strip() else only
        if name in documents:
            documents[name].rows.append(dict(row))
            documents[name].row_numbers.append(number)
        else:
            strangers.append(name or "no file at all")
    _sort_pages(extraction, documents, strangers)
    _sort_review_items(extraction, documents)
    return BatchAnswer(documents, sorted(set(strangers)))


def payload(
    extraction: Extraction,
    answer: DocumentAnswer,
    name: str,
    others: Collection[str],
    *,
    prompt: str,
    page_count: int | None,
) -> dict[str, Any]:
    """Return the answer about one document as it is kept; ``others`` are the other files of the batch."""
    notes = [note for note in extraction.notes if not _names_another(f"{note.topic} {note.description}", name, others)]
    return {
        "prompt": prompt,
        "output_structure": extraction.output_structure,
        "page_count": page_count,
        "rows": answer.rows,
        "pages": {"read": answer.pages_read, "failed": answer.pages_failed},
        "uncertainty_notes": [{"topic": note.topic, "description": note.description} for note in notes],
        "review_needed": answer.review_needed,
    }


def file_name(source: str) -> str:
    """Return the file name in ``a.pdf (Page 1)``; text in any other shape is a name as it is."""
    name, _, page = source.strip().rpartition("(")
    return name.rstrip() if page.endswith(")") and page.casefold().startswith("page") else source.strip()


def _sort_pages(extraction: Extraction, documents: Mapping[str, DocumentAnswer], strangers: list[str]) -> None:
    pages = extraction.pages
    if pages is None:
        return
    for read in pages.successful:
        if read.file_name in documents:
            documents[read.file_name].pages_read.append(read.page)
    for failed in pages.failed:
        if failed.file_name in documents:
            told = {"page": failed.page, "code": failed.code, "message": failed.message}
            documents[failed.file_name].pages_failed.append(told)
    named = {page.file_name for page in pages.successful} | {page.file_name for page in pages.failed}
    strangers.extend(named - documents.keys())


def _sort_review_items(extraction: Extraction, documents: Mapping[str, DocumentAnswer]) -> None:
    """Give each item to the documents whose rows it counts, else to those it names, else to all: none gets lost."""
    owners = {
        number: (name, place)
        for name, answer in documents.items()
        for place, number in enumerate(answer.row_numbers, start=1)
    }
    for item in extraction.review_items:
        rows: dict[str, list[int]] = {}
        for name, place in (owners[number] for number in item.row_numbers if number in owners):
            rows.setdefault(name, []).append(place)
        named = {name: list[int]() for name in documents if any(name in told for told in item.source_references)}
        for name, mine in (rows or named or {name: list[int]() for name in documents}).items():
            told = {"message": item.message, "affected_fields": list(item.affected_fields), "rows": mine}
            documents[name].review_needed.append(told)


def _names_another(text: str, name: str, others: Collection[str]) -> bool:
    """Return whether a remark names files of the batch, and this one is not among them."""
    return name not in text and any(other in text for other in others)
