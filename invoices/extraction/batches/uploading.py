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
from invoices.extraction.batches.batch import Batch, file_name
from invoices.extraction.batches.vendor import Client, lacking_credits_as_task
from invoices.extraction.patience.pacing import Pacing
from invoices.ledger.documents import Pending

UPLOAD, STORAGE = "upload", "storage"  # groups of routes; calls to the storage are not counted
TRIES = 3  # of one file, when an address has expired or a part did not arrive as it was
PARTS_AT_ONCE = 8  # addresses asked for together: they live 15 minutes (contract sheet 02 §2.2)


class Uploading:
    """Brings batches to the vendor; each file is independent of the others (contract sheet 02 §3)."""

    def __init__(self, client: Client, pacing: Pacing) -> None:
        """Take the client and what paces it."""
        self._client, self.pacing = client, pacing

    def open_session(self, batch: Batch) -> None:
        """Open the batch's session, or find it open; raises SessionGone, or TaskRefused for a lack of credits."""
        files = [
            FileToUpload(file_id=sha256, file_name=file_name(document), size=document.byte_count)
            for sha256, document in sorted(batch.documents.items())
        ]

        def opened() -> UploadSession:
            with lacking_credits_as_task():
                return self._client.open_session(batch.session_id, files)

        batch.part_sizes = self.pacing.call(opened, UPLOAD).part_sizes

    def upload(self, batch: Batch, document: Pending, content: bytes) -> None:
        """Bring one file to the vendor, unless it is there.

        Raises:
            SessionGone: the session cannot be used any more.
            TransientError: it did not arrive, several times.
        """
        for _ in range(TRIES):
            try:
                e_tags = self._put(batch, document.document_sha256, content)
                self.pacing.call(
                    partial(self._client.complete, batch.session_id, document.document_sha256, e_tags), UPLOAD
                )
            except AlreadyUploaded:
                return
            except (ExpiredUrl, PartRefused):
                continue
            return
        raise TransientError(f"document {document.document_sha256[:12]} did not arrive in {TRIES} uploads")

    def _put(self, batch: Batch, file_id: str, content: bytes) -> dict[int, str]:
        """Store every part and return the ETags by part number; parts count from 1, and an empty file has one."""
        size = (batch.part_sizes or {})[file_id]
        numbers = range(1, max(-(-len(content) // size), 1) + 1)
        e_tags: dict[int, str] = {}
        for start in range(0, len(numbers), PARTS_AT_ONCE):
            some = numbers[start : start + PARTS_AT_ONCE]
            urls = self.pacing.call(partial(self._client.part_urls, batch.session_id, file_id, some), UPLOAD)
            for number in some:
                part = content[(number - 1) * size : number * size]
                e_tags[number] = self.pacing.call(partial(self._client.put_part, urls[number], part), STORAGE)
        return e_tags
