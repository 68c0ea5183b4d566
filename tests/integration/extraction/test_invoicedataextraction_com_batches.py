"""Extraction with invoicedataextraction.com: batches, file names, caps and credits, and the stored payload."""

from __future__ import annotations

import json
from typing import Any

from invoices.extraction.invoicedataextraction_com import build_configuration
from invoices.ledger.spending import PageCaps
from sandbox import get_samples_directory
from tests.integration.extraction.batch_fixtures import ANSWERED, BatchHarness


def test_one_document_is_one_submission_and_one_charge(batch_harness: BatchHarness) -> None:
    (only,) = batch_harness.add_documents(1)
    report = batch_harness.run_extraction()
    assert (report.submissions, report.pages_charged, report.answered, report.problems) == (1, 1, 1, [])
    assert batch_harness.list_document_states(only) == ANSWERED
    assert batch_harness.concluded_count == 1
    batch_harness.assert_accounts_match(only)


def test_more_documents_than_a_batch_allows_need_several_submissions(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(10)
    batch_harness.run_extraction(batch_documents=4, connections=4)
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert sorted(
        len(remote_extraction["documents"]) for remote_extraction in batch_harness.list_remote_extractions()
    ) == [2, 4, 4]
    assert sorted(
        sha for remote_extraction in batch_harness.list_remote_extractions() for sha in remote_extraction["documents"]
    ) == sorted(hashes)
    batch_harness.assert_accounts_match(*hashes)


def test_hundreds_of_documents_are_one_submission(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(250)
    batch_harness.run_extraction(connections=4)
    assert [len(remote_extraction["documents"]) for remote_extraction in batch_harness.list_remote_extractions()] == [
        250
    ]
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert batch_harness.concluded_count == 250
    batch_harness.assert_accounts_match(*hashes)


def test_a_file_larger_than_a_part_is_uploaded_in_parts(batch_harness: BatchHarness) -> None:
    batch_harness.update_sandbox_settings(part_size=1_000)
    hashes = batch_harness.add_documents(2, extra_bytes=10_500)  # eleven parts, with URLs for eight at once
    batch_harness.run_extraction()
    assert batch_harness.client.call_counts["upload_part"] == 22
    assert sorted(upload["document_sha256"] for upload in batch_harness.read_journal()["uploads"]) == sorted(hashes)
    assert batch_harness.list_document_states(*hashes) == ANSWERED


def test_file_names_are_unique_and_identify_the_documents(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(3)
    batch_harness.run_extraction()
    file_name_by_document = {
        upload["document_sha256"]: upload["file_name"] for upload in batch_harness.read_journal()["uploads"]
    }
    assert file_name_by_document == {sha256: f"{sha256}.pdf" for sha256 in hashes}
    for sha256 in hashes:
        numbers = {row["Invoice number"] for row in json.loads(batch_harness.get_extraction(sha256)["payload"])["rows"]}
        assert numbers == {f"S-{sha256[:12]}"}  # the sandbox derives it from the hash of the upload


def test_the_stored_payload_has_the_form_that_staging_reads(batch_harness: BatchHarness) -> None:
    (only,) = batch_harness.add_documents(1)
    batch_harness.run_extraction()
    payload = json.loads(batch_harness.get_extraction(only)["payload"])
    rows: list[dict[str, Any]] = payload.pop("rows")
    assert payload == {
        "prompt": "1", "output_structure": "per_line_item", "page_count": 1,
        "pages": {"read": [1], "failed": []}, "uncertainty_notes": [], "review_needed": [],
    }  # fmt: skip
    assert [row["Source File"] for row in rows] == [f"{only}.pdf (Page 1)"] * 2
    assert [row["Line description"] for row in rows] == ["Article 1", "Article 2"]


def test_the_output_may_have_one_row_per_invoice(batch_harness: BatchHarness) -> None:
    (only,) = batch_harness.add_documents(1)
    batch_harness.run_extraction(structure="per_invoice")
    payload = json.loads(batch_harness.get_extraction(only)["payload"])
    assert (payload["output_structure"], len(payload["rows"])) == ("per_invoice", 1)
    assert "Line description" not in payload["rows"][0]
    assert build_configuration("per_invoice") != build_configuration("per_line_item")


def test_two_invoices_in_one_file_are_rows_of_one_document(batch_harness: BatchHarness) -> None:
    hashes = batch_harness.add_documents(2)

    def fetch_doubled_rows(fetch_results: Any, extraction_id: str) -> Any:
        results = fetch_results(extraction_id)
        other_rows = [{**row, "Invoice number": "other", "Source File": row["Source File"].replace("1)", "2)")}
                for row in results.rows]  # fmt: skip
        return type(results)(results.extraction_id, results.columns, (*results.rows, *other_rows), None, True, None, ())

    batch_harness.call_overrides["fetch_results"] = fetch_doubled_rows
    batch_harness.run_extraction()
    for sha256 in hashes:
        numbers = [row["Invoice number"] for row in json.loads(batch_harness.get_extraction(sha256)["payload"])["rows"]]
        assert numbers == [f"S-{sha256[:12]}"] * 2 + ["other"] * 2


def test_a_cap_limits_a_batch_and_the_rest_waits(batch_harness: BatchHarness) -> None:
    batch_harness.caps = PageCaps(run=3)
    hashes = batch_harness.add_documents(5)
    report = batch_harness.run_extraction()
    assert (report.pages_charged, len(report.remarks), report.problems) == (3, 1, [])
    assert batch_harness.list_document_states(*hashes[:3]) == ANSWERED
    assert batch_harness.list_document_states(*hashes[3:]) == {("extract_remote", "cap_reached")}
    batch_harness.assert_accounts_match(*hashes[:3])


def test_a_document_above_the_cap_does_not_block_smaller_ones(batch_harness: BatchHarness) -> None:
    batch_harness.caps = PageCaps(run=3)
    (large,) = batch_harness.add_documents(1, page_count=9)
    small = batch_harness.add_documents(2)
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*small) == ANSWERED
    assert batch_harness.list_document_states(large) == {("extract_remote", "cap_reached")}


def test_credits_limit_a_batch_and_the_rest_waits_for_more(batch_harness: BatchHarness) -> None:
    batch_harness.update_sandbox_settings(credits=3)
    hashes = batch_harness.add_documents(5)
    report = batch_harness.run_extraction()
    assert batch_harness.suspension is not None
    assert (report.submissions, report.pages_charged) == (1, 3)
    assert batch_harness.list_document_states(*hashes[:3]) == ANSWERED
    assert batch_harness.list_document_states(*hashes[3:]) == {("extract_remote", "account_stopped")}
    assert "only 0 are left" in batch_harness.get_reason(hashes[4])
    batch_harness.assert_accounts_match(*hashes[:3])


def test_credits_reserved_by_stuck_extractions_are_reported_and_nothing_more_is_submitted(
    batch_harness: BatchHarness,
) -> None:
    batch_harness.update_sandbox_settings(credits=4, stall=1)
    stuck = batch_harness.add_documents(4)
    batch_harness.run_extraction(deadline_minutes=0.0)
    hashes = batch_harness.add_documents(2)
    report = batch_harness.run_extraction()
    assert batch_harness.list_document_states(*stuck) == {("done", "extraction_stuck")}
    assert report.submissions == 0
    assert "4 of 4 are reserved by running extractions" in report.problems[0]
    assert batch_harness.list_document_states(*hashes) == {("extract_remote", "account_stopped")}


def test_a_document_of_unknown_length_counts_as_one_page_until_it_is_charged(batch_harness: BatchHarness) -> None:
    batch_harness.update_sandbox_settings(pages_per_file=3)
    (only,) = batch_harness.add_documents(1, page_count=None)
    batch_harness.run_extraction()
    assert batch_harness.get_extraction(only)["pages_reserved"] == 1
    assert batch_harness.get_extraction(only)["pages_charged"] == 3
    batch_harness.assert_accounts_match(only)


def test_sample_documents_are_uploaded_unchanged(batch_harness: BatchHarness) -> None:
    paths = [get_samples_directory() / "inbox" / "scans" / name for name in ("scan0001.png",)]
    contents = [path.read_bytes() for path in paths]
    hashes = batch_harness.add_document_contents(*contents, media_type="image/png")
    batch_harness.run_extraction()
    assert batch_harness.list_document_states(*hashes) == ANSWERED
    assert [upload["file_name"] for upload in batch_harness.read_journal()["uploads"]] == [
        f"{sha}.png" for sha in hashes
    ]
