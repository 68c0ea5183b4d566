"""Asking invoicedataextraction.com: which documents go together, under which names, and what is kept of the answer."""

from __future__ import annotations

import json
from typing import Any

from invoices.extraction.invoicedataextraction_com import configuration
from invoices.ledger.spending import Caps
from sandbox import samples_directory
from tests.integration.batch_office import ANSWERED, Office


def test_one_document_is_one_submission_and_one_charge(office: Office) -> None:
    (only,) = office.collect(1)
    asked = office.ask()
    assert (asked.calls, asked.pages, asked.answered, asked.problems) == (1, 1, 1, [])
    assert office.stands(only) == ANSWERED
    assert office.concluded == 1
    office.check_books(only)


def test_more_documents_than_a_batch_takes_are_several_submissions(office: Office) -> None:
    hashes = office.collect(10)
    office.ask(batch_documents=4, connections=4)
    assert office.stands(*hashes) == ANSWERED
    assert sorted(len(one["documents"]) for one in office.extractions()) == [2, 4, 4]
    assert sorted(sha for one in office.extractions() for sha in one["documents"]) == sorted(hashes)
    office.check_books(*hashes)


def test_hundreds_of_documents_are_one_submission(office: Office) -> None:
    hashes = office.collect(250)
    office.ask(connections=4)
    assert [len(one["documents"]) for one in office.extractions()] == [250]
    assert office.stands(*hashes) == ANSWERED
    assert office.concluded == 250
    office.check_books(*hashes)


def test_a_file_larger_than_a_part_goes_in_parts(office: Office) -> None:
    office.turn(part_size=1_000)
    hashes = office.collect(2, size=10_500)  # eleven parts, and addresses for eight at once
    office.ask()
    assert office.client.counts["put_part"] == 22
    assert sorted(one["document_sha256"] for one in office.journal()["uploads"]) == sorted(hashes)
    assert office.stands(*hashes) == ANSWERED


def test_the_names_of_files_are_unique_and_lead_back_to_the_documents(office: Office) -> None:
    hashes = office.collect(3)
    office.ask()
    told = {one["document_sha256"]: one["file_name"] for one in office.journal()["uploads"]}
    assert told == {sha256: f"{sha256}.pdf" for sha256 in hashes}
    for sha256 in hashes:
        numbers = {row["Invoice number"] for row in json.loads(office.job(sha256)["payload"])["rows"]}
        assert numbers == {f"S-{sha256[:12]}"}  # the stand-in makes it of the hash of what arrived


def test_what_is_kept_has_the_shape_that_staging_reads(office: Office) -> None:
    (only,) = office.collect(1)
    office.ask()
    kept = json.loads(office.job(only)["payload"])
    rows: list[dict[str, Any]] = kept.pop("rows")
    assert kept == {
        "prompt": "1", "output_structure": "per_line_item", "page_count": 1,
        "pages": {"read": [1], "failed": []}, "uncertainty_notes": [], "review_needed": [],
    }  # fmt: skip
    assert [row["Source File"] for row in rows] == [f"{only}.pdf (Page 1)"] * 2
    assert [row["Line description"] for row in rows] == ["Article 1", "Article 2"]


def test_a_row_may_be_asked_for_per_invoice(office: Office) -> None:
    (only,) = office.collect(1)
    office.ask(structure="per_invoice")
    kept = json.loads(office.job(only)["payload"])
    assert (kept["output_structure"], len(kept["rows"])) == ("per_invoice", 1)
    assert "Line description" not in kept["rows"][0]
    assert configuration("per_invoice") != configuration("per_line_item")


def test_two_invoices_in_one_file_are_rows_of_one_document(office: Office) -> None:
    hashes = office.collect(2)

    def doubled(results: Any, extraction_id: str) -> Any:
        told = results(extraction_id)
        more = [{**row, "Invoice number": "other", "Source File": row["Source File"].replace("1)", "2)")}
                for row in told.rows]  # fmt: skip
        return type(told)(told.extraction_id, told.columns, (*told.rows, *more), None, True, None, ())

    office.instead["results"] = doubled
    office.ask()
    for sha256 in hashes:
        numbers = [row["Invoice number"] for row in json.loads(office.job(sha256)["payload"])["rows"]]
        assert numbers == [f"S-{sha256[:12]}"] * 2 + ["other"] * 2


def test_a_cap_limits_a_batch_and_the_rest_waits(office: Office) -> None:
    office.caps = Caps(run=3)
    hashes = office.collect(5)
    asked = office.ask()
    assert (asked.pages, len(asked.remarks), asked.problems) == (3, 1, [])
    assert office.stands(*hashes[:3]) == ANSWERED
    assert office.stands(*hashes[3:]) == {("ask", "cap_reached")}
    office.check_books(*hashes[:3])


def test_a_document_that_no_cap_has_room_for_lets_smaller_ones_pass(office: Office) -> None:
    office.caps = Caps(run=3)
    (large,) = office.collect(1, pages=9)
    small = office.collect(2)
    office.ask()
    assert office.stands(*small) == ANSWERED
    assert office.stands(large) == {("ask", "cap_reached")}


def test_credits_limit_a_batch_and_the_rest_waits_for_more(office: Office) -> None:
    office.turn(credits=3)
    hashes = office.collect(5)
    asked = office.ask()
    assert office.stopped is not None
    assert (asked.calls, asked.pages) == (1, 3)
    assert office.stands(*hashes[:3]) == ANSWERED
    assert office.stands(*hashes[3:]) == {("ask", "account_stopped")}
    assert "0 pages of credit are left" in office.reason(hashes[4])
    office.check_books(*hashes[:3])


def test_credits_that_running_extractions_hold_for_ever_are_told_of_and_nothing_more_is_asked(office: Office) -> None:
    office.turn(credits=4, stall=1)
    stuck = office.collect(4)
    office.ask(deadline_minutes=0.0)
    hashes = office.collect(2)
    asked = office.ask()
    assert office.stands(*stuck) == {("done", "extraction_stuck")}
    assert asked.calls == 0
    assert "4 of 4 are held by running extractions" in asked.problems[0]
    assert office.stands(*hashes) == {("ask", "account_stopped")}


def test_a_document_whose_pages_nobody_knows_counts_as_one_until_they_are_charged(office: Office) -> None:
    office.turn(pages_per_file=3)
    (only,) = office.collect(1, pages=None)
    office.ask()
    assert office.job(only)["pages_reserved"] == 1
    assert office.job(only)["pages_charged"] == 3
    office.check_books(only)


def test_documents_of_the_sample_world_are_read_as_they_are(office: Office) -> None:
    paths = [samples_directory() / "inbox" / "scans" / name for name in ("scan0001.png",)]
    contents = [path.read_bytes() for path in paths]
    hashes = office.take(*contents, media_type="image/png")
    office.ask()
    assert office.stands(*hashes) == ANSWERED
    assert [one["file_name"] for one in office.journal()["uploads"]] == [f"{sha}.png" for sha in hashes]
