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

from invoices.clients.classification import NotFound
from invoices.clients.invoicedataextraction_com import uploads
from invoices.clients.invoicedataextraction_com.asking import (
    Api,
    Fields,
    check_about,
    check_our_ids,
    check_their_id,
    fields_of,
    succeeded,
)
from invoices.clients.invoicedataextraction_com.errors import SessionGone, of_success
from invoices.clients.invoicedataextraction_com.reading import UnknownPage, details_of, extraction_of, integer
from invoices.clients.invoicedataextraction_com.results import all_results, results_page_of, rows_of_file
from invoices.clients.invoicedataextraction_com.storage import Storage
from invoices.clients.invoicedataextraction_com.values import (
    Balance,
    CancelRequested,
    Details,
    Extraction,
    ExtractionSummary,
    FileToUpload,
    OutputFormat,
    Results,
    ResultsPage,
    Submission,
    UploadSession,
)
from invoices.clients.transport import MEGABYTE, Patience, Reply
from invoices.clients.wire_values import moment, opaque_id, text
from invoices.errors import ContractError

LARGEST_RESULTS = 64 * MEGABYTE  # of one page of rows, or one file
LONGEST_HOLD = 45  # seconds
MOST_ROWS_AT_ONCE = 1_000
MOST_LISTED_AT_ONCE = 100
MOST_LISTS = 1_000


class InvoiceDataExtraction:
    """The API of one account; ``base_url`` ends in ``/v1``. Several threads may use it as far as ``session`` allows."""

    def __init__(self, base_url: str, api_key: str, session: requests.Session, deadline: float = 120.0) -> None:
        """Take a session from ``make_session`` and the seconds one call may take altogether.

        Raises ConfigurationError for an unusable address or key.
        """
        patience = Patience.within(deadline)
        self._api = Api(base_url, api_key, session, patience)
        self._storage = Storage(self._api.base_url, patience)

    def __repr__(self) -> str:
        """Show the address and nothing secret."""
        return f"InvoiceDataExtraction({self._api.base_url!r})"

    def balance(self) -> Balance:
        """Return the credits of the account; costs nothing and proves the key."""
        reply = self._api.get("credits/balance")
        fields = succeeded(reply)
        balance, reserved = integer(fields, "credits_balance"), integer(fields, "credits_reserved")
        if balance is None or reserved is None:
            raise reply.unreadable("it tells no balance")
        return Balance(balance, reserved)

    def open_session(self, session_id: str, files: Sequence[FileToUpload]) -> UploadSession:
        """Return the session under this id, new or as it was, and how its files are cut.

        Raises SessionGone where the id has other files, NotEnoughCredits with fewer credits than files, FilesRefused.
        """
        body = uploads.session_body(session_id, files)
        return uploads.session_of(self._api.post("uploads/sessions", body, has_own_id=True), session_id, files)

    def part_urls(self, session_id: str, file_id: str, part_numbers: Sequence[int]) -> dict[int, str]:
        """Return an address for each part (from 1), good for 15 minutes: ask just before putting.

        Raises AlreadyUploaded where no part of the file is wanted any more, SessionGone.
        """
        body = uploads.parts_body(file_id, part_numbers)
        return uploads.part_urls_of(self._in_session(session_id, "parts", body), session_id, file_id, part_numbers)

    def put_part(self, url: str, content: bytes) -> str:
        """Store one part, and return its ETag with the quotes; nothing of ours but the bytes is shown.

        Raises ExpiredUrl, TransientError (also for a success that proves nothing), PartRefused, and ContractError for
        an address that must not be asked.
        """
        return self._storage.put(url, content)

    def complete(self, session_id: str, file_id: str, e_tags: Mapping[int, str]) -> None:
        """Complete a file of the parts 1 to n; one that is complete already stays so.

        Raises PartRefused where a stored part does not fit, SessionGone.
        """
        body = uploads.completion_body(file_id, e_tags)
        uploads.check_completed(self._in_session(session_id, "complete", body), session_id, file_id)

    def submit(self, submission: Submission) -> str:
        """Return the id of the extraction under this submission id, whether it is new or was there before.

        Raises SubmissionExists where the id belongs to another request, SubmissionsPaused, SessionGone where a file
        is not in its session any more, TaskRefused for what usually fails a task, NotEnoughCredits.
        """
        reply = self._api.post("extractions", _submission_body(submission), has_own_id=True)
        extraction_id = opaque_id(succeeded(reply), "extraction_id")
        if extraction_id is None:
            raise reply.unreadable("it names no extraction")
        return extraction_id

    def extraction(self, extraction_id: str, wait: int | None = None) -> Extraction:
        """Return how an extraction stands; with ``wait`` (1 to 45 s) the vendor answers on a change or at that time.

        A failed task is a state, not an error. Raises NotFound, and ContractError when told about another extraction.
        """
        if wait is not None and not 1 <= wait <= LONGEST_HOLD:
            raise ContractError(f"the vendor holds an answer for 1 to {LONGEST_HOLD} s, not {wait!r}")
        params = {} if wait is None else {"wait": str(wait)}
        reply = self._api.get(_path(extraction_id), params, held=wait or 0)
        return _extraction(reply, fields_of(reply), extraction_id)

    def results(self, extraction_id: str) -> Results:
        """Return all rows of a completed extraction, page by page, with none missing.

        Raises OutputGone, TransientError where the rows are not as many as told, ContractError.
        """
        return all_results(extraction_id, lambda offset: self.results_page(extraction_id, offset, MOST_ROWS_AT_ONCE))

    def results_page(self, extraction_id: str, offset: int, limit: int) -> ResultsPage:
        """Return up to ``limit`` (1 to 1,000) rows from ``offset`` on; raises OutputGone, ContractError."""
        if offset < 0 or not 1 <= limit <= MOST_ROWS_AT_ONCE:
            raise ContractError(f"{limit!r} rows from {offset!r} on cannot be asked for")
        params = {"offset": str(offset), "limit": str(limit)}
        reply = self._api.get(f"{_path(extraction_id)}/results", params, largest=LARGEST_RESULTS)
        return results_page_of(reply, succeeded(reply), extraction_id, offset)

    def output_url(self, extraction_id: str, format: OutputFormat) -> str:
        """Return an address of the output, good for 5 minutes and to be kept nowhere; raises OutputGone."""
        reply = self._api.get(f"{_path(extraction_id)}/output", {"format": format})
        fields = fields_of(reply)
        if fields.get("success") is False:
            raise of_success(reply.call, reply.status, reply.headers, reply.body)
        url = text(fields, "download_url")
        if url is None or fields.get("format", format) != format:
            raise reply.unreadable(f"it tells no address of the {format} output")
        return url

    def download(self, url: str, largest: int = LARGEST_RESULTS) -> bytes:
        """Return the bytes at an ``output_url``, whole; no credential is shown and no redirect followed.

        Raises ExpiredUrl (403, 404: ask for a new address), TransientError where it may be cut, and ContractError for
        an address that must not be asked.
        """
        return self._storage.fetch(url, largest)

    def output_rows(self, extraction_id: str) -> list[dict[str, Any]]:
        """Return the rows of the JSON output, flat objects with exact numbers; two requests, raises as they do."""
        return rows_of_file(self.download(self.output_url(extraction_id, "json")), extraction_id)

    def extractions(
        self, *, created_after: dt.datetime | None = None, status: str | None = None, limit: int = MOST_LISTED_AT_ONCE
    ) -> Iterator[ExtractionSummary]:
        """Yield the account's extractions, newest first, asking for ``limit`` (1 to 100) at a time.

        Raises ContractError where an entry has no id or the pages do not end; ``created_after`` must be aware.
        """
        if created_after is not None and created_after.tzinfo is None:
            raise ValueError(f"created_after has no zone: {created_after!r}")
        after = created_after.astimezone(dt.UTC).isoformat().replace("+00:00", "Z") if created_after else None
        asked = {"limit": str(limit), "created_after": after, "status": status}
        return self._listed({name: value for name, value in asked.items() if value is not None})

    def details(self, extraction_id: str) -> Details:
        """Return the vendor's whole record of an extraction; raises NotFound, ContractError."""
        reply = self._api.get(f"{_path(extraction_id)}/details", largest=LARGEST_RESULTS)
        fields = succeeded(reply).get("extraction")
        if not isinstance(fields, dict):
            raise reply.unreadable("it holds no extraction")
        return details_of(_extraction(reply, fields, extraction_id), fields)

    def cancel(self, extraction_id: str) -> Extraction | CancelRequested:
        """Ask to stop an extraction, and return that this is noted, or the state if it is cancelled already.

        Raises Conflict where it is over otherwise: look at its state. What was read until then is charged.
        """
        reply = self._api.post(f"{_path(extraction_id)}/cancel", has_own_id=True)
        fields = succeeded(reply)
        if fields.get("cancellation_requested") is True:
            check_about(reply, fields, "extraction_id", extraction_id)
            return CancelRequested(extraction_id, moment(fields, "cancel_requested_at"))
        return _extraction(reply, fields, extraction_id)

    def delete(self, extraction_id: str) -> None:
        """Delete an extraction and its outputs; raises Conflict while it runs, NotFound where it is not there."""
        reply = self._api.delete(_path(extraction_id))
        if reply.body:
            check_about(reply, succeeded(reply), "extraction_id", extraction_id)

    def answer(self, extraction_id: str, answers: Sequence[Mapping[str, Any]]) -> None:
        """Answer an extraction's questions; raises UnknownOutcome where that may have arrived: look at its state."""
        reply = self._api.post(f"{_path(extraction_id)}/answers", {"answers": list(answers)}, has_own_id=False)
        _extraction(reply, fields_of(reply), extraction_id)

    def _in_session(self, session_id: str, route: str, body: Mapping[str, Any]) -> Reply:
        check_our_ids(session_id)
        try:
            return self._api.post(f"uploads/sessions/{session_id}/{route}", body, has_own_id=True)
        except NotFound as error:
            gone = SessionGone(str(error))
            gone.request_id = error.request_id  # which the sentence has already
            raise gone from None

    def _listed(self, params: Mapping[str, str]) -> Iterator[ExtractionSummary]:
        cursors: list[str] = []
        while True:
            reply = self._api.get("extractions", {**params, **({"cursor": cursors[-1]} if cursors else {})})
            fields = succeeded(reply)
            yield from _summaries(reply, fields)
            if fields.get("has_more") is False:
                return
            cursor = text(fields, "next_cursor")
            if cursor is None or cursor in cursors or len(cursors) >= MOST_LISTS:
                raise reply.unreadable("it does not tell where its list goes on, or does not end")
            cursors.append(cursor)


def _path(extraction_id: str) -> str:
    check_their_id(extraction_id)
    return f"extractions/{extraction_id}"


def _extraction(reply: Reply, fields: Fields, extraction_id: str) -> Extraction:
    """Return the state by its ``status``, whatever HTTP and ``success`` say."""
    status = text(fields, "status", 100)
    if status is None:
        raise of_success(reply.call, reply.status, reply.headers, reply.body)
    if fields.get("extraction_id") != extraction_id:
        raise ContractError(f"{reply.call} does not answer about {extraction_id!r}")
    try:
        return extraction_of(extraction_id, status, fields, reply.call.secrets)
    except UnknownPage as error:
        raise reply.unreadable(str(error)) from None


def _summaries(reply: Reply, fields: Fields) -> Iterator[ExtractionSummary]:
    listed = fields.get("extractions")
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise reply.unreadable("it holds no list of extractions")
    for entry in listed:
        extraction_id = opaque_id(entry, "extraction_id")
        if extraction_id is None:
            raise reply.unreadable("an entry of its list has no extraction id")
        yield ExtractionSummary(
            extraction_id, text(entry, "submission_id", 200), text(entry, "status", 100), moment(entry, "created_at")
        )


def _submission_body(submission: Submission) -> dict[str, Any]:
    """Return the request; an output whose rows may be of either grain is never asked for (overview, trap 37)."""
    check_our_ids(submission.submission_id, submission.session_id, *submission.file_ids)
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
