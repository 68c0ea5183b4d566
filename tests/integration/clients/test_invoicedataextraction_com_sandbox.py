"""The invoicedataextraction.com client against the sandbox: from the upload to the output, with faults on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeVar

import pytest

from invoices.clients.http_client import make_session
from invoices.clients.invoicedataextraction_com import (
    AlreadyUploaded,
    ExpiredUrl,
    Extraction,
    FileToUpload,
    InvoiceDataExtractionClient,
    NotEnoughCredits,
    PendingCancellation,
    SessionGone,
    Submission,
    SubmissionExists,
    SubmissionsPaused,
    TaskRefused,
    UploadSession,
)
from invoices.errors import TransientError
from sandbox import get_samples_directory
from sandbox.process import Sandbox, start_sandbox
from tests.integration.sandbox.invoicedataextraction_com_api_client import API_KEYS, FIELD_NAMES, PROMPT, SCAN_PATH

TEXT_PDF = get_samples_directory() / "inbox/eu/AT/PR-2026-19.pdf"
FILE_NAMES = {SCAN_PATH: f"{SCAN_PATH.stem}.png", TEXT_PDF: "PR-2026-19.pdf"}
Result = TypeVar("Result")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with start_sandbox(tmp_path_factory.mktemp("sandbox")) as running_sandbox:
        yield running_sandbox


class SandboxAccount:
    """A client with a key of its own, and the files it uploads."""

    def __init__(self, sandbox: Sandbox, client: InvoiceDataExtractionClient, api_key: str) -> None:
        self.sandbox, self.client, self.api_key = sandbox, client, api_key
        self.contents = {name: path.read_bytes() for path, name in FILE_NAMES.items()}

    def update_sandbox_settings(self, **sandbox_settings: object) -> None:
        self.sandbox.update_settings(
            self.api_key, **{f"invoicedataextraction_com__{name}": value for name, value in sandbox_settings.items()}
        )

    def open_session(self, session_id: str) -> UploadSession:
        files = [FileToUpload(f"id:{name}", name, len(content)) for name, content in self.contents.items()]
        return self.client.open_session(session_id, files)

    def upload_parts(self, session: UploadSession, name: str) -> Mapping[int, str]:
        """Upload all parts of a file; return their ETags."""
        content, size = self.contents[name], session.part_sizes[f"id:{name}"]
        parts = {n: content[start : start + size] for n, start in enumerate(range(0, len(content), size), start=1)}
        urls = self.client.request_part_urls(session.session_id, f"id:{name}", list(parts))
        return {number: self.client.upload_part(urls[number], part) for number, part in parts.items()}

    def upload_all_files(self, session_id: str) -> None:
        session = self.open_session(session_id)
        for name in self.contents:
            self.client.finish_file_upload(session_id, f"id:{name}", self.upload_parts(session, name))

    def build_submission(self, session_id: str, submission_id: str, **changes: Any) -> Submission:
        ids = [f"id:{name}" for name in self.contents]
        values = {
            "prompt": PROMPT,
            "output_structure": "per_invoice",
            "options": {"json_typed_values": True},
            **changes,
        }
        return Submission(submission_id, session_id, ids, "a rehearsal", **values)

    def wait_until_final(self, extraction_id: str) -> Extraction:
        while not (state := self.client.poll_extraction(extraction_id, hold_seconds=2)).is_final:
            pass
        return state


@pytest.fixture
def account(sandbox: Sandbox) -> Iterator[SandboxAccount]:
    api_key = next(API_KEYS)
    with make_session() as session:
        client = InvoiceDataExtractionClient(
            sandbox.invoicedataextraction_com["base_url"], api_key, session, deadline=20
        )
        yield SandboxAccount(sandbox, client, api_key)


def retry_until_success(call: Callable[[], Result], tries: int = 2) -> Result:
    """Call ``tries`` times; all but the last must raise TransientError."""
    for _ in range(tries - 1):
        with pytest.raises(TransientError):
            call()
    return call()


def test_files_in_several_parts_are_uploaded_extracted_and_downloaded(account: SandboxAccount) -> None:
    account.update_sandbox_settings(part_size=1000)
    balance = account.client.fetch_balance()
    assert len(account.contents[FILE_NAMES[TEXT_PDF]]) > 3 * 1000
    account.upload_all_files("sess:1")
    extraction_id = account.client.submit_extraction(account.build_submission("sess:1", "sub:1"))
    state = account.wait_until_final(extraction_id)
    assert (state.status, state.credits_deducted) == ("completed", 2)
    assert {page.file_name for page in state.pages.successful} == set(FILE_NAMES.values())
    results = account.client.fetch_results(extraction_id)
    assert set(FIELD_NAMES[:3]) < set(results.columns)
    assert list(results.rows) == account.client.fetch_output_rows(extraction_id)
    assert len(results.rows) == 2
    assert account.client.fetch_balance().credits_available == balance.credits_available - 2
    assert account.client.download_output(account.client.fetch_output_url(extraction_id, "xlsx")).startswith(b"PK")


def test_amounts_are_exact(account: SandboxAccount) -> None:
    account.upload_all_files("sess:money")
    extraction_id = account.client.submit_extraction(account.build_submission("sess:money", "sub:money"))
    account.wait_until_final(extraction_id)
    [row] = [
        row for row in account.client.fetch_results(extraction_id).rows if "PR-2026-19" in str(row["Invoice number"])
    ]
    assert Decimal(row["Total amount"]) == Decimal("156.00")
    assert not any(isinstance(cell, float) for cell in row.values())


def test_every_answer_may_be_lost_and_nothing_is_paid_twice(account: SandboxAccount) -> None:
    account.update_sandbox_settings(
        lost_response="session=1,parts=1,put=1,complete=1,submit=1,status=1,results=1", complete_fail_n=0
    )
    name = FILE_NAMES[TEXT_PDF]
    account.contents = {name: account.contents[name]}
    retry_until_success(lambda: account.open_session("sess:lost"))
    url = retry_until_success(lambda: account.client.request_part_urls("sess:lost", f"id:{name}", [1]))[1]
    e_tag = retry_until_success(lambda: account.client.upload_part(url, account.contents[name]))
    retry_until_success(lambda: account.client.finish_file_upload("sess:lost", f"id:{name}", {1: e_tag}))
    extraction_id = retry_until_success(
        lambda: account.client.submit_extraction(account.build_submission("sess:lost", "sub:lost"))
    )
    assert retry_until_success(lambda: account.client.poll_extraction(extraction_id)).id == extraction_id
    account.wait_until_final(extraction_id)
    assert len(retry_until_success(lambda: account.client.fetch_results(extraction_id)).rows) == 1
    assert [item.submission_id for item in account.client.list_extractions(limit=1)] == ["sub:lost"]
    assert account.wait_until_final(extraction_id).credits_deducted == 1


def test_uploading_again_is_refused_and_completing_again_does_no_harm(account: SandboxAccount) -> None:
    account.upload_all_files("sess:twice")
    session = account.open_session("sess:twice")
    for name in account.contents:
        with pytest.raises(AlreadyUploaded):
            account.upload_parts(session, name)
        account.client.finish_file_upload("sess:twice", f"id:{name}", {1: '"any"'})


def test_an_aborted_file_needs_a_new_session(account: SandboxAccount) -> None:
    name = FILE_NAMES[TEXT_PDF]
    session = account.open_session("sess:aborted")
    e_tags = account.upload_parts(session, name)
    account.update_sandbox_settings(abort_files=name)
    with pytest.raises(SessionGone):
        account.client.finish_file_upload("sess:aborted", f"id:{name}", e_tags)
    with pytest.raises(SessionGone):
        account.client.request_part_urls("sess:aborted", "id:unknown", [1])


def test_an_expired_url_is_reported_as_expired(account: SandboxAccount) -> None:
    account.update_sandbox_settings(put_expiry=0)
    session, name = account.open_session("sess:expired"), FILE_NAMES[TEXT_PDF]
    with pytest.raises(ExpiredUrl):
        account.upload_parts(session, name)
    account.update_sandbox_settings(put_expiry=900, download_expiry=0)
    for file_name in account.contents:
        account.client.finish_file_upload("sess:expired", f"id:{file_name}", account.upload_parts(session, file_name))
    extraction_id = account.client.submit_extraction(account.build_submission("sess:expired", "sub:expired"))
    account.wait_until_final(extraction_id)
    with pytest.raises(ExpiredUrl):
        account.client.fetch_output_rows(extraction_id)


def test_a_submission_id_belongs_to_one_request(account: SandboxAccount) -> None:
    account.upload_all_files("sess:id")
    first = account.client.submit_extraction(account.build_submission("sess:id", "sub:id"))
    assert account.client.submit_extraction(account.build_submission("sess:id", "sub:id")) == first
    with pytest.raises(SubmissionExists) as caught:
        account.client.submit_extraction(account.build_submission("sess:id", "sub:id", prompt="Total amount"))
    assert (caught.value.extraction_id, caught.value.differing_fields) == (first, ("prompt",))


def test_an_incomplete_file_is_not_in_its_session(account: SandboxAccount) -> None:
    account.open_session("sess:half")
    with pytest.raises(SessionGone, match="file_ids"):
        account.client.submit_extraction(account.build_submission("sess:half", "sub:half"))


@pytest.mark.parametrize("channel", ["as_task", "as_http"])
def test_an_encrypted_file_is_named_in_the_state_and_in_the_error(account: SandboxAccount, channel: str) -> None:
    account.update_sandbox_settings(encrypted_files=FILE_NAMES[TEXT_PDF], task_errors=channel)
    account.upload_all_files(f"sess:{channel}")
    submission = account.build_submission(f"sess:{channel}", f"sub:{channel}")
    if channel == "as_task":
        error = account.wait_until_final(account.client.submit_extraction(submission)).error
    else:
        with pytest.raises(TaskRefused) as caught:
            account.client.submit_extraction(submission)
        error = caught.value.error
    assert (error.code, error.retryable, error.file_names) == ("ENCRYPTED_FILE", False, (FILE_NAMES[TEXT_PDF],))


def test_a_pause_has_a_wait(account: SandboxAccount) -> None:
    account.upload_all_files("sess:pause")
    account.update_sandbox_settings(paused_until="further notice")
    with pytest.raises(SubmissionsPaused) as caught:
        account.client.submit_extraction(account.build_submission("sess:pause", "sub:pause"))
    assert caught.value.retry_after == 300


def test_an_account_without_credits_opens_no_session(account: SandboxAccount) -> None:
    account.update_sandbox_settings(credits=1)
    with pytest.raises(NotEnoughCredits) as caught:
        account.open_session("sess:poor")
    assert (caught.value.balance, caught.value.required) == (1, 2)


def test_a_running_extraction_can_be_cancelled_and_deleted(account: SandboxAccount) -> None:
    account.update_sandbox_settings(stall=1)
    account.upload_all_files("sess:cancel")
    extraction_id = account.client.submit_extraction(account.build_submission("sess:cancel", "sub:cancel"))
    assert account.client.poll_extraction(extraction_id).status == "processing"
    cancellation = account.client.cancel_extraction(extraction_id)
    assert isinstance(cancellation, PendingCancellation) or cancellation.status == "cancelled"
    assert account.wait_until_final(extraction_id).cancellation_reason == "user"
    details = account.client.fetch_extraction_details(extraction_id)
    assert (details.submission_id, details.extraction.status) == ("sub:cancel", "cancelled")
    account.client.delete_extraction(extraction_id)
    assert extraction_id not in {item.id for item in account.client.list_extractions()}


def test_a_long_poll_ends_when_the_state_changes(account: SandboxAccount) -> None:
    account.update_sandbox_settings(processing_seconds=0.5)
    account.upload_all_files("sess:held")
    extraction_id = account.client.submit_extraction(account.build_submission("sess:held", "sub:held"))
    assert account.client.poll_extraction(extraction_id, hold_seconds=45).status == "completed"
