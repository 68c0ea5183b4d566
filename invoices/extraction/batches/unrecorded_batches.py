"""Batches that were submitted before the ledger was restored from a backup, and that it therefore lacks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from invoices.clients.invoicedataextraction_com import ExtractionSummary
from invoices.extraction.batches.batch import Batch, build_upload_name
from invoices.extraction.batches.batch_api import BatchApi
from invoices.extraction.extraction_recorder import ExtractionRecorder
from invoices.extraction.resilience.retry import RetryingCaller
from invoices.extraction.unrecorded_submissions import filter_documents_lacking_submissions
from invoices.ledger.documents import PendingDocument
from invoices.ledger.extraction_batch_documents import PlannedExtraction, mark_documents_submitted, record_intents
from invoices.ledger.extraction_batches import adopt_extraction_batch

SUBMISSION_ID_PATTERN = re.compile(r"sub:([0-9a-f]{32}):([0-9a-f]{12}):([0-9]{1,6})", re.ASCII)  # of ``Batch``


@dataclass(frozen=True, slots=True)
class RemoteBatch:
    """A submission of ours at the vendor, with the names of its files."""

    batch_id: str
    generation: int
    remote_id: str
    file_names: frozenset[str]


class UnrecordedBatchFinder:
    """Finds the vendor's extraction of each document by file names, which are hashes; the list is read once."""

    def __init__(
        self, recorder: ExtractionRecorder, client: BatchApi, caller: RetryingCaller, configuration: str
    ) -> None:
        """Keep the dependencies; no call is made yet. Only submissions with ``configuration`` are found."""
        self._recorder, self._client, self._caller, self._configuration = recorder, client, caller, configuration
        self._remote_batches: list[RemoteBatch] | None = None

    def adopt_batches(self, documents: Sequence[PendingDocument]) -> list[Batch]:
        """Return the batches at the vendor that have some of the documents, after recording them as submitted.

        Raises:
            TransientError, ContractError: the vendor's list cannot be read now, so nobody can tell.
            CapReached: a cap leaves too few pages for documents that are charged already.
        """
        lacking = filter_documents_lacking_submissions(
            self._recorder.ledger, [document.document_sha256 for document in documents]
        )
        waiting = {
            build_upload_name(document): document for document in documents if document.document_sha256 in lacking
        }
        if not waiting:
            return []
        if self._remote_batches is None:
            self._remote_batches = self._fetch_remote_batches()
        return [
            self._record_batch(remote_batch, [waiting.pop(name) for name in own_names])
            for remote_batch in self._remote_batches
            if (own_names := sorted(remote_batch.file_names & waiting.keys()))
        ]

    def _fetch_remote_batches(self) -> list[RemoteBatch]:
        """Return the submissions with our configuration that have not failed, the latest first."""
        configuration_hash = hashlib.sha256(self._configuration.encode()).hexdigest()[:12]
        remote_batches = []
        summaries: list[ExtractionSummary] = self._caller.send_with_retries(
            lambda: list(self._client.list_extractions()), "list"
        )
        for summary in summaries:
            match = SUBMISSION_ID_PATTERN.fullmatch(summary.submission_id or "")
            if match is None or match[2] != configuration_hash or summary.status == "failed":
                continue
            details = self._caller.send_with_retries(
                partial(self._client.fetch_extraction_details, summary.id), "results"
            )
            remote_batches.append(RemoteBatch(match[1], int(match[3]), summary.id, frozenset(details.file_names)))
        return sorted(remote_batches, key=lambda batch: -batch.generation)

    def _record_batch(self, remote_batch: RemoteBatch, documents: Sequence[PendingDocument]) -> Batch:
        recorder = self._recorder
        planned = [
            PlannedExtraction(
                recorder.get_extraction_id(document.document_sha256),
                document.document_sha256,
                recorder.count_billable_pages(document),
            )
            for document in documents
        ]
        hashes = [document.document_sha256 for document in documents]
        reason = f"Submitted to {recorder.vendor} before the ledger was restored; not answered yet."
        with recorder.ledger.begin_transaction() as tx:
            record = adopt_extraction_batch(
                tx, remote_batch.batch_id, recorder.extractor, self._configuration, remote_batch.generation,
                remote_batch.remote_id, len(remote_batch.file_names),
            )  # fmt: skip
            record_intents(
                tx, recorder.terms, planned, run_id=recorder.worker, batch_id=record.batch_id,
                generation=record.generation,
            )  # fmt: skip
            mark_documents_submitted(tx, record.batch_id, hashes, remote_batch.remote_id, reason)
        other_names = remote_batch.file_names - {build_upload_name(document) for document in documents}
        return Batch(
            record,
            {document.document_sha256: document for document in documents},
            concluded_file_names=frozenset(other_names),
        )
