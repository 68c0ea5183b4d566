"""What one extraction comes to: its pages, its rows and what the vendor says about them (sheet 02 §2.6-2.8)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.invoicedataextraction_com.readings import (
    BROKEN,
    HEADER_COLUMNS,
    LINE_COLUMNS,
    Value,
    failure_of,
    page_count,
    plain,
    rows_of,
)

MANNER = (
    "read_strangers", "pages_per_file", "fail_pages", "missing_rows", "wrong_file", "notes", "review_needed",
)  # fmt: skip
"""The knobs that an extraction keeps as they stood when it was submitted."""
SOURCE_FILE, REVIEW_NEEDED = "Source File", "Review Needed"
REVIEW_MESSAGE = "Please check this value against the document."


@dataclass(frozen=True, slots=True)
class File:
    """A submitted file."""

    file_id: str
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page; ``reason`` says why it failed, None where it did not."""

    file_name: str
    number: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """An extraction's pages, columns and rows; ``pages_read`` counts the successful pages of each file, in order."""

    structure: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, Value], ...]
    pages: tuple[Page, ...]
    pages_read: tuple[int, ...]
    flagged: tuple[int, ...]
    notes: tuple[str, ...]


def is_named(file: File, names: Sequence[str]) -> bool:
    """Return whether a knob names this file: ``all``, a part of its name or the beginning of its hash."""
    return any(
        name == "all" or name in file.name or (len(name) >= 6 and file.sha256.startswith(name)) for name in names
    )


def pages_of(file: File, manner: Mapping[str, Any]) -> int:
    """Return how many pages a file has."""
    return int(manner["pages_per_file"]) or page_count(file.sha256)


def outcome_of(files: Sequence[File], request: Mapping[str, Any], manner: Mapping[str, Any]) -> Outcome:
    """Return what an extraction of these files comes to."""
    structure, asked = _structure(request), _columns(request)
    excluded = set(request.get("options", {}).get("exclude_columns", ()))
    kept = [name for name in (SOURCE_FILE, REVIEW_NEEDED) if plain(name) not in {plain(word) for word in excluded}]
    pages: list[Page] = []
    rows: list[dict[str, Value]] = []
    flagged: list[int] = []
    pages_read = []
    for position, file in enumerate(files):
        of_file = _pages(file, manner)
        read = [page for page in of_file if page.reason is None]
        pages += of_file
        pages_read.append(len(read))
        if not read or is_named(file, manner["missing_rows"]):
            continue
        source = _source(files, position, read[0].number, manner)
        is_flagged = is_named(file, manner["review_needed"])
        extra = {SOURCE_FILE: source, REVIEW_NEEDED: REVIEW_MESSAGE if is_flagged else None}
        new = rows_of(file.sha256, asked, per_line=structure == "per_line_item")
        flagged += range(len(rows) + 1, len(rows) + len(new) + 1) if is_flagged else ()
        rows += [{**row, **{name: extra[name] for name in kept}} for row in new]
    return Outcome(
        structure, (*asked, *kept), tuple(rows), tuple(pages), tuple(pages_read), tuple(flagged), tuple(manner["notes"])
    )


def _structure(request: Mapping[str, Any]) -> str:
    structure, prompt = str(request["output_structure"]), request["prompt"]
    if structure != "automatic":
        return structure
    text = prompt if isinstance(prompt, str) else " ".join(field["name"] for field in prompt["fields"])
    return "per_line_item" if re.search(r"\blines?\b", text, re.IGNORECASE) else "per_invoice"


def _columns(request: Mapping[str, Any]) -> tuple[str, ...]:
    prompt = request["prompt"]
    if not isinstance(prompt, str):
        return tuple(field["name"] for field in prompt["fields"])
    return (*HEADER_COLUMNS, *LINE_COLUMNS) if _structure(request) == "per_line_item" else HEADER_COLUMNS


def _pages(file: File, manner: Mapping[str, Any]) -> list[Page]:
    reason = failure_of(file.sha256, reads_strangers=manner["read_strangers"])
    return [
        Page(file.name, number, reason or (BROKEN if _is_failed(file, number, manner["fail_pages"]) else None))
        for number in range(1, pages_of(file, manner) + 1)
    ]


def _is_failed(file: File, number: int, names: Sequence[str]) -> bool:
    for name in names:
        which, _, page = name.rpartition(":") if re.search(r":[0-9]+$", name) else (name, "", "")
        if is_named(file, (which,)) and page in ("", str(number)):
            return True
    return False


def _source(files: Sequence[File], position: int, number: int, manner: Mapping[str, Any]) -> str:
    name = files[position].name
    if is_named(files[position], manner["wrong_file"]):
        name = files[(position + 1) % len(files)].name if len(files) > 1 else "unknown.pdf"
    return f"{name} (Page {number})"
