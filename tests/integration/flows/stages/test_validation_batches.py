"""Validation is cut by the weight of the answers; what kills its process is found by halving, and quarantined alone."""

from __future__ import annotations

import importlib
import os
import signal
import traceback
from collections import Counter
from typing import Any

import pytest

from flows.bootstrap import open_app
from flows.stages import validate
from flows.validation_batches import (
    MAX_BYTES_PER_BATCH,
    MAX_RECORDS_PER_BATCH,
    MAX_RECORDS_PER_DOCUMENT,
    WeighedDocument,
    cut_into_batches,
    iter_validation_batches,
)
from invoices.app import App
from invoices.ledger.documents import PendingDocument, find_document_row
from invoices.ledger.extractions import AnswerWeight
from invoices.ledger.stage_attempts import StageAttempt, list_stage_attempts, record_stage_attempt
from invoices.ledger.validations import list_candidate_rows
from invoices.run_report import RunReport
from invoices.settings import Settings
from tests.integration.flows.stages.test_validate import VALID_PAYLOAD, add_answered_document, run_validate_stage


class KillingReport(RunReport):
    """A report that kills the process where verdicts come in, just before they are committed, if it is armed."""

    is_armed = False

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, or kill the process."""
        if name == "verdicts" and isinstance(value, Counter) and value and self.is_armed:
            os.kill(os.getpid(), signal.SIGKILL)
        super().__setattr__(name, value)


def weigh(name: str, records: int = 1, size: int = 100, attempt: StageAttempt | None = None) -> WeighedDocument:
    """Return a document with an answer of so many records and bytes."""
    document = PendingDocument(name, 1, "application/xml", None, None, 1)  # type: ignore[arg-type]  # the time is not read
    return WeighedDocument(document, AnswerWeight(size, records), attempt)


def list_batch_names(*documents: WeighedDocument, batch_size: int = 1_000) -> list[str]:
    """Return the batches as the names of their documents, joined."""
    return ["".join(d.document_sha256 for d in batch) for batch in cut_into_batches(documents, batch_size)]


def test_batches_end_at_the_number_of_documents_records_or_bytes() -> None:
    half = MAX_RECORDS_PER_BATCH // 2
    assert list_batch_names(*map(weigh, "abcde"), batch_size=2) == ["ab", "cd", "e"]
    assert list_batch_names(*(weigh(name, half) for name in "abc")) == ["ab", "c"]
    assert list_batch_names(*(weigh(name, 1, MAX_BYTES_PER_BATCH) for name in "ab")) == ["a", "b"]
    assert list_batch_names(weigh("a"), weigh("b", MAX_RECORDS_PER_BATCH + 1), weigh("c")) == ["a", "b", "c"]
    assert list_batch_names() == []


def test_a_batch_that_did_not_end_is_halved_and_kept_apart_from_others() -> None:
    def killed(name: str, count: int) -> WeighedDocument:
        return weigh(name, attempt=StageAttempt(name, 1, 0, count))

    assert list_batch_names(weigh("a"), *(killed(name, 4) for name in "bcde"), weigh("f")) == ["a", "bc", "de", "f"]
    assert list_batch_names(*(killed(name, 3) for name in "abc")) == ["a", "b", "c"]
    assert list_batch_names(killed("a", 1), killed("b", 1)) == ["a", "b"]


def test_a_document_with_repeated_attempts_comes_last(app: App) -> None:
    first, second, third = (add_answered_document(app, VALID_PAYLOAD, name) for name in "abc")
    with app.ledger.begin_transaction() as tx:
        record_stage_attempt(tx, "validate", [first, second])
        record_stage_attempt(tx, "validate", [first])
    batches = [[d.document_sha256 for d in batch] for batch in iter_validation_batches(app)]
    assert batches == [[second], [third], [first]]


def run_until_killed(settings: Settings, poison: str) -> int:
    """Validate in a forked process, which is killed where it is about to record ``poison``; return its status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with open_app(settings) as app, app.hold_stage_lease("validate"):
                for batch in validate.iter_pending_batches(app, RunReport()):
                    KillingReport.is_armed = poison in {document.document_sha256 for document in batch}
                    validate.process_batch(app, batch, KillingReport())
            status = 0
        finally:
            traceback.print_exc()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_document_that_kills_the_process_is_found_by_halving_and_quarantined_while_the_others_are_validated(
    app: App, app_settings: Settings
) -> None:
    before, poison, after = (
        add_answered_document(app, VALID_PAYLOAD.replace('"1"', f'"{name}"'), name) for name in ("a", "poison", "b")
    )
    for name in ("expectations.suites", "flows.verdict_recorder"):
        importlib.import_module(name)  # once, and not in each fork
    app.ledger.close()  # no connection is shared with the forks

    def read_states() -> list[str]:
        with app.ledger.open_snapshot() as connection:
            rows = [find_document_row(connection, sha256) or {} for sha256 in (before, poison, after)]
        app.ledger.close()
        return [row["state"] if row["stage"] == "done" else row["stage"] for row in rows]

    assert run_until_killed(app_settings, poison) == -signal.SIGKILL  # all three at once
    assert read_states() == ["validate", "validate", "validate"]
    assert run_until_killed(app_settings, poison) == -signal.SIGKILL  # one by one, in order of arrival
    assert read_states() == ["quarantined", "validate", "validate"]
    assert run_until_killed(app_settings, poison) == -signal.SIGKILL  # the other one first
    assert read_states() == ["quarantined", "validate", "quarantined"]
    assert run_until_killed(app_settings, poison) == 0
    assert read_states() == ["quarantined", "quarantined", "quarantined"]
    with app.ledger.open_snapshot() as connection:
        row = find_document_row(connection, poison) or {}
        assert (row["reason_code"], "killed twice" in row["reason"]) == ("validation_killed", True)
        assert list_stage_attempts(connection, "validate", [before, poison, after]) == []
        assert [len(list_candidate_rows(connection, sha256)) for sha256 in (before, poison, after)] == [1, 0, 1]


@pytest.mark.parametrize(("error", "attempts"), [(RuntimeError, 0), (KeyboardInterrupt, 0), (MemoryError, 1)])
def test_only_a_process_that_cannot_go_on_leaves_its_attempt(
    app: App, error: type[BaseException], attempts: int
) -> None:
    class FailingReport(RunReport):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "verdicts" and value:
                raise error
            super().__setattr__(name, value)

    document = add_answered_document(app, VALID_PAYLOAD, "a")
    [batch] = validate.iter_pending_batches(app, RunReport())
    with pytest.raises(error), app.hold_stage_lease("validate"):
        validate.process_batch(app, batch, FailingReport())
    with app.ledger.open_snapshot() as connection:
        assert len(list_stage_attempts(connection, "validate", [document])) == attempts


def test_a_document_with_more_records_than_the_limit_goes_to_review_and_names_the_limit(app: App) -> None:
    heavy = add_answered_document(app, '{"invoices": [' + "{}," * MAX_RECORDS_PER_DOCUMENT + "{}]}", "heavy")
    good = add_answered_document(app, VALID_PAYLOAD, "good")
    report = run_validate_stage(app)
    with app.ledger.open_snapshot() as connection:
        heavy_row, good_row = (find_document_row(connection, sha256) or {} for sha256 in (heavy, good))
    assert (heavy_row["state"], heavy_row["reason_code"], good_row["stage"]) == ("review", "too_many_records", "done")
    assert "100,002" in heavy_row["reason"]
    assert "100,000" in heavy_row["reason"]
    assert [problem for problem in report.problems if heavy[:12] in problem] == report.problems
