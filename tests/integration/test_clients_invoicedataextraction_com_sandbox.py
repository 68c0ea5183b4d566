"""The batch extraction client against the stand-in: the whole way, with what goes wrong on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeVar

import pytest
from invoicedataextraction_caller import FIELDS, KEYS, PROMPT, SCAN

from invoices.clients.invoicedataextraction_com import (
    AlreadyUploaded,
    CancelRequested,
    ExpiredUrl,
    Extraction,
    FileToUpload,
    InvoiceDataExtraction,
    NotEnoughCredits,
    SessionGone,
    Submission,
    SubmissionExists,
    SubmissionsPaused,
    TaskRefused,
    UploadSession,
)
from invoices.clients.transport import make_session
from invoices.errors import TransientError
from sandbox import samples_directory
from sandbox.serving import Sandbox, start

TEXT_PDF = samples_directory() / "inbox/eu/AT/PR-2026-19.pdf"
NAMES = {SCAN: f"{SCAN.stem}.png", TEXT_PDF: "PR-2026-19.pdf"}
Told = TypeVar("Told")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start(tmp_path_factory.mktemp("sandbox")) as sandbox:
        yield sandbox


class Account:
    """A client with a key of its own, and the files it uploads."""

    def __init__(self, sandbox: Sandbox, client: InvoiceDataExtraction, key: str) -> None:
        self.sandbox, self.client, self.key = sandbox, client, key
        self.contents = {name: path.read_bytes() for path, name in NAMES.items()}

    def turn(self, **knobs: object) -> None:
        self.sandbox.turn(self.key, **{f"invoicedataextraction_com__{name}": value for name, value in knobs.items()})

    def open(self, session_id: str) -> UploadSession:
        files = [FileToUpload(f"id:{name}", name, len(content)) for name, content in self.contents.items()]
        return self.client.open_session(session_id, files)

    def upload(self, session: UploadSession, name: str) -> Mapping[int, str]:
        """Put all parts of a file; return their ETags."""
        content, size = self.contents[name], session.part_sizes[f"id:{name}"]
        parts = {n: content[start : start + size] for n, start in enumerate(range(0, len(content), size), start=1)}
        urls = self.client.part_urls(session.session_id, f"id:{name}", list(parts))
        return {number: self.client.put_part(urls[number], part) for number, part in parts.items()}

    def upload_all(self, session_id: str) -> None:
        session = self.open(session_id)
        for name in self.contents:
            self.client.complete(session_id, f"id:{name}", self.upload(session, name))

    def submission(self, session_id: str, submission_id: str, **changes: Any) -> Submission:
        ids = [f"id:{name}" for name in self.contents]
        told = {"prompt": PROMPT, "output_structure": "per_invoice", "options": {"json_typed_values": True}, **changes}
        return Submission(submission_id, session_id, ids, "a rehearsal", **told)

    def wait(self, extraction_id: str) -> Extraction:
        while not (state := self.client.extraction(extraction_id, wait=2)).is_over:
            pass
        return state


@pytest.fixture
def account(sandbox: Sandbox) -> Iterator[Account]:
    key = next(KEYS)
    with make_session() as session:
        client = InvoiceDataExtraction(sandbox.invoicedataextraction_com["base_url"], key, session, deadline=20)
        yield Account(sandbox, client, key)


def again(ask: Callable[[], Told], tries: int = 2) -> Told:
    """Ask as a patient caller does; the first tries must fail for a while."""
    for _ in range(tries - 1):
        with pytest.raises(TransientError):
            ask()
    return ask()


def test_the_whole_way_with_files_in_several_parts(account: Account) -> None:
    account.turn(part_size=1000)
    before = account.client.balance()
    assert len(account.contents[NAMES[TEXT_PDF]]) > 3 * 1000
    account.upload_all("sess:1")
    extraction_id = account.client.submit(account.submission("sess:1", "sub:1"))
    state = account.wait(extraction_id)
    assert (state.status, state.credits_deducted) == ("completed", 2)
    assert {page.file_name for page in state.pages.successful} == set(NAMES.values())
    results = account.client.results(extraction_id)
    assert set(FIELDS[:3]) < set(results.columns)
    assert list(results.rows) == account.client.output_rows(extraction_id)
    assert len(results.rows) == 2
    assert account.client.balance().spendable == before.spendable - 2
    assert account.client.download(account.client.output_url(extraction_id, "xlsx")).startswith(b"PK")


def test_money_comes_exact(account: Account) -> None:
    account.upload_all("sess:money")
    extraction_id = account.client.submit(account.submission("sess:money", "sub:money"))
    account.wait(extraction_id)
    [row] = [row for row in account.client.results(extraction_id).rows if "PR-2026-19" in str(row["Invoice number"])]
    assert Decimal(row["Total amount"]) == Decimal("156.00")
    assert not any(isinstance(cell, float) for cell in row.values())


def test_every_answer_may_be_lost_and_nothing_is_paid_twice(account: Account) -> None:
    account.turn(lost_response="session=1,parts=1,put=1,complete=1,submit=1,status=1,results=1", complete_fail_n=0)
    name = NAMES[TEXT_PDF]
    account.contents = {name: account.contents[name]}
    again(lambda: account.open("sess:lost"))
    url = again(lambda: account.client.part_urls("sess:lost", f"id:{name}", [1]))[1]
    e_tag = again(lambda: account.client.put_part(url, account.contents[name]))
    again(lambda: account.client.complete("sess:lost", f"id:{name}", {1: e_tag}))
    extraction_id = again(lambda: account.client.submit(account.submission("sess:lost", "sub:lost")))
    assert again(lambda: account.client.extraction(extraction_id)).id == extraction_id
    account.wait(extraction_id)
    assert len(again(lambda: account.client.results(extraction_id)).rows) == 1
    assert [item.submission_id for item in account.client.extractions(limit=1)] == ["sub:lost"]
    assert account.wait(extraction_id).credits_deducted == 1


def test_what_was_uploaded_before_is_told_and_completing_it_again_does_no_harm(account: Account) -> None:
    account.upload_all("sess:twice")
    session = account.open("sess:twice")
    for name in account.contents:
        with pytest.raises(AlreadyUploaded):
            account.upload(session, name)
        account.client.complete("sess:twice", f"id:{name}", {1: '"any"'})


def test_an_aborted_file_wants_a_new_session(account: Account) -> None:
    name = NAMES[TEXT_PDF]
    session = account.open("sess:aborted")
    e_tags = account.upload(session, name)
    account.turn(abort_files=name)
    with pytest.raises(SessionGone):
        account.client.complete("sess:aborted", f"id:{name}", e_tags)
    with pytest.raises(SessionGone):
        account.client.part_urls("sess:aborted", "id:unknown", [1])


def test_addresses_that_expired_are_asked_for_again(account: Account) -> None:
    account.turn(put_expiry=0)
    session, name = account.open("sess:expired"), NAMES[TEXT_PDF]
    with pytest.raises(ExpiredUrl):
        account.upload(session, name)
    account.turn(put_expiry=900, download_expiry=0)
    for one in account.contents:
        account.client.complete("sess:expired", f"id:{one}", account.upload(session, one))
    extraction_id = account.client.submit(account.submission("sess:expired", "sub:expired"))
    account.wait(extraction_id)
    with pytest.raises(ExpiredUrl):
        account.client.output_rows(extraction_id)


def test_a_submission_id_belongs_to_one_request(account: Account) -> None:
    account.upload_all("sess:id")
    first = account.client.submit(account.submission("sess:id", "sub:id"))
    assert account.client.submit(account.submission("sess:id", "sub:id")) == first
    with pytest.raises(SubmissionExists) as caught:
        account.client.submit(account.submission("sess:id", "sub:id", prompt="Total amount"))
    assert (caught.value.extraction_id, caught.value.differing_fields) == (first, ("prompt",))


def test_a_file_that_is_not_complete_is_not_in_its_session(account: Account) -> None:
    account.open("sess:half")
    with pytest.raises(SessionGone, match="file_ids"):
        account.client.submit(account.submission("sess:half", "sub:half"))


@pytest.mark.parametrize("channel", ["as_task", "as_http"])
def test_a_locked_file_is_named_by_either_channel(account: Account, channel: str) -> None:
    account.turn(encrypted_files=NAMES[TEXT_PDF], task_errors=channel)
    account.upload_all(f"sess:{channel}")
    submission = account.submission(f"sess:{channel}", f"sub:{channel}")
    if channel == "as_task":
        error = account.wait(account.client.submit(submission)).error
    else:
        with pytest.raises(TaskRefused) as caught:
            account.client.submit(submission)
        error = caught.value.error
    assert (error.code, error.retryable, error.file_names) == ("ENCRYPTED_FILE", False, (NAMES[TEXT_PDF],))


def test_a_pause_is_told(account: Account) -> None:
    account.upload_all("sess:pause")
    account.turn(paused_until="further notice")
    with pytest.raises(SubmissionsPaused) as caught:
        account.client.submit(account.submission("sess:pause", "sub:pause"))
    assert caught.value.retry_after == 300


def test_an_account_without_credits_opens_no_session(account: Account) -> None:
    account.turn(credits=1)
    with pytest.raises(NotEnoughCredits) as caught:
        account.open("sess:poor")
    assert (caught.value.balance, caught.value.required) == (1, 2)


def test_a_running_extraction_is_cancelled_and_told_of(account: Account) -> None:
    account.turn(stall=1)
    account.upload_all("sess:cancel")
    extraction_id = account.client.submit(account.submission("sess:cancel", "sub:cancel"))
    assert account.client.extraction(extraction_id).status == "processing"
    asked = account.client.cancel(extraction_id)
    assert isinstance(asked, CancelRequested) or asked.status == "cancelled"
    assert account.wait(extraction_id).cancellation_reason == "user"
    details = account.client.details(extraction_id)
    assert (details.submission_id, details.extraction.status) == ("sub:cancel", "cancelled")
    account.client.delete(extraction_id)
    assert extraction_id not in {item.id for item in account.client.extractions()}


def test_a_held_call_ends_on_a_change(account: Account) -> None:
    account.turn(processing_seconds=0.5)
    account.upload_all("sess:held")
    extraction_id = account.client.submit(account.submission("sess:held", "sub:held"))
    assert account.client.extraction(extraction_id, wait=45).status == "completed"
