"""Which extraction API is asked about a document: the first in order that can read it and has not failed at it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from invoices.extraction import billflowai, invoicedataextraction_com, smartbills_com
from invoices.extraction.extraction_recorder import SUFFIX_BY_MEDIA_TYPE
from invoices.ledger.documents import PendingDocument
from invoices.ledger.extractions import ExtractionJob

MAX_BYTES_BY_EXTRACTOR: Mapping[str, Mapping[str, int]] = {  # of each vendor, by media type
    smartbills_com.EXTRACTOR: dict.fromkeys(SUFFIX_BY_MEDIA_TYPE, smartbills_com.MAX_BYTES),
    invoicedataextraction_com.EXTRACTOR: invoicedataextraction_com.MAX_BYTES_BY_MEDIA_TYPE,
    billflowai.EXTRACTOR: dict.fromkeys(SUFFIX_BY_MEDIA_TYPE, billflowai.MAX_BYTES),
}


def can_read_document(extractor: str, document: PendingDocument) -> bool:
    """Return whether the vendor takes documents of this type and size."""
    return document.byte_count <= MAX_BYTES_BY_EXTRACTOR[extractor].get(document.media_type, -1)


def explain_unsupported_document(extractor: str, document: PendingDocument) -> str:
    """Return what the vendor takes of this type of document, for one that it does not take."""
    max_bytes = MAX_BYTES_BY_EXTRACTOR[extractor].get(document.media_type)
    if max_bytes is None:
        return f"{extractor} takes no {document.media_type}"
    return (
        f"{extractor} takes {document.media_type} up to {max_bytes:,} bytes, and this one has {document.byte_count:,}"
    )


def choose_extractor(
    document: PendingDocument,
    jobs: Iterable[ExtractionJob],
    preference_order: Sequence[str],
    unavailable: Collection[str] = (),
) -> str | None:
    """Return who is asked about a document; None where nobody is left.

    Whoever was asked and may still answer comes first, even when no longer in the order: asking another would pay
    twice. Those ``unavailable`` are passed over, but for that.
    """
    jobs_by_extractor = {job.extracted_by: job for job in jobs}
    for name, job in jobs_by_extractor.items():
        if job.may_have_arrived:
            return name
    eligible = (
        name
        for name in preference_order
        if can_read_document(name, document) and not has_job_failed(jobs_by_extractor.get(name))
    )
    return next((name for name in eligible if name not in unavailable), None)


def has_job_failed(job: ExtractionJob | None) -> bool:
    """Return whether a vendor has said that it has no answer, so that another may be asked."""
    return job is not None and job.status == "failed"


def list_fallback_extractors(
    document: PendingDocument, jobs: Iterable[ExtractionJob], preference_order: Sequence[str], current_extractor: str
) -> list[str]:
    """Return who could be asked after ``this`` one has failed, in order."""
    jobs_by_extractor = {job.extracted_by: job for job in jobs}
    return [
        name
        for name in preference_order
        if name != current_extractor
        and can_read_document(name, document)
        and not has_job_failed(jobs_by_extractor.get(name))
    ]
