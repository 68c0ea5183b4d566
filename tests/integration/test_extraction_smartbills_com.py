"""Asking smartbills.com, against a vendor in memory that keeps a journal of what it charges for."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import pytest

from invoices.clients.classification import NotFound
from invoices.clients.smartbills_com import Job as RemoteJob
from invoices.clients.smartbills_com import JobSummary, RateLimit, SubmittedJob
from invoices.clients.smartbills_io import SmartBillsIo
from invoices.documents.store import DocumentStore
from invoices.errors import AccountError, ContractError, DocumentError, TransientError, UnknownOutcome
from invoices.extraction.budget import Budget, Window
from invoices.extraction.smartbills_com import LARGEST_BYTES, Asked, SmartBillsExtraction
from invoices.house import House
from invoices.ledger import Ledger
from invoices.ledger.documents import Pending, Sighting, document_row, pending, record_sighting
from invoices.ledger.extractions import extraction_rows
from invoices.settings import Settings

ANSWER = {"invoice_number": "R-1", "total": Decimal("119.10"), "lines": [{"price": Decimal("0.1000"), "quantity": 3}]}
OVERLOADED = TransientError("503")


class Dead(BaseException):
    """What a kill looks like from inside: nothing catches it."""


class Vendor:
    """A vendor in memory. ``submits``, ``looks`` and ``lists`` are what happens at each such call, in turn.

    An exception before it is carried out is raised; ``(exception,)`` is raised after the vendor has done its work;
    None, and everything after the last, goes well.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.charges: list[str] = []  # by hash of the content: the journal
        self.jobs_kept: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.submits: list[Any] = []
        self.looks: list[Any] = []
        self.lists: list[Any] = []
        self.files: list[Any] = []
        self.limits: RateLimit | None = None
        self.listed: Callable[[Iterable[JobSummary]], list[JobSummary]] = list

    def submit(self, content: bytes, file_name: str, media_type: str) -> SubmittedJob:
        self.calls.append("submit")
        document = hashlib.sha256(content).hexdigest()
        assert (file_name, media_type) == (f"{document}.pdf", "application/pdf")
        with self.ledger.reading() as connection:  # another connection: it sees only what is committed
            (row,) = extraction_rows(connection, document)
        assert row["status"] == "intended"
        happens = self.submits.pop(0) if self.submits else None
        if isinstance(happens, BaseException):
            raise happens
        self.charges.append(document)
        job = f"job-{len(self.charges)}"
        self.jobs_kept[job] = content
        if happens is not None:
            raise happens[0]
        return SubmittedJob(job, "processing", dt.datetime.now(dt.UTC), f"/files/{job}", self.limits)

    def job(self, job_id: str) -> RemoteJob:
        self.calls.append("look")
        happens = self.looks.pop(0) if self.looks else None
        if isinstance(happens, BaseException):
            raise happens
        if happens is not None:
            return RemoteJob(job_id, *happens)
        return RemoteJob(job_id, "completed", ANSWER)

    def jobs(self) -> list[JobSummary]:
        self.calls.append("list")
        happens = self.lists.pop(0) if self.lists else None
        if happens is not None:
            raise happens
        now = dt.datetime.now(dt.UTC)
        return self.listed(JobSummary(job, "processing", now, f"/files/{job}") for job in self.jobs_kept)

    def file(self, file_url: str) -> bytes:
        self.calls.append("file")
        happens = self.files.pop(0) if self.files else None
        if happens is not None:
            raise happens
        return self.jobs_kept[file_url.removeprefix("/files/")]


class Clock:
    """A clock that moves while somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 0.0, [0.0][:0]

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Desk:
    """A ledger, a store and a vendor, and everything needed to ask again in a new process."""

    def __init__(self, ledger: Ledger, store: DocumentStore) -> None:
        self.ledger, self.store, self.vendor, self.clock = ledger, store, Vendor(ledger), Clock()
        self.windows = [Window(1_000, 60)]
        self.repeat = True
        self.deadline_minutes = 30.0
        self.asked = Asked()
        self.done = 0

    def collect(self, *contents: bytes, media_type: str = "application/pdf") -> list[str]:
        shas = [self.store.put(content) for content in contents]
        with self.ledger.transaction() as tx:
            for sha in shas:
                record_sighting(tx, Sighting(sha[:32], sha, media_type, 1, "inbox", "folder", f"/{sha}"))
        return shas

    def waiting(self) -> list[Pending]:
        with self.ledger.reading() as connection:
            return pending(connection, "read", 100) + pending(connection, "ask", 100)

    def ask(self) -> bool:
        """Ask about everything that waits, as a run that starts anew would."""
        extraction = SmartBillsExtraction(
            self.ledger, self.store, self.vendor, Budget(self.windows, clock=self.clock),
            repeat_after_unknown=self.repeat, deadline_minutes=self.deadline_minutes, sleep=self.clock.sleep,
        )  # fmt: skip
        self.asked = Asked()
        return extraction.ask(self.waiting(), self.asked, self._count)

    def _count(self, concluded: int) -> None:
        self.done += concluded

    def document(self, sha: str) -> dict[str, Any]:
        with self.ledger.reading() as connection:
            row = document_row(connection, sha)
        assert row is not None
        return dict(row)

    def stands(self, sha: str) -> tuple[str, str, str]:
        row = self.document(sha)
        return row["stage"], row["state"], row["reason_code"]

    def extractions(self, sha: str) -> list[dict[str, Any]]:
        with self.ledger.reading() as connection:
            return [dict(row) for row in extraction_rows(connection, sha)]


@pytest.fixture
def desk(ledger: Ledger, home: Settings) -> Desk:
    """A desk with nothing on it."""
    return Desk(ledger, DocumentStore(home.documents_directory))


# All goes well


def test_each_document_is_charged_once_and_its_answer_waits_to_be_judged(desk: Desk) -> None:
    shas = desk.collect(b"a", b"b", b"c")
    assert desk.ask()
    assert sorted(desk.vendor.charges) == sorted(shas)
    assert {desk.stands(sha) for sha in shas} == {("judge", "waiting", "answered")}
    assert (desk.asked.calls, desk.asked.pages, desk.asked.answered, desk.asked.problems) == (3, 3, 3, [])
    assert desk.done == 3
    assert {row["status"] for sha in shas for row in desk.extractions(sha)} == {"answered"}


def test_documents_are_submitted_in_the_order_of_arrival(desk: Desk) -> None:
    shas = desk.collect(*(bytes([65 + number]) for number in range(6)))
    desk.ask()
    assert desk.vendor.charges == shas


def test_the_intent_is_in_the_ledger_before_the_request_leaves(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.vendor.submits = [Dead()]  # the vendor itself asserts the intent, then the process dies
    with pytest.raises(Dead):
        desk.ask()
    assert [row["status"] for row in desk.extractions(sha)] == ["intended"]


def test_decimals_in_an_answer_stay_exact_text(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.ask()
    payload = json.loads(desk.extractions(sha)[0]["payload"])
    assert payload == {"invoice_number": "R-1", "total": "119.10", "lines": [{"price": "0.1000", "quantity": 3}]}


def test_half_a_character_in_an_answer_does_not_stop_the_run(desk: Desk) -> None:
    broken, sound = desk.collect(b"a", b"b")
    desk.vendor.looks = [("completed", {"supplier": "Caf\u00e9 \U0001f9fe \ud83e", "total": Decimal("1.10")})]
    assert desk.ask()
    assert json.loads(desk.extractions(broken)[0]["payload"]) == {
        "supplier": "Caf\u00e9 \U0001f9fe \ufffd", "total": "1.10",
    }  # fmt: skip
    assert desk.stands(sound)[0] == "judge"


def test_a_completed_job_without_data_is_an_empty_answer(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.vendor.looks = [("completed", None)]
    desk.ask()
    assert desk.extractions(sha)[0]["payload"] == "{}"


def test_words_that_nobody_knows_mean_not_yet(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.vendor.looks = [("processing",), ("QUEUED",), ("\u5b8c\u4e86",), ("Completed ",)]
    assert desk.ask()
    assert desk.stands(sha) == ("judge", "waiting", "answered")
    assert desk.vendor.calls.count("look") == 5
    assert len(desk.vendor.charges) == 1


def test_nothing_is_asked_where_nothing_waits(desk: Desk) -> None:
    assert desk.ask()
    assert desk.vendor.calls == []


# What the vendor does not take


def test_a_kind_of_file_that_the_vendor_does_not_read_costs_nothing(desk: Desk) -> None:
    (sha,) = desk.collect(b"<xml/>", media_type="application/xml")
    assert desk.ask()
    assert desk.stands(sha) == ("done", "quarantined", "extractor_cannot_read")
    assert (desk.vendor.calls, desk.asked.set_aside, desk.done) == ([], 1, 1)


def test_a_file_beyond_the_vendors_limit_costs_nothing(desk: Desk) -> None:
    small, large = desk.collect(b"x" * LARGEST_BYTES, b"x" * (LARGEST_BYTES + 1))
    desk.ask()
    assert desk.stands(small)[0] == "judge"
    assert desk.stands(large) == ("done", "quarantined", "extractor_cannot_read")
    assert desk.vendor.charges == [small]


def test_a_document_that_the_store_lost_or_that_was_altered_harms_no_other(desk: Desk) -> None:
    lost, altered, sound = desk.collect(b"lost", b"altered", b"sound")
    desk.store.path(lost).unlink()
    desk.store.path(altered).write_bytes(b"something else")
    assert desk.ask()
    assert desk.stands(lost) == ("done", "quarantined", "missing")
    assert desk.stands(altered) == ("done", "quarantined", "altered")
    assert desk.stands(sound)[0] == "judge"
    assert desk.vendor.charges == [sound]


def test_a_refused_document_is_set_aside_and_the_next_one_asked(desk: Desk) -> None:
    bad, good = desk.collect(b"bad", b"good")
    desk.vendor.submits = [DocumentError("not readable", reason_code="content_refused")]
    assert desk.ask()
    assert desk.stands(bad) == ("done", "quarantined", "content_refused")
    assert desk.stands(good)[0] == "judge"


def test_a_failed_job_is_set_aside_with_the_vendors_words(desk: Desk) -> None:
    first, second = desk.collect(b"a", b"b")
    desk.vendor.looks = [("failed", None, "UNREADABLE", "blank page"), ("failed",)]
    assert desk.ask()
    assert desk.stands(first) == desk.stands(second) == ("done", "quarantined", "extraction_failed")
    assert "blank page" in desk.document(first)["reason"]
    assert "no reason given" in desk.document(second)["reason"]
    assert desk.asked.set_aside == 2


def test_a_job_that_never_ends_is_given_up_at_the_deadline(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.deadline_minutes = 1e-6
    desk.vendor.looks = [("processing",)] * 100
    assert desk.ask()
    assert desk.stands(sha) == ("done", "quarantined", "extraction_stuck")
    assert "processing" in desk.document(sha)["reason"]


def test_a_job_that_the_vendor_forgot_is_set_aside(desk: Desk) -> None:
    first, second = desk.collect(b"a", b"b")
    desk.vendor.looks = [NotFound("404")]
    assert desk.ask()
    assert desk.stands(first) == ("done", "quarantined", "extraction_lost")
    assert desk.stands(second)[0] == "judge"


# After an unknown outcome


def test_a_submission_that_arrived_is_found_by_its_bytes_and_not_charged_again(desk: Desk) -> None:
    first, second = desk.collect(b"a", b"b")
    desk.vendor.submits = [(UnknownOutcome("the line broke"),), (UnknownOutcome("the line broke"),)]
    assert desk.ask()
    assert desk.vendor.charges == [first, second]
    assert desk.stands(first) == desk.stands(second) == ("judge", "waiting", "answered")
    assert not any(row["possible_double_charge"] for sha in (first, second) for row in desk.extractions(sha))
    assert (desk.asked.calls, desk.asked.problems) == (2, [])


def test_a_job_of_other_bytes_or_of_long_ago_is_not_taken_for_ours(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.vendor.jobs_kept = {"job-x": b"other", "job-old": b"a"}
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(hours=2)
    desk.vendor.listed = lambda found: [
        JobSummary(s.id, s.status, long_ago if s.id == "job-old" else None, s.file_url) for s in found
    ]
    desk.vendor.submits = [UnknownOutcome("?")]
    assert desk.ask()
    (row,) = desk.extractions(sha)
    assert row["remote_id"] == "job-1"
    assert row["possible_double_charge"]


def test_a_job_that_another_document_holds_already_is_not_looked_into(desk: Desk) -> None:
    desk.collect(b"a", b"b")
    desk.vendor.submits = [None, (UnknownOutcome("?"),)]
    desk.vendor.looks = [("processing",)] * 3
    assert desk.ask()
    assert desk.vendor.calls.count("file") == 1


def test_with_an_unusable_list_the_submission_is_repeated_once_and_flagged(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.vendor.submits = [(UnknownOutcome("?"),)]
    desk.vendor.lists = [ContractError("the list is HTML")]
    assert desk.ask()
    assert desk.vendor.charges == [sha, sha]
    (row,) = desk.extractions(sha)
    assert (row["possible_double_charge"], row["status"]) == (True, "answered")


def test_after_a_second_unknown_outcome_a_person_decides(desk: Desk) -> None:
    sha, other = desk.collect(b"a", b"b")
    desk.vendor.submits = [UnknownOutcome("?"), UnknownOutcome("?")]
    assert desk.ask()
    assert desk.stands(sha) == ("done", "quarantined", "outcome_unknown")
    assert desk.stands(other)[0] == "judge"
    assert desk.vendor.calls.count("submit") == 3
    assert any(sha[:12] in problem for problem in desk.asked.problems)
    assert desk.ask()
    assert desk.vendor.calls.count("submit") == 3


def test_no_submission_is_repeated_where_the_settings_say_so(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.repeat = False
    desk.vendor.submits = [UnknownOutcome("?")]
    assert desk.ask()
    assert desk.stands(sha) == ("done", "quarantined", "outcome_unknown")
    assert desk.vendor.calls.count("submit") == 1


def test_a_list_that_is_overloaded_is_asked_again_before_anything_is_repeated(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.vendor.submits = [(UnknownOutcome("?"),)]
    desk.vendor.lists = [OVERLOADED, OVERLOADED]
    desk.vendor.files = [TransientError("cut")]
    assert desk.ask()
    assert desk.vendor.charges == [sha]
    assert desk.stands(sha) == ("judge", "waiting", "answered")


@pytest.mark.parametrize("failure", [OVERLOADED, AccountError("401")])
def test_a_list_that_stays_away_leaves_the_document_waiting(desk: Desk, failure: Exception) -> None:
    sha, other = desk.collect(b"a", b"b")
    desk.vendor.submits = [(UnknownOutcome("?"),)]
    desk.vendor.lists = [failure] * 50
    assert not desk.ask()
    assert desk.stands(sha)[:2] == desk.stands(other)[:2] == ("ask", "waiting")
    assert desk.vendor.charges == [sha]
    desk.vendor.lists = []
    assert desk.ask()
    assert desk.vendor.charges == [sha, other]


def test_the_flag_of_a_repeat_outlives_a_run_that_had_to_stop(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.vendor.submits = [(UnknownOutcome("?"),), AccountError("402: no credit")]
    desk.vendor.lists = [ContractError("no list")]
    assert not desk.ask()
    assert desk.ask()
    (row,) = desk.extractions(sha)
    assert row["possible_double_charge"]
    assert desk.vendor.charges == [sha, sha]


def test_a_repeat_that_was_refused_is_not_repeated_a_second_time_after_another_unknown(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.vendor.submits = [(UnknownOutcome("?"),), AccountError("402: no credit"), (UnknownOutcome("?"),)]
    desk.vendor.lists = [ContractError("no list")] * 9
    assert not desk.ask()
    assert desk.ask()
    assert desk.stands(sha) == ("done", "quarantined", "outcome_unknown")
    assert desk.vendor.charges == [sha, sha]


# Killed and started again


def test_a_run_killed_before_the_vendor_was_reached_asks_once_more_and_flags_it(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.vendor.submits = [Dead()]
    with pytest.raises(Dead):
        desk.ask()
    assert desk.ask()
    assert desk.vendor.charges == [sha]
    assert desk.extractions(sha)[0]["possible_double_charge"]  # the list is undocumented: it may lack the job


def test_a_run_killed_after_the_vendor_was_reached_finds_its_job(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.vendor.submits = [(Dead(),)]
    with pytest.raises(Dead):
        desk.ask()
    assert desk.ask()
    assert desk.vendor.charges == [sha]
    assert not desk.extractions(sha)[0]["possible_double_charge"]


def test_a_submitted_job_is_looked_at_again_and_not_submitted_again(desk: Desk) -> None:
    shas = desk.collect(b"a", b"b")
    desk.vendor.looks = [Dead()]
    with pytest.raises(Dead):
        desk.ask()
    assert {row["status"] for sha in shas for row in desk.extractions(sha)} == {"submitted"}
    desk.vendor.calls.clear()
    assert desk.ask()
    assert desk.vendor.calls == ["look", "look"]
    assert desk.asked.calls == 0
    assert {desk.stands(sha)[0] for sha in shas} == {"judge"}


def test_a_run_killed_while_it_waits_for_its_turn_has_written_no_intent(desk: Desk) -> None:
    desk.windows = [Window(1, 50)]
    first, second = desk.collect(b"a", b"b")
    sleeping = desk.clock.sleep

    def die(_seconds: float) -> None:
        raise Dead

    desk.clock.sleep = die  # type: ignore[method-assign]  # the process dies in its sleep
    with pytest.raises(Dead):
        desk.ask()
    assert desk.vendor.charges == [first]
    assert desk.extractions(second) == []
    desk.clock.sleep, desk.windows = sleeping, [Window(100, 50)]  # type: ignore[method-assign]
    assert desk.ask()
    assert desk.vendor.charges == [first, second]
    assert not any(row["possible_double_charge"] for sha in (first, second) for row in desk.extractions(sha))


@pytest.mark.parametrize("kills", [1, 2, 3])
def test_a_run_killed_while_the_vendor_wanted_a_pause_has_nothing_to_recover(desk: Desk, kills: int) -> None:
    (sha,) = desk.collect(b"a")
    sleeping = desk.clock.sleep

    def die(_seconds: float) -> None:
        raise Dead

    for _ in range(kills):
        desk.vendor.submits = [TransientError("429", retry_after=5)]
        desk.clock.sleep = die  # type: ignore[method-assign]  # the process dies in its sleep
        with pytest.raises(Dead):
            desk.ask()
    desk.clock.sleep = sleeping  # type: ignore[method-assign]
    assert desk.ask()
    assert desk.vendor.charges == [sha]
    assert not desk.extractions(sha)[0]["possible_double_charge"]


# Patience


def test_a_refusal_with_a_wait_is_heeded_to_the_second_and_then_tried_again(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.vendor.submits = [TransientError("429", retry_after=7.5)]
    assert desk.ask()
    assert 7.5 in desk.clock.slept
    assert desk.vendor.charges == [sha]
    assert not desk.extractions(sha)[0]["possible_double_charge"]


def test_a_wait_beyond_patience_leaves_the_documents_for_a_later_run_without_a_problem(desk: Desk) -> None:
    shas = desk.collect(b"a", b"b")
    desk.vendor.submits = [TransientError("429", retry_after=1_800)]
    assert not desk.ask()
    assert {desk.stands(sha) for sha in shas} == {("ask", "waiting", "rate_limited")}
    assert (desk.asked.problems, desk.vendor.charges) == ([], [])
    assert sum(desk.clock.slept) < 60


def test_a_look_that_has_to_wait_leaves_the_submitted_document_waiting(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.vendor.looks = [TransientError("429", retry_after=3_000)]
    assert not desk.ask()
    assert desk.stands(sha) == ("ask", "waiting", "rate_limited")
    assert desk.ask()
    assert desk.vendor.charges == [sha]


def test_a_used_up_plan_ends_the_vendors_part_of_the_run(desk: Desk) -> None:
    desk.windows = [Window(4, 3600)]
    shas = desk.collect(*(bytes([number]) for number in range(6)))
    assert not desk.ask()
    assert len(desk.vendor.calls) == 4
    assert len(set(desk.vendor.charges)) == len(desk.vendor.charges)
    assert {desk.stands(sha)[1] for sha in shas} == {"waiting"}


def test_the_vendors_own_count_of_what_is_left_is_believed(desk: Desk) -> None:
    desk.collect(b"a", b"b")
    desk.vendor.limits = RateLimit(10, 0, dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    assert not desk.ask()
    assert desk.vendor.calls == ["submit"]


@pytest.mark.parametrize("status", ["401", "402", "403"])
def test_an_account_that_is_refused_stops_at_once_with_everything_waiting(desk: Desk, status: str) -> None:
    shas = desk.collect(b"a", b"b", b"c")
    desk.vendor.submits = [None, AccountError(status)]
    desk.vendor.looks = [("processing",)] * 9
    assert not desk.ask()
    assert desk.vendor.calls.count("submit") == 2
    assert {desk.stands(sha) for sha in shas} == {("ask", "waiting", "account_stopped")}
    (problem,) = desk.asked.problems
    assert status in problem
    desk.vendor.looks = []
    assert desk.ask()
    assert desk.vendor.charges == shas


def test_a_vendor_that_is_down_is_left_alone_after_a_few_tries(desk: Desk) -> None:
    shas = desk.collect(b"a", b"b")
    desk.vendor.submits = [OVERLOADED] * 50
    assert not desk.ask()
    assert desk.vendor.calls == ["submit"] * 5
    assert {desk.stands(sha) for sha in shas} == {("ask", "waiting", "vendor_unavailable")}
    assert len(desk.asked.problems) == 1
    assert desk.vendor.charges == []


def test_success_in_between_forgives_earlier_failures(desk: Desk) -> None:
    shas = desk.collect(b"a", b"b", b"c")
    desk.vendor.submits = [OVERLOADED, OVERLOADED, OVERLOADED, None] * 3
    assert desk.ask()
    assert desk.vendor.charges == shas


def test_a_vendor_that_takes_no_submission_as_agreed_is_left_alone_and_asked_again_later(desk: Desk) -> None:
    shas = desk.collect(b"a", b"b")
    for _ in range(3):
        desk.vendor.submits = [ContractError("404: no such route")]
        assert not desk.ask()
        assert {desk.stands(sha) for sha in shas} == {("ask", "waiting", "contract_changed")}
        assert len(desk.asked.problems) == 1
    assert desk.ask()
    assert desk.vendor.charges == shas
    assert not any(row["possible_double_charge"] for sha in shas for row in desk.extractions(sha))


def test_an_answer_about_a_paid_job_that_is_not_understood_is_asked_for_again(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.vendor.looks = [ContractError("an HTML page")] * 2
    assert desk.ask()
    assert desk.stands(sha) == ("judge", "waiting", "answered")


def test_several_answers_that_are_not_understood_stop_the_vendor_and_throw_nothing_away(desk: Desk) -> None:
    shas = desk.collect(b"a", b"b")
    desk.vendor.looks = [ContractError("an HTML page")] * 50
    assert not desk.ask()
    assert {desk.stands(sha) for sha in shas} == {("ask", "waiting", "contract_changed")}
    assert desk.vendor.calls.count("look") == 5
    desk.vendor.looks = []
    assert desk.ask()
    assert desk.vendor.charges == shas


def test_a_job_that_is_never_understood_is_set_aside_at_the_deadline_so_that_others_go_on(desk: Desk) -> None:
    odd, sound = desk.collect(b"a", b"b")
    desk.deadline_minutes = 1e-6
    desk.vendor.looks = [ContractError("its extracted_data is no object")]
    assert desk.ask()
    assert desk.stands(odd) == ("done", "quarantined", "extraction_lost")
    assert desk.stands(sound)[0] == "judge"


def test_a_second_run_with_nothing_new_writes_nothing(desk: Desk) -> None:
    (sha,) = desk.collect(b"a")
    desk.vendor.submits = [AccountError("401")] * 2
    desk.ask()
    before = desk.document(sha)
    desk.ask()
    assert desk.document(sha) == before


def test_the_house_makes_the_real_client_for_the_same_port(home: Settings) -> None:
    settings = Settings(home=home.home, smartbills_com={"api_key": "k"}, smartbills_io={"api_key": "k"})  # type: ignore[arg-type]  # pydantic converts
    with House(settings, vendors=lambda _closing: settings) as house:
        assert {"submit", "job", "jobs", "file"} <= set(dir(house.smartbills_com))
        assert isinstance(house.smartbills_io, SmartBillsIo)
