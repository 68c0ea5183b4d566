"""What a run says at its end and the story of one document, over a small house; and batches written again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import prepared_house
import pytest
from prepared_house import bring_to_the_warehouse, fill, judge, see, sha

from flows.explaining import as_text, stories
from flows.reissuing import reissue
from flows.stages import export
from flows.telling import STATES, outcome, standing, summary
from invoices.errors import ConfigurationError, ContractError
from invoices.exports import verify
from invoices.house import House
from invoices.ledger.batches import assign, export_batch_list, export_counts, waiting_invoices
from invoices.ledger.extractions import Terms, intend
from invoices.ledger.outbox import move, outgoing
from invoices.receipts.publishing import PUBLISHER
from invoices.report import Report
from invoices.settings import Settings
from transforms.loading.working import discard

BATCH = "batch-000001"


@pytest.fixture
def loaded(house: House) -> House:
    """A house with a document of each kind, loaded."""
    fill(house)
    bring_to_the_warehouse(house)
    return house


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house after a run to the end, one receipt published and one waiting; for tests that only look."""
    settings = Settings(home=tmp_path_factory.mktemp("house"))
    with House(settings, vendors=lambda _closing: settings) as house:
        fill(house)
        bring_to_the_warehouse(house)
        export_all(house)
        with house.ledger.transaction() as tx:
            first, second = outgoing(tx.connection, PUBLISHER, 10)
            move(tx, first, "published", remote_id="remote-1", published_at=tx.at)
            move(tx, second, "waiting", reason_code="no_customer", reason="No customer is mapped.")
        yield house


def export_all(house: House) -> Report:
    """Export as a run would."""
    report = Report()
    for batch in export.pending(house, report):
        export.work(house, batch, report)
    return report


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# Telling


def test_every_document_stands_in_exactly_one_state(finished: House) -> None:
    now = standing(finished)["documents"]
    assert now["by_state"] == {
        "accepted": 2, "review": 0, "quarantined": 1, "duplicate": 1, "not_invoice": 1, "waiting": 1,
    }  # fmt: skip
    assert now["seen"] == sum(now["by_state"].values()) == 6
    assert set(now["by_state"]) == set(STATES)


def test_the_outcome_is_one_json_object_with_what_was_promised(finished: House) -> None:
    report = Report(new_documents=6, paid_calls=1, paid_pages=2, export_batches=[BATCH], exported_invoices=2)
    report.receipts["published"] = 1
    report.seconds = {"collect": 0.25, "read": 0.5}
    told = json.loads(json.dumps(outcome(finished, report)))
    assert told["documents"]["seen"] == told["documents"]["new"] == 6
    assert told["paid"] == {"calls": 1, "pages": 2, "by_extractor": {}}
    assert told["receipts"] == {"published": 1, "waiting": 1, "failed": 0}
    assert told["exports"] == {"batches": 1, "invoices": 2}
    assert told["seconds"] == 0.75
    assert told["rehearsal"] is True


def test_the_summary_tells_states_money_receipts_exports_places_and_what_to_do_next(finished: House) -> None:
    text = summary(finished, Report(new_documents=6, remarks=[f"remark {number}" for number in range(12)]))
    for part in (
        "REHEARSAL", "6 new documents, no paid call", "Documents (6)", "BR-CO-15", "EUR", "100.00", "no_customer",
        "2 invoices in 1 batch", "remark 9", "and 2 more", str(finished.settings.exports_directory),
        "invoices.duckdb", "invoices explain ID",
    ):  # fmt: skip
        assert part in text, part
    assert "remark 10" not in text


def test_a_mere_look_says_nothing_of_a_run(finished: House) -> None:
    text = summary(finished, None)
    assert "new documents" not in text
    assert "by this run" not in text


def test_an_empty_house_says_where_to_put_documents(house: House) -> None:
    text = summary(house, Report())
    assert "No document yet" in text
    assert str(house.settings.inbox_directory) in text
    assert standing(house)["documents"]["seen"] == 0


# Explaining


def test_the_story_goes_from_sighting_to_receipt_and_export(finished: House) -> None:
    (told,) = stories(finished, "again/bill.pdf"[6:])
    text = as_text(told)
    for part in (
        sha("bill"), "'/in/bill.pdf'", "'/in/again/bill.pdf'", "read as an e-invoice, at no cost",
        "judged accepted by rules", "'R-bill'", "119.12", f"exported in {BATCH}", "receipt ",
    ):  # fmt: skip
        assert part in text, part


def test_the_story_of_a_quarantined_document_names_every_rule(finished: House) -> None:
    text = as_text(stories(finished, "wrong.pdf")[0])
    assert "now quarantined (BR-CO-15)" in text
    assert "critical: BR-16: BR-16 does not hold." in text


def test_the_story_of_a_waiting_document_tells_of_a_possible_double_charge(finished: House) -> None:
    text = as_text(stories(finished, "scan.pdf")[0])
    assert "submitted to smartbills_com as job-7, 1 page charged; POSSIBLY CHARGED TWICE" in text


def test_what_was_only_meant_to_be_submitted_is_not_said_to_be(house: House) -> None:
    with house.ledger.transaction() as tx:
        document = see(tx, "meant")
        intend(tx, Terms("smartbills_com"), "x", document, pages=1, run="a run")
    text = as_text(stories(house, "meant.pdf")[0])
    assert "submitted to smartbills_com" not in text
    assert "whether it arrived is not known" in text


@pytest.mark.parametrize(
    "identity",
    [sha("bill"), sha("bill")[:8], sha("bill")[:8].upper(), "R-bill", "bill.pdf", "/in/bill.pdf",
     prepared_house.candidate("bill", "accepted").invoice_id],
)  # fmt: skip
def test_a_document_is_found_by_hash_invoice_number_invoice_id_and_place(finished: House, identity: str) -> None:
    assert [story["document"]["document_sha256"] for story in stories(finished, identity)] == [sha("bill")]


@pytest.mark.parametrize("identity", ["nothing", "", "%", "R-", "../etc/passwd"])
def test_what_nothing_is_named_is_said(finished: House, identity: str) -> None:
    with pytest.raises(ConfigurationError, match="nothing here is named"):
        stories(finished, identity)


def test_a_story_is_json_too(finished: House) -> None:
    told = json.loads(json.dumps(stories(finished, "bill.pdf"), default=str))
    assert told[0]["candidates"][0]["candidate"]["total_amount"] == "119.1200"
    assert "119.12" in as_text(stories(finished, "bill.pdf")[0])


# Exporting


def test_accepted_invoices_go_out_once_with_true_control_totals(loaded: House) -> None:
    report = export_all(loaded)
    assert (report.export_batches, report.exported_invoices) == ([BATCH], 2)
    assert verify(loaded.settings.exports_directory / BATCH) == []
    assert export_all(loaded).export_batches == []


def test_a_batch_written_again_is_the_same_byte_for_byte(loaded: House) -> None:
    export_all(loaded)
    directory = loaded.settings.exports_directory / BATCH
    before = contents(directory)
    assert reissue(loaded, BATCH) == directory
    assert contents(directory) == before
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    assert contents(reissue(loaded, BATCH)) == before


def test_a_batch_is_the_same_after_the_warehouse_was_made_anew(loaded: House) -> None:
    export_all(loaded)
    directory = loaded.settings.exports_directory / BATCH
    before = contents(directory)
    discard(loaded.settings.warehouse_directory)
    with loaded.ledger.transaction() as tx:
        see(tx, "something new")
    bring_to_the_warehouse(loaded)
    assert contents(reissue(loaded, BATCH)) == before


def test_a_batch_that_is_not_there_is_named(loaded: House) -> None:
    with pytest.raises(ConfigurationError, match="batch-000009"):
        reissue(loaded, "batch-000009")


def test_a_batch_whose_invoices_changed_is_not_written_again(loaded: House) -> None:
    export_all(loaded)
    before = contents(loaded.settings.exports_directory / BATCH)
    with loaded.ledger.transaction() as tx:
        judge(tx, "bill", "accepted", total_amount=prepared_house.Decimal("120.0000"))
    bring_to_the_warehouse(loaded)
    with pytest.raises(ContractError, match="differ from those issued"):
        reissue(loaded, BATCH)
    with loaded.ledger.transaction() as tx:
        judge(tx, "bill", "quarantined", "BR-16")
    bring_to_the_warehouse(loaded)
    with pytest.raises(ContractError, match="1 of 2 invoices"):
        reissue(loaded, BATCH)
    assert contents(loaded.settings.exports_directory / BATCH) == before


def test_a_batch_interrupted_before_its_files_is_finished_by_the_next_run(loaded: House) -> None:
    with loaded.ledger.reading() as connection:
        waiting = waiting_invoices(connection, 10)
    with loaded.ledger.transaction() as tx:
        assign(tx, waiting)
    report = export_all(loaded)
    assert (report.export_batches, report.exported_invoices) == ([BATCH], 2)
    assert verify(loaded.settings.exports_directory / BATCH) == []


def test_an_interrupted_batch_is_not_issued_without_all_of_its_invoices(loaded: House) -> None:
    with loaded.ledger.reading() as connection:
        waiting = waiting_invoices(connection, 10)
    with loaded.ledger.transaction() as tx:
        assign(tx, waiting)
    (loaded.settings.warehouse_directory / "current").unlink()
    report = export_all(loaded)
    assert (report.export_batches, len(report.problems)) == ([], 1)
    assert "0 of its 2 invoices" in report.problems[0]
    with loaded.ledger.reading() as connection:
        assert [batch.status for batch in export_batch_list(connection)] == ["assigned"]
    (loaded.settings.warehouse_directory / "manifest.json").unlink()
    bring_to_the_warehouse(loaded)
    assert export_all(loaded).exported_invoices == 2


def test_nothing_is_exported_that_analysts_do_not_see_yet(house: House) -> None:
    fill(house)
    assert export_all(house).export_batches == []
    with house.ledger.reading() as connection:
        assert export_counts(connection) == {"batches": 0, "invoices": 0, "waiting": 2}
