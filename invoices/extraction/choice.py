"""Which extraction API is asked about a document: the first in order that can read it and has not failed at it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from invoices.extraction import billflowai, invoicedataextraction_com, smartbills_com
from invoices.extraction.desk import READABLE
from invoices.ledger.documents import Pending
from invoices.ledger.extractions import Job

LARGEST_BYTES: Mapping[str, Mapping[str, int]] = {  # of each vendor, by media type
    smartbills_com.EXTRACTOR: dict.fromkeys(READABLE, smartbills_com.LARGEST_BYTES),
    invoicedataextraction_com.EXTRACTOR: invoicedataextraction_com.LARGEST_BYTES,
    billflowai.EXTRACTOR: dict.fromkeys(READABLE, billflowai.LARGEST_BYTES),
}


def can_read(extractor: str, document: Pending) -> bool:
    """Return whether the vendor takes documents of this type and size."""
    return document.byte_count <= LARGEST_BYTES[extractor].get(document.media_type, -1)


def why_not(extractor: str, document: Pending) -> str:
    """Return what the vendor takes of this type of document, for one that it does not take."""
    largest = LARGEST_BYTES[extractor].get(document.media_type)
    if largest is None:
        return f"{extractor} takes no {document.media_type}"
    return f"{extractor} takes {document.media_type} up to {largest:,} bytes, and this one has {document.byte_count:,}"


def choose(
    document: Pending, jobs: Iterable[Job], order: Sequence[str], unavailable: Collection[str] = ()
) -> str | None:
    """Return who is asked about a document; None where nobody is left.

    Whoever was asked and may still answer comes first, even when no longer in the order: asking another would pay
    twice. Those ``unavailable`` are passed over, but for that.
    """
    asked = {job.extracted_by: job for job in jobs}
    for name, job in asked.items():
        if job.may_have_arrived:
            return name
    able = (name for name in order if can_read(name, document) and not has_failed(asked.get(name)))
    return next((name for name in able if name not in unavailable), None)


def has_failed(job: Job | None) -> bool:
    """Return whether a vendor has said that it has no answer, so that another may be asked."""
    return job is not None and job.status == "failed"


def others(document: Pending, jobs: Iterable[Job], order: Sequence[str], this: str) -> list[str]:
    """Return who could be asked after ``this`` one has failed, in order."""
    asked = {job.extracted_by: job for job in jobs}
    return [name for name in order if name != this and can_read(name, document) and not has_failed(asked.get(name))]
