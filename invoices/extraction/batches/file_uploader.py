"""Uploads a batch's files in parts: presigned URLs are requested just in time and never stored."""

from __future__ import annotations

from functools import partial

from invoices.clients.invoicedataextraction_com import (
    AlreadyUploaded,
    ExpiredUrl,
    FileToUpload,
    PartRefused,
    UploadSession,
)
from invoices.errors import TransientError
from invoices.extraction.batches.batch import Batch, build_upload_name
from invoices.extraction.batches.batch_api import BatchApi, convert_credit_error_to_task_refusal
from invoices.extraction.resilience.retry import RetryingCaller
from invoices.ledger.documents import PendingDocument

UPLOAD_ROUTES, STORAGE_ROUTES = "upload", "storage"  # route groups; storage is another host, without a rate limit
MAX_UPLOAD_ATTEMPTS = 3  # of one file, after an expired URL or a damaged part
PART_URLS_PER_REQUEST = 8  # few, because they expire after 15 minutes (contract sheet 02 §2.2)


class FileUploader:
    """Uploads files to the vendor; each file is independent of the others (contract sheet 02 §3)."""

    def __init__(self, client: BatchApi, caller: RetryingCaller) -> None:
        """Keep the client, and the caller that limits and retries its calls."""
        self._client, self.caller = client, caller

    def open_session(self, batch: Batch) -> None:
        """Open the batch's session, or resume it; raises SessionGone, or TaskRefused when credits are missing."""
        files = [
            FileToUpload(file_id=sha256, file_name=build_upload_name(document), size=document.byte_count)
            for sha256, document in sorted(batch.documents.items())
        ]

        def request_session() -> UploadSession:
            with convert_credit_error_to_task_refusal():
                return self._client.open_session(batch.session_id, files)

        batch.part_sizes = self.caller.send_with_retries(request_session, UPLOAD_ROUTES).part_sizes

    def upload_file(self, batch: Batch, document: PendingDocument, content: bytes) -> None:
        """Upload one file, unless the vendor has it already.

        Raises:
            SessionGone: the session cannot be used any more.
            TransientError: the upload failed ``MAX_UPLOAD_ATTEMPTS`` times.
        """
        for _ in range(MAX_UPLOAD_ATTEMPTS):
            try:
                e_tags = self._upload_parts(batch, document.document_sha256, content)
                self.caller.send_with_retries(
                    partial(self._client.finish_file_upload, batch.session_id, document.document_sha256, e_tags),
                    UPLOAD_ROUTES,
                )
            except AlreadyUploaded:
                return
            except (ExpiredUrl, PartRefused):
                continue
            return
        raise TransientError(
            f"the upload of document {document.document_sha256[:12]} failed {MAX_UPLOAD_ATTEMPTS} times"
        )

    def _upload_parts(self, batch: Batch, file_id: str, content: bytes) -> dict[int, str]:
        """Upload every part and return the ETags by part number; numbers start at 1, and an empty file has one part."""
        part_size = (batch.part_sizes or {})[file_id]
        part_numbers = range(1, max(-(-len(content) // part_size), 1) + 1)
        e_tags: dict[int, str] = {}
        for start in range(0, len(part_numbers), PART_URLS_PER_REQUEST):
            chunk = part_numbers[start : start + PART_URLS_PER_REQUEST]
            urls = self.caller.send_with_retries(
                partial(self._client.request_part_urls, batch.session_id, file_id, chunk), UPLOAD_ROUTES
            )
            for part_number in chunk:
                part = content[(part_number - 1) * part_size : part_number * part_size]
                e_tags[part_number] = self.caller.send_with_retries(
                    partial(self._client.upload_part, urls[part_number], part), STORAGE_ROUTES
                )
        return e_tags
