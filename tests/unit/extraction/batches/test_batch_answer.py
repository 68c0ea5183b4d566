"""Splitting a batch's answer: each row and page belongs to exactly one document, or to an unknown file."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.clients.invoicedataextraction_com import Extraction
from invoices.clients.invoicedataextraction_com.api_models import (
    FailedPage,
    PageOutcomes,
    ReviewItem,
    SuccessfulPage,
    UncertaintyNote,
)
from invoices.extraction.batches.batch_answer import (
    BatchAnswer,
    build_payload,
    parse_file_name,
    split_answer_by_document,
)

FILE_NAMES = [f"{letter * 64}.pdf" for letter in "abcd"]
known_names = st.sampled_from(FILE_NAMES)
any_names = st.one_of(
    known_names, st.text(max_size=20), st.sampled_from([f"{FILE_NAMES[0]}x", FILE_NAMES[0].upper(), "x.pdf"])
)
sources = st.one_of(
    st.builds("{} (Page {})".format, any_names, st.integers(1, 99)), any_names, st.none(), st.integers(), st.just(" ")
)
rows = st.lists(
    st.fixed_dictionaries({}, optional={"Source File": sources, "Total amount": st.integers()}), max_size=30
)


def build_extraction(**values: Any) -> Extraction:
    """Return a completed extraction."""
    return Extraction("x", "completed", output_structure="per_line_item", **values)


def build_document_payload(answer: BatchAnswer, name: str, extraction: Extraction) -> dict[str, Any]:
    """Return the stored payload of a file."""
    others = set(answer.documents) - {name}
    return build_payload(extraction, answer.documents[name], name, others, prompt_version="1", page_count=1)


@given(rows, st.sets(known_names, min_size=1))
def test_each_row_belongs_to_exactly_one_document_or_to_an_unknown_file(given_rows: list[Any], names: set[str]) -> None:
    answer = split_answer_by_document(build_extraction(), given_rows, names)
    assert set(answer.documents) == names
    numbers = [number for document_answer in answer.documents.values() for number in document_answer.row_numbers]
    assert len(numbers) == len(set(numbers))
    for name, document_answer in answer.documents.items():
        assert document_answer.rows == [given_rows[number - 1] for number in document_answer.row_numbers]
        assert all(
            parse_file_name(str(row.get("Source File"))) == name or (len(names) == 1 and _has_no_source_file(row))
            for row in document_answer.rows
        )
    unassigned_rows = [row for number, row in enumerate(given_rows, start=1) if number not in numbers]
    assert bool(answer.unknown_files) == bool(unassigned_rows)


def _has_no_source_file(row: dict[str, Any]) -> bool:
    source_file = row.get("Source File")
    return not isinstance(source_file, str) or not source_file.strip()


@given(rows, st.sets(known_names, min_size=1))
def test_no_row_is_assigned_to_a_file_that_it_does_not_name(given_rows: list[Any], names: set[str]) -> None:
    answer = split_answer_by_document(build_extraction(), given_rows, names)
    for row in (
        row
        for document_answer in answer.documents.values()
        for row in document_answer.rows
        if not _has_no_source_file(row)
    ):
        assert parse_file_name(row["Source File"]) in names


@given(st.lists(st.tuples(any_names, st.integers(1, 9)), max_size=20))
def test_each_page_belongs_to_its_document_or_to_an_unknown_file(pages: list[tuple[str, int]]) -> None:
    read = tuple(SuccessfulPage(name, page) for name, page in pages)
    answer = split_answer_by_document(build_extraction(pages=PageOutcomes(read, (), len(read), 0)), (), FILE_NAMES)
    assert sum(len(document_answer.pages_read) for document_answer in answer.documents.values()) == sum(
        name in FILE_NAMES for name, _ in pages
    )
    assert set(answer.unknown_files) == {name for name, _ in pages} - set(FILE_NAMES)


@given(st.text(max_size=80))
def test_any_text_gives_a_file_name(source: str) -> None:
    assert parse_file_name(source) in source


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a.pdf (Page 1)", "a.pdf"), ("a.pdf (Pages 1-3)", "a.pdf"), (" a.pdf (page 12) ", "a.pdf"), ("a.pdf", "a.pdf"),
        ("a (Page 1).pdf (Page 2)", "a (Page 1).pdf"), ("a (copy).pdf", "a (copy).pdf"), ("a (1)", "a (1)"),
        ("(Page 1)", ""), ("a.pdf (Page 1", "a.pdf (Page 1"),
    ],
)  # fmt: skip
def test_the_page_is_removed_from_the_file_name(source: str, name: str) -> None:
    assert parse_file_name(source) == name


def test_a_megabyte_of_blanks_is_parsed_at_once() -> None:
    assert parse_file_name("a" + " " * 1_000_000 + "b") != ""


def test_a_note_without_file_is_stored_with_all_documents_and_one_with_file_only_there() -> None:
    batch_extraction = build_extraction(
        notes=(UncertaintyNote("date", "unclear"), UncertaintyNote("tax", f"see {FILE_NAMES[1]}"))
    )
    answer = split_answer_by_document(batch_extraction, (), FILE_NAMES[:3])
    topics = [
        [note["topic"] for note in build_document_payload(answer, name, batch_extraction)["uncertainty_notes"]]
        for name in FILE_NAMES[:3]
    ]
    assert topics == [["date"], ["date", "tax"], ["date"]]


def test_a_review_item_has_row_numbers_within_its_document() -> None:
    batch_extraction = build_extraction(review_items=(ReviewItem("check", ("Total",), (2, 4)), ReviewItem("all")))
    given_rows = [{"Source File": f"{FILE_NAMES[number % 2]} (Page 1)"} for number in range(4)]
    answer = split_answer_by_document(batch_extraction, given_rows, FILE_NAMES[:2])
    assert [
        item["rows"] for item in build_document_payload(answer, FILE_NAMES[1], batch_extraction)["review_needed"]
    ] == [[1, 2], []]
    assert [
        item["message"] for item in build_document_payload(answer, FILE_NAMES[0], batch_extraction)["review_needed"]
    ] == ["all"]


def test_a_review_item_of_another_file_is_not_stored_with_this_one() -> None:
    batch_extraction = build_extraction(review_items=(ReviewItem("check", (), (), (f"{FILE_NAMES[0]} (Page 1)",)),))
    answer = split_answer_by_document(batch_extraction, (), FILE_NAMES[:2])
    assert len(build_document_payload(answer, FILE_NAMES[0], batch_extraction)["review_needed"]) == 1
    assert build_document_payload(answer, FILE_NAMES[1], batch_extraction)["review_needed"] == []


@given(rows, st.lists(st.lists(st.integers(1, 40), max_size=4), max_size=5), st.sets(known_names, min_size=1))
def test_no_review_item_is_lost(given_rows: list[Any], items: list[list[int]], names: set[str]) -> None:
    batch_extraction = build_extraction(
        review_items=[ReviewItem(str(index), (), tuple(row_numbers)) for index, row_numbers in enumerate(items)]
    )
    answer = split_answer_by_document(batch_extraction, given_rows, names)
    kept_items = {
        item["message"] for document_answer in answer.documents.values() for item in document_answer.review_needed
    }
    assert kept_items == {str(index) for index in range(len(items))}


def test_a_failed_page_is_stored_with_its_reason() -> None:
    failed = (FailedPage(FILE_NAMES[0], 2, "BLANK", "nothing on it"), FailedPage(FILE_NAMES[1], None, None, None))
    batch_extraction = build_extraction(pages=PageOutcomes((SuccessfulPage(FILE_NAMES[0], 1),), failed, 1, 2))
    answer = split_answer_by_document(batch_extraction, (), FILE_NAMES[:2])
    assert build_document_payload(answer, FILE_NAMES[0], batch_extraction)["pages"] == {
        "read": [1], "failed": [{"page": 2, "code": "BLANK", "message": "nothing on it"}],
    }  # fmt: skip
    assert build_document_payload(answer, FILE_NAMES[1], batch_extraction)["pages"]["failed"] == [
        {"page": None, "code": None, "message": None}
    ]
