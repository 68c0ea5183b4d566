"""The calls of api.invoicedataextraction.com: each is one request, except the two that turn pages.

The caller chose the ids of a session, a file and a submission, and the vendor does the work under one id once
(contract sheet 02 §5). So every call but ``answer`` may be sent again, and an unclear outcome (no answer, 5xx, a
success that cannot be read) is a TransientError, not an UnknownOutcome. Only after a *failed task* is a new id due.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import requests

from invoices.clients.error_mapping import NotFound
from invoices.clients.http_client import MEGABYTE, ApiResponse, Timeouts
from invoices.clients.invoicedataextraction_com import upload_session
from invoices.clients.invoicedataextraction_com.api_models import (
    CreditBalance,
    Extraction,
    ExtractionDetails,
    ExtractionResults,
    ExtractionSummary,
    FileToUpload,
    OutputFormat,
    PendingCancellation,
    ResultsPage,
    Submission,
    UploadSession,
)
from invoices.clients.invoicedataextraction_com.errors import SessionGone, build_envelope_error
from invoices.clients.invoicedataextraction_com.presigned_storage import PresignedStorageClient
from invoices.clients.invoicedataextraction_com.response_parsers import (
    InvalidPageError,
    find_integer,
    parse_extraction,
    parse_extraction_details,
)
from invoices.clients.invoicedataextraction_com.rest_api import (
    JsonObject,
    RestApi,
    check_client_chosen_ids,
    check_echoed_id,
    check_extraction_id,
    parse_response_object,
    parse_success_object,
)
from invoices.clients.invoicedataextraction_com.results import (
    collect_all_results,
    parse_output_rows,
    parse_results_page,
)
from invoices.clients.json_fields import find_path_safe_id, find_text, find_timestamp
from invoices.errors import ContractError

MAX_RESULTS_BYTES = 64 * MEGABYTE  # of one page of rows, or one file
MAX_LONG_POLL_SECONDS = 45  # seconds
MAX_ROWS_PER_PAGE = 1_000
MAX_EXTRACTIONS_PER_PAGE = 100
MAX_LIST_PAGES = 1_000


class InvoiceDataExtractionClient:
    """The API of one account; ``base_url`` ends in ``/v1``. Several threads may use it as far as ``session`` allows."""

    def __init__(self, base_url: str, api_key: str, session: requests.Session, deadline: float = 120.0) -> None:
        """Take a session from ``make_session`` and the seconds one call may take altogether.

        Raises ConfigurationError for an unusable address or key.
        """
        timeouts = Timeouts.from_deadline(deadline)
        self._api = RestApi(base_url, api_key, session, timeouts)
        self._storage = PresignedStorageClient(self._api.base_url, timeouts)

    def __repr__(self) -> str:
        """Show the address and nothing secret."""
        return f"InvoiceDataExtraction({self._api.base_url!r})"

    def fetch_balance(self) -> CreditBalance:
        """Return the credits of the account; costs nothing and proves the key."""
        response = self._api.send_get("credits/balance")
        fields = parse_success_object(response)
        balance, reserved = find_integer(fields, "credits_balance"), find_integer(fields, "credits_reserved")
        if balance is None or reserved is None:
            raise response.build_unreadable_error("it tells no balance")
        return CreditBalance(balance, reserved)

    def open_session(self, session_id: str, files: Sequence[FileToUpload]) -> UploadSession:
        """Return the session under this id, new or as it was, and how its files are cut.

        Raises SessionGone where the id has other files, NotEnoughCredits with fewer credits than files, FilesRefused.
        """
        body = upload_session.build_session_body(session_id, files)
        return upload_session.parse_upload_session(
            self._api.send_post("uploads/sessions", body, has_idempotency_id=True), session_id, files
        )

    def request_part_urls(self, session_id: str, file_id: str, part_numbers: Sequence[int]) -> dict[int, str]:
        """Return an address for each part (from 1), good for 15 minutes: ask just before putting.

        Raises AlreadyUploaded where no part of the file is wanted any more, SessionGone.
        """
        body = upload_session.build_part_urls_body(file_id, part_numbers)
        return upload_session.parse_part_urls(
            self._post_to_upload_session(session_id, "parts", body), session_id, file_id, part_numbers
        )

    def upload_part(self, url: str, content: bytes) -> str:
        """Store one part, and return its ETag with the quotes; nothing of ours but the bytes is shown.

        Raises ExpiredUrl, TransientError (also for a success that proves nothing), PartRefused, and ContractError for
        an address that must not be asked.
        """
        return self._storage.upload_part(url, content)

    def finish_file_upload(self, session_id: str, file_id: str, e_tags: Mapping[int, str]) -> None:
        """Complete a file of the parts 1 to n; one that is complete already stays so.

        Raises PartRefused where a stored part does not fit, SessionGone.
        """
        body = upload_session.build_completion_body(file_id, e_tags)
        upload_session.check_file_completed(
            self._post_to_upload_session(session_id, "complete", body), session_id, file_id
        )

    def submit_extraction(self, submission: Submission) -> str:
        """Return the id of the extraction under this submission id, whether it is new or was there before.

        Raises SubmissionExists where the id belongs to another request, SubmissionsPaused, SessionGone where a file
        is not in its session any more, TaskRefused for what usually fails a task, NotEnoughCredits.
        """
        response = self._api.send_post("extractions", _build_submission_body(submission), has_idempotency_id=True)
        extraction_id = find_path_safe_id(parse_success_object(response), "extraction_id")
        if extraction_id is None:
            raise response.build_unreadable_error("it names no extraction")
        return extraction_id

    def poll_extraction(self, extraction_id: str, hold_seconds: int | None = None) -> Extraction:
        """Return how an extraction stands; with ``wait`` (1 to 45 s) the vendor answers on a change or at that time.

        A failed task is a state, not an error. Raises NotFound, and ContractError when told about another extraction.
        """
        if hold_seconds is not None and not 1 <= hold_seconds <= MAX_LONG_POLL_SECONDS:
            raise ContractError(f"the vendor holds an answer for 1 to {MAX_LONG_POLL_SECONDS} s, not {hold_seconds!r}")
        params = {} if hold_seconds is None else {"wait": str(hold_seconds)}
        response = self._api.send_get(_build_extraction_path(extraction_id), params, hold_seconds=hold_seconds or 0)
        return _parse_extraction_state(response, parse_response_object(response), extraction_id)

    def fetch_results(self, extraction_id: str) -> ExtractionResults:
        """Return all rows of a completed extraction, page by page, with none missing.

        Raises OutputGone, TransientError where the rows are not as many as told, ContractError.
        """
        return collect_all_results(
            extraction_id, lambda offset: self.fetch_results_page(extraction_id, offset, MAX_ROWS_PER_PAGE)
        )

    def fetch_results_page(self, extraction_id: str, offset: int, limit: int) -> ResultsPage:
        """Return up to ``limit`` (1 to 1,000) rows from ``offset`` on; raises OutputGone, ContractError."""
        if offset < 0 or not 1 <= limit <= MAX_ROWS_PER_PAGE:
            raise ContractError(f"{limit!r} rows from {offset!r} on cannot be asked for")
        params = {"offset": str(offset), "limit": str(limit)}
        response = self._api.send_get(
            f"{_build_extraction_path(extraction_id)}/results", params, max_bytes=MAX_RESULTS_BYTES
        )
        return parse_results_page(response, parse_success_object(response), extraction_id, offset)

    def fetch_output_url(self, extraction_id: str, output_format: OutputFormat) -> str:
        """Return an address of the output, good for 5 minutes and to be kept nowhere; raises OutputGone."""
        response = self._api.send_get(f"{_build_extraction_path(extraction_id)}/output", {"format": output_format})
        fields = parse_response_object(response)
        if fields.get("success") is False:
            raise build_envelope_error(response.call, response.status, response.headers, response.body)
        url = find_text(fields, "download_url")
        if url is None or fields.get("format", output_format) != output_format:
            raise response.build_unreadable_error(f"it tells no address of the {output_format} output")
        return url

    def download_output(self, url: str, max_bytes: int = MAX_RESULTS_BYTES) -> bytes:
        """Return the bytes at an ``output_url``, whole; no credential is shown and no redirect followed.

        Raises ExpiredUrl (403, 404: ask for a new address), TransientError where it may be cut, and ContractError for
        an address that must not be asked.
        """
        return self._storage.download_file(url, max_bytes)

    def fetch_output_rows(self, extraction_id: str) -> list[dict[str, Any]]:
        """Return the rows of the JSON output, flat objects with exact numbers; two requests, raises as they do."""
        return parse_output_rows(self.download_output(self.fetch_output_url(extraction_id, "json")), extraction_id)

    def list_extractions(
        self,
        *,
        created_after: dt.datetime | None = None,
        status: str | None = None,
        limit: int = MAX_EXTRACTIONS_PER_PAGE,
    ) -> Iterator[ExtractionSummary]:
        """Yield the account's extractions, newest first, asking for ``limit`` (1 to 100) at a time.

        Raises ContractError where an entry has no id or the pages do not end; ``created_after`` must be aware.
        """
        if created_after is not None and created_after.tzinfo is None:
            raise ValueError(f"created_after has no zone: {created_after!r}")
        created_after_text = (
            created_after.astimezone(dt.UTC).isoformat().replace("+00:00", "Z") if created_after else None
        )
        query = {"limit": str(limit), "created_after": created_after_text, "status": status}
        return self._iter_extraction_summaries({name: value for name, value in query.items() if value is not None})

    def fetch_extraction_details(self, extraction_id: str) -> ExtractionDetails:
        """Return the vendor's whole record of an extraction; raises NotFound, ContractError."""
        response = self._api.send_get(f"{_build_extraction_path(extraction_id)}/details", max_bytes=MAX_RESULTS_BYTES)
        fields = parse_success_object(response).get("extraction")
        if not isinstance(fields, dict):
            raise response.build_unreadable_error("it holds no extraction")
        return parse_extraction_details(_parse_extraction_state(response, fields, extraction_id), fields)

    def cancel_extraction(self, extraction_id: str) -> Extraction | PendingCancellation:
        """Ask to stop an extraction, and return that this is noted, or the state if it is cancelled already.

        Raises Conflict where it is over otherwise: look at its state. What was read until then is charged.
        """
        response = self._api.send_post(f"{_build_extraction_path(extraction_id)}/cancel", has_idempotency_id=True)
        fields = parse_success_object(response)
        if fields.get("cancellation_requested") is True:
            check_echoed_id(response, fields, "extraction_id", extraction_id)
            return PendingCancellation(extraction_id, find_timestamp(fields, "cancel_requested_at"))
        return _parse_extraction_state(response, fields, extraction_id)

    def delete_extraction(self, extraction_id: str) -> None:
        """Delete an extraction and its outputs; raises Conflict while it runs, NotFound where it is not there."""
        response = self._api.send_delete(_build_extraction_path(extraction_id))
        if response.body:
            check_echoed_id(response, parse_success_object(response), "extraction_id", extraction_id)

    def submit_answers(self, extraction_id: str, answers: Sequence[Mapping[str, Any]]) -> None:
        """Answer an extraction's questions; raises UnknownOutcome where that may have arrived: look at its state."""
        response = self._api.send_post(
            f"{_build_extraction_path(extraction_id)}/answers", {"answers": list(answers)}, has_idempotency_id=False
        )
        _parse_extraction_state(response, parse_response_object(response), extraction_id)

    def _post_to_upload_session(self, session_id: str, route: str, body: Mapping[str, Any]) -> ApiResponse:
        check_client_chosen_ids(session_id)
        try:
            return self._api.send_post(f"uploads/sessions/{session_id}/{route}", body, has_idempotency_id=True)
        except NotFound as error:
            session_error = SessionGone(str(error))
            session_error.request_id = error.request_id  # which the sentence has already
            raise session_error from None

    def _iter_extraction_summaries(self, params: Mapping[str, str]) -> Iterator[ExtractionSummary]:
        cursors: list[str] = []
        while True:
            response = self._api.send_get("extractions", {**params, **({"cursor": cursors[-1]} if cursors else {})})
            fields = parse_success_object(response)
            yield from _parse_extraction_summaries(response, fields)
            if fields.get("has_more") is False:
                return
            cursor = find_text(fields, "next_cursor")
            if cursor is None or cursor in cursors or len(cursors) >= MAX_LIST_PAGES:
                raise response.build_unreadable_error("it does not tell where its list goes on, or does not end")
            cursors.append(cursor)


def _build_extraction_path(extraction_id: str) -> str:
    check_extraction_id(extraction_id)
    return f"extractions/{extraction_id}"


def _parse_extraction_state(response: ApiResponse, fields: JsonObject, extraction_id: str) -> Extraction:
    """Return the state by its ``status``, whatever HTTP and ``success`` say."""
    status = find_text(fields, "status", 100)
    if status is None:
        raise build_envelope_error(response.call, response.status, response.headers, response.body)
    if fields.get("extraction_id") != extraction_id:
        raise ContractError(f"{response.call} does not answer about {extraction_id!r}")
    try:
        return parse_extraction(extraction_id, status, fields, response.call.secrets)
    except InvalidPageError as error:
        raise response.build_unreadable_error(str(error)) from None


def _parse_extraction_summaries(response: ApiResponse, fields: JsonObject) -> Iterator[ExtractionSummary]:
    entries = fields.get("extractions")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise response.build_unreadable_error("it holds no list of extractions")
    for entry in entries:
        extraction_id = find_path_safe_id(entry, "extraction_id")
        if extraction_id is None:
            raise response.build_unreadable_error("an entry of its list has no extraction id")
        yield ExtractionSummary(
            extraction_id,
            find_text(entry, "submission_id", 200),
            find_text(entry, "status", 100),
            find_timestamp(entry, "created_at"),
        )


def _build_submission_body(submission: Submission) -> dict[str, Any]:
    """Return the request; an output whose rows may be of either grain is never asked for (overview, trap 37)."""
    check_client_chosen_ids(submission.submission_id, submission.session_id, *submission.file_ids)
    if submission.output_structure not in ("per_invoice", "per_line_item"):
        raise ContractError(f"rows are per invoice or per line item, not {submission.output_structure!r}")
    body = {
        "submission_id": submission.submission_id,
        "upload_session_id": submission.session_id,
        "file_ids": list(submission.file_ids),
        "task_name": submission.task_name,
        "prompt": submission.prompt,
        "output_structure": submission.output_structure,
    }
    return {**body, "options": submission.options} if submission.options else body
