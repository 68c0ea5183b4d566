"""Taking a batch's answer apart: each row, page and remark ends with exactly one document, or among the strangers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.clients.invoicedataextraction_com import Extraction
from invoices.clients.invoicedataextraction_com.values import FailedPage, Note, Pages, ReviewItem, SuccessfulPage
from invoices.extraction.batches.answers import BatchAnswer, file_name, payload, take_apart

NAMES = [f"{letter * 64}.pdf" for letter in "abcd"]
known_names = st.sampled_from(NAMES)
any_names = st.one_of(known_names, st.text(max_size=20), st.sampled_from([f"{NAMES[0]}x", NAMES[0].upper(), "x.pdf"]))
sources = st.one_of(
    st.builds("{} (Page {})".format, any_names, st.integers(1, 99)), any_names, st.none(), st.integers(), st.just(" ")
)
rows = st.lists(
    st.fixed_dictionaries({}, optional={"Source File": sources, "Total amount": st.integers()}), max_size=30
)


def extraction(**values: Any) -> Extraction:
    """Return a completed extraction."""
    return Extraction("x", "completed", output_structure="per_line_item", **values)


def kept(answer: BatchAnswer, name: str, told: Extraction) -> dict[str, Any]:
    """Return what is kept about a file."""
    others = set(answer.documents) - {name}
    return payload(told, answer.documents[name], name, others, prompt="1", page_count=1)


@given(rows, st.sets(known_names, min_size=1))
def test_each_row_ends_with_exactly_one_document_or_is_a_strangers(given_rows: list[Any], names: set[str]) -> None:
    answer = take_apart(extraction(), given_rows, names)
    assert set(answer.documents) == names
    numbers = [number for one in answer.documents.values() for number in one.row_numbers]
    assert len(numbers) == len(set(numbers))
    for name, one in answer.documents.items():
        assert one.rows == [given_rows[number - 1] for number in one.row_numbers]
        assert all(
            file_name(str(row.get("Source File"))) == name or (len(names) == 1 and _names_none(row)) for row in one.rows
        )
    lost = [row for number, row in enumerate(given_rows, start=1) if number not in numbers]
    assert bool(answer.strangers) == bool(lost)


def _names_none(row: dict[str, Any]) -> bool:
    said = row.get("Source File")
    return not isinstance(said, str) or not said.strip()


@given(rows, st.sets(known_names, min_size=1))
def test_no_row_is_given_to_a_file_that_it_does_not_name(given_rows: list[Any], names: set[str]) -> None:
    answer = take_apart(extraction(), given_rows, names)
    for row in (row for one in answer.documents.values() for row in one.rows if not _names_none(row)):
        assert file_name(row["Source File"]) in names


@given(st.lists(st.tuples(any_names, st.integers(1, 9)), max_size=20))
def test_each_page_ends_with_its_document_or_its_name_is_a_strangers(pages: list[tuple[str, int]]) -> None:
    read = tuple(SuccessfulPage(name, page) for name, page in pages)
    answer = take_apart(extraction(pages=Pages(read, (), len(read), 0)), (), NAMES)
    assert sum(len(one.pages_read) for one in answer.documents.values()) == sum(name in NAMES for name, _ in pages)
    assert set(answer.strangers) == {name for name, _ in pages} - set(NAMES)


@given(st.text(max_size=80))
def test_any_text_is_some_file_name(source: str) -> None:
    assert file_name(source) in source


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a.pdf (Page 1)", "a.pdf"), ("a.pdf (Pages 1-3)", "a.pdf"), (" a.pdf (page 12) ", "a.pdf"), ("a.pdf", "a.pdf"),
        ("a (Page 1).pdf (Page 2)", "a (Page 1).pdf"), ("a (copy).pdf", "a (copy).pdf"), ("a (1)", "a (1)"),
        ("(Page 1)", ""), ("a.pdf (Page 1", "a.pdf (Page 1"),
    ],
)  # fmt: skip
def test_the_page_is_no_part_of_the_file_name(source: str, name: str) -> None:
    assert file_name(source) == name


def test_a_megabyte_of_blanks_is_taken_apart_at_once() -> None:
    assert file_name("a" + " " * 1_000_000 + "b") != ""


def test_a_note_that_names_no_file_is_kept_with_all_and_one_that_names_a_file_with_that() -> None:
    told = extraction(notes=(Note("date", "unclear"), Note("tax", f"see {NAMES[1]}")))
    answer = take_apart(told, (), NAMES[:3])
    assert [[note["topic"] for note in kept(answer, name, told)["uncertainty_notes"]] for name in NAMES[:3]] == [
        ["date"], ["date", "tax"], ["date"],
    ]  # fmt: skip


def test_an_item_for_review_names_rows_as_its_own_document_counts_them() -> None:
    told = extraction(review_items=(ReviewItem("check", ("Total",), (2, 4)), ReviewItem("all")))
    given_rows = [{"Source File": f"{NAMES[number % 2]} (Page 1)"} for number in range(4)]
    answer = take_apart(told, given_rows, NAMES[:2])
    assert [item["rows"] for item in kept(answer, NAMES[1], told)["review_needed"]] == [[1, 2], []]
    assert [item["message"] for item in kept(answer, NAMES[0], told)["review_needed"]] == ["all"]


def test_an_item_that_names_another_file_is_not_kept_with_this_one() -> None:
    told = extraction(review_items=(ReviewItem("check", (), (), (f"{NAMES[0]} (Page 1)",)),))
    answer = take_apart(told, (), NAMES[:2])
    assert len(kept(answer, NAMES[0], told)["review_needed"]) == 1
    assert kept(answer, NAMES[1], told)["review_needed"] == []


@given(rows, st.lists(st.lists(st.integers(1, 40), max_size=4), max_size=5), st.sets(known_names, min_size=1))
def test_no_item_for_review_gets_lost(given_rows: list[Any], items: list[list[int]], names: set[str]) -> None:
    told = extraction(review_items=[ReviewItem(str(place), (), tuple(item)) for place, item in enumerate(items)])
    answer = take_apart(told, given_rows, names)
    kept_items = {item["message"] for one in answer.documents.values() for item in one.review_needed}
    assert kept_items == {str(place) for place in range(len(items))}


def test_a_page_that_failed_is_kept_with_its_reason() -> None:
    failed = (FailedPage(NAMES[0], 2, "BLANK", "nothing on it"), FailedPage(NAMES[1], None, None, None))
    told = extraction(pages=Pages((SuccessfulPage(NAMES[0], 1),), failed, 1, 2))
    answer = take_apart(told, (), NAMES[:2])
    assert kept(answer, NAMES[0], told)["pages"] == {
        "read": [1], "failed": [{"page": 2, "code": "BLANK", "message": "nothing on it"}],
    }  # fmt: skip
    assert kept(answer, NAMES[1], told)["pages"]["failed"] == [{"page": None, "code": None, "message": None}]
