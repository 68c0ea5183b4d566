"""Uploading a batch's files: presigned addresses asked for just in time, each part as it is, no address kept."""

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

UPLOAD_ROUTES, STORAGE_ROUTES = "upload", "storage"  # groups of routes; calls to the storage are not counted
MAX_UPLOAD_ATTEMPTS = 3  # of one file, when an address has expired or a part did not arrive as it was
PART_URLS_PER_REQUEST = 8  # addresses asked for together: they live 15 minutes (contract sheet 02 §2.2)


class FileUploader:
    """Brings batches to the vendor; each file is independent of the others (contract sheet 02 §3)."""

    def __init__(self, client: BatchApi, caller: RetryingCaller) -> None:
        """Take the client and what paces it."""
        self._client, self.caller = client, caller

    def open_session(self, batch: Batch) -> None:
        """Open the batch's session, or find it open; raises SessionGone, or TaskRefused for a lack of credits."""
        files = [
            FileToUpload(file_id=sha256, file_name=build_upload_name(document), size=document.byte_count)
            for sha256, document in sorted(batch.documents.items())
        ]

        def request_session() -> UploadSession:
            with convert_credit_error_to_task_refusal():
                return self._client.open_session(batch.session_id, files)

        batch.part_sizes = self.caller.send_with_retries(request_session, UPLOAD_ROUTES).part_sizes

    def upload_file(self, batch: Batch, document: PendingDocument, content: bytes) -> None:
        """Bring one file to the vendor, unless it is there.

        Raises:
            SessionGone: the session cannot be used any more.
            TransientError: it did not arrive, several times.
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
            f"document {document.document_sha256[:12]} did not arrive in {MAX_UPLOAD_ATTEMPTS} uploads"
        )

    def _upload_parts(self, batch: Batch, file_id: str, content: bytes) -> dict[int, str]:
        """Store every part and return the ETags by part number; parts count from 1, and an empty file has one."""
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
