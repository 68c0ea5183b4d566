"""The calls of api.invoicedataextraction.com: each is one request, except those that read pages or the JSON output.

The caller chooses the ids of sessions, files and submissions, and the vendor does the work under one id only once
(contract sheet 02 §5). So every call but ``submit_answers`` may be sent again, and an unclear outcome (no answer, 5xx,
an unreadable 2xx) is a TransientError, not an UnknownOutcome. A new id is needed only after a *failed task*.
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
from invoices.clients.invoicedataextraction_com.api_transport import (
    JsonObject,
    RestApi,
    check_client_chosen_ids,
    check_echoed_id,
    check_extraction_id,
    parse_response_object,
    parse_success_object,
)
from invoices.clients.invoicedataextraction_com.errors import SessionGone, build_envelope_error
from invoices.clients.invoicedataextraction_com.presigned_storage import PresignedStorageClient
from invoices.clients.invoicedataextraction_com.response_parsers import (
    InvalidPageError,
    find_integer,
    parse_extraction,
    parse_extraction_details,
)
from invoices.clients.invoicedataextraction_com.results import (
    collect_all_results,
    parse_output_rows,
    parse_results_page,
)
from invoices.clients.json_fields import find_path_safe_id, find_text, find_timestamp
from invoices.errors import ContractError

MAX_RESULTS_BYTES = 64 * MEGABYTE  # one page of rows, or one output file
MAX_LONG_POLL_SECONDS = 45
MAX_ROWS_PER_PAGE = 1_000
MAX_EXTRACTIONS_PER_PAGE = 100
MAX_LIST_PAGES = 1_000


class InvoiceDataExtractionClient:
    """The API of one account; ``base_url`` ends in ``/v1``. It is as thread-safe as its ``session``."""

    def __init__(self, base_url: str, api_key: str, session: requests.Session, deadline: float = 120.0) -> None:
        """Use a session from ``make_session``; one call takes at most ``deadline`` seconds.

        Raises ConfigurationError for an unusable URL or key.
        """
        timeouts = Timeouts.from_deadline(deadline)
        self._api = RestApi(base_url, api_key, session, timeouts)
        self._storage = PresignedStorageClient(self._api.base_url, timeouts)

    def __repr__(self) -> str:
        """Return the URL without any secret."""
        return f"InvoiceDataExtractionClient({self._api.base_url!r})"

    def fetch_balance(self) -> CreditBalance:
        """Return the credits of the account; costs nothing and checks the key."""
        response = self._api.send_get("credits/balance")
        fields = parse_success_object(response)
        balance, reserved = find_integer(fields, "credits_balance"), find_integer(fields, "credits_reserved")
        if balance is None or reserved is None:
            raise response.build_unreadable_error("it has no balance")
        return CreditBalance(balance, reserved)

    def open_session(self, session_id: str, files: Sequence[FileToUpload]) -> UploadSession:
        """Return the session with this id, new or existing, and the part sizes of its files.

        Raises SessionGone if the id has other files, NotEnoughCredits with fewer credits than files, FilesRefused.
        """
        body = upload_session.build_session_body(session_id, files)
        return upload_session.parse_upload_session(
            self._api.send_post("uploads/sessions", body, has_idempotency_id=True), session_id, files
        )

    def request_part_urls(self, session_id: str, file_id: str, part_numbers: Sequence[int]) -> dict[int, str]:
        """Return a URL for each part (from 1). They expire after 15 minutes, so request them just before the upload.

        Raises AlreadyUploaded if the vendor accepts no more parts of the file, SessionGone.
        """
        body = upload_session.build_part_urls_body(file_id, part_numbers)
        return upload_session.parse_part_urls(
            self._post_to_upload_session(session_id, "parts", body), session_id, file_id, part_numbers
        )

    def upload_part(self, url: str, content: bytes) -> str:
        """Upload one part, and return its ETag with the quotes; nothing of ours is sent but the bytes.

        Raises ExpiredUrl, TransientError (also for a 2xx that does not prove the upload), PartRefused, and
        ContractError for a forbidden URL.
        """
        return self._storage.upload_part(url, content)

    def finish_file_upload(self, session_id: str, file_id: str, e_tags: Mapping[int, str]) -> None:
        """Complete a file from its parts 1 to n; has no effect on a complete file.

        Raises PartRefused if a stored part does not match, SessionGone.
        """
        body = upload_session.build_completion_body(file_id, e_tags)
        upload_session.check_file_completed(
            self._post_to_upload_session(session_id, "complete", body), session_id, file_id
        )

    def submit_extraction(self, submission: Submission) -> str:
        """Return the id of the extraction for this submission id, whether new or existing.

        Raises SubmissionExists if the id belongs to another request, SubmissionsPaused, SessionGone if a file is not
        in its session any more, TaskRefused for a reason that usually fails a task, NotEnoughCredits.
        """
        response = self._api.send_post("extractions", _build_submission_body(submission), has_idempotency_id=True)
        extraction_id = find_path_safe_id(parse_success_object(response), "extraction_id")
        if extraction_id is None:
            raise response.build_unreadable_error("it has no usable extraction id")
        return extraction_id

    def poll_extraction(self, extraction_id: str, hold_seconds: int | None = None) -> Extraction:
        """Return the state of an extraction.

        With ``hold_seconds`` (1 to 45) the vendor answers when the state changes, and after that time at the latest.
        A failed task is a state, not an error. Raises NotFound, and ContractError if the response is for another
        extraction.
        """
        if hold_seconds is not None and not 1 <= hold_seconds <= MAX_LONG_POLL_SECONDS:
            raise ContractError(
                f"hold_seconds is {hold_seconds!r}, but the vendor holds a poll for 1 to {MAX_LONG_POLL_SECONDS} s"
            )
        params = {} if hold_seconds is None else {"wait": str(hold_seconds)}
        response = self._api.send_get(_build_extraction_path(extraction_id), params, hold_seconds=hold_seconds or 0)
        return _parse_extraction_state(response, parse_response_object(response), extraction_id)

    def fetch_results(self, extraction_id: str) -> ExtractionResults:
        """Return all rows of a completed extraction; reads page by page, and none may be missing.

        Raises OutputGone, TransientError if the number of rows is not the stated one, ContractError.
        """
        return collect_all_results(
            extraction_id, lambda offset: self.fetch_results_page(extraction_id, offset, MAX_ROWS_PER_PAGE)
        )

    def fetch_results_page(self, extraction_id: str, offset: int, limit: int) -> ResultsPage:
        """Return up to ``limit`` (1 to 1,000) rows from ``offset`` on; raises OutputGone, ContractError."""
        if offset < 0 or not 1 <= limit <= MAX_ROWS_PER_PAGE:
            raise ContractError(
                f"cannot request {limit!r} rows from offset {offset!r}: the limit is 1 to {MAX_ROWS_PER_PAGE:,} rows"
            )
        params = {"offset": str(offset), "limit": str(limit)}
        response = self._api.send_get(
            f"{_build_extraction_path(extraction_id)}/results", params, max_bytes=MAX_RESULTS_BYTES
        )
        return parse_results_page(response, parse_success_object(response), extraction_id, offset)

    def fetch_output_url(self, extraction_id: str, output_format: OutputFormat) -> str:
        """Return a URL of the output, valid for 5 minutes and never to be stored; raises OutputGone."""
        response = self._api.send_get(f"{_build_extraction_path(extraction_id)}/output", {"format": output_format})
        fields = parse_response_object(response)
        if fields.get("success") is False:
            raise build_envelope_error(response.call, response.status, response.headers, response.body)
        url = find_text(fields, "download_url")
        if url is None or fields.get("format", output_format) != output_format:
            raise response.build_unreadable_error(f"it has no URL of the {output_format} output")
        return url

    def download_output(self, url: str, max_bytes: int = MAX_RESULTS_BYTES) -> bytes:
        """Download the complete file at a URL from ``fetch_output_url``, without credentials and redirects.

        Raises ExpiredUrl (403, 404: request a new URL), TransientError if the file may be incomplete, and
        ContractError for a forbidden URL.
        """
        return self._storage.download_file(url, max_bytes)

    def fetch_output_rows(self, extraction_id: str) -> list[dict[str, Any]]:
        """Return the rows of the JSON output, flat objects with exact numbers.

        Sends two requests, and raises as ``fetch_output_url`` and ``download_output`` do.
        """
        return parse_output_rows(self.download_output(self.fetch_output_url(extraction_id, "json")), extraction_id)

    def list_extractions(
        self,
        *,
        created_after: dt.datetime | None = None,
        status: str | None = None,
        limit: int = MAX_EXTRACTIONS_PER_PAGE,
    ) -> Iterator[ExtractionSummary]:
        """Yield the account's extractions, newest first, requesting ``limit`` (1 to 100) at a time.

        Raises ContractError if an entry has no id or the pages do not end, ValueError unless ``created_after`` is
        aware.
        """
        if created_after is not None and created_after.tzinfo is None:
            raise ValueError(f"created_after has no time zone: {created_after!r}")
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
        """Request that an extraction be stopped; return a PendingCancellation, or the state if it is cancelled already.

        The vendor charges the pages extracted until then. Raises Conflict if the extraction has ended otherwise: poll
        its state.
        """
        response = self._api.send_post(f"{_build_extraction_path(extraction_id)}/cancel", has_idempotency_id=True)
        fields = parse_success_object(response)
        if fields.get("cancellation_requested") is True:
            check_echoed_id(response, fields, "extraction_id", extraction_id)
            return PendingCancellation(extraction_id, find_timestamp(fields, "cancel_requested_at"))
        return _parse_extraction_state(response, fields, extraction_id)

    def delete_extraction(self, extraction_id: str) -> None:
        """Delete an extraction and its outputs; raises Conflict while it runs, NotFound if there is none."""
        response = self._api.send_delete(_build_extraction_path(extraction_id))
        if response.body:
            check_echoed_id(response, parse_success_object(response), "extraction_id", extraction_id)

    def submit_answers(self, extraction_id: str, answers: Sequence[Mapping[str, Any]]) -> None:
        """Answer an extraction's questions; raises UnknownOutcome if the answers may have arrived: poll its state."""
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
            session_error.request_id = error.request_id  # set afterwards, because the message names it already
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
                raise response.build_unreadable_error("its list has no usable next page, or does not end")
            cursors.append(cursor)


def _build_extraction_path(extraction_id: str) -> str:
    check_extraction_id(extraction_id)
    return f"extractions/{extraction_id}"


def _parse_extraction_state(response: ApiResponse, fields: JsonObject, extraction_id: str) -> Extraction:
    """Return the state if there is a ``status``, whatever the HTTP status and ``success`` are."""
    status = find_text(fields, "status", 100)
    if status is None:
        raise build_envelope_error(response.call, response.status, response.headers, response.body)
    if fields.get("extraction_id") != extraction_id:
        raise response.build_unreadable_error(f"it is the state of another extraction than {extraction_id!r}")
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
            raise response.build_unreadable_error("an entry in its list has no usable extraction id")
        yield ExtractionSummary(
            extraction_id,
            find_text(entry, "submission_id", 200),
            find_text(entry, "status", 100),
            find_timestamp(entry, "created_at"),
        )


def _build_submission_body(submission: Submission) -> dict[str, Any]:
    """Return the request body; never requests an output whose rows may have either grain (overview, trap 37)."""
    check_client_chosen_ids(submission.submission_id, submission.session_id, *submission.file_ids)
    if submission.output_structure not in ("per_invoice", "per_line_item"):
        raise ContractError(
            f"the output structure is {submission.output_structure!r}, but must be 'per_invoice' or 'per_line_item'"
        )
    body = {
        "submission_id": submission.submission_id,
        "upload_session_id": submission.session_id,
        "file_ids": list(submission.file_ids),
        "task_name": submission.task_name,
        "prompt": submission.prompt,
        "output_structure": submission.output_structure,
    }
    return {**body, "options": submission.options} if submission.options else body
