"""Which extractor gets a document: the first in preference order that can read it and has not failed on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from invoices.extraction import billflowai, invoicedataextraction_com, smartbills_com
from invoices.extraction.extraction_recorder import SUFFIX_BY_MEDIA_TYPE
from invoices.ledger.documents import PendingDocument
from invoices.ledger.extractions import ExtractionJob
from invoices.model import compute_extraction_id
from invoices.settings import Settings

MAX_BYTES_BY_EXTRACTOR: Mapping[str, Mapping[str, int]] = {  # by media type
    smartbills_com.EXTRACTOR: dict.fromkeys(SUFFIX_BY_MEDIA_TYPE, smartbills_com.MAX_BYTES),
    invoicedataextraction_com.EXTRACTOR: invoicedataextraction_com.MAX_BYTES_BY_MEDIA_TYPE,
    billflowai.EXTRACTOR: dict.fromkeys(SUFFIX_BY_MEDIA_TYPE, billflowai.MAX_BYTES),
}


def can_read_document(extractor: str, document: PendingDocument) -> bool:
    """Return whether the extractor accepts documents of this media type and size."""
    return document.byte_count <= MAX_BYTES_BY_EXTRACTOR[extractor].get(document.media_type, -1)


def explain_unsupported_document(extractor: str, document: PendingDocument) -> str:
    """Return a clause that says why the extractor does not accept the document."""
    max_bytes = MAX_BYTES_BY_EXTRACTOR[extractor].get(document.media_type)
    if max_bytes is None:
        return f"{extractor} does not accept {document.media_type}"
    limit = f"{extractor} accepts {document.media_type} up to {max_bytes:,} bytes"
    return f"{limit}; this document has {document.byte_count:,}"


def choose_extractor(
    document: PendingDocument,
    jobs: Iterable[ExtractionJob],
    preference_order: Sequence[str],
    unavailable: Collection[str] = (),
    configurations: Mapping[str, str] = MappingProxyType({}),
) -> str | None:
    """Return the extractor for a document, or None when none is left.

    An extractor with an open submission for the document comes first, even when it is no longer in
    ``preference_order`` or is ``unavailable``: submitting elsewhere could be charged twice. Otherwise ``unavailable``
    extractors are skipped. None, too, if the extractor has answered already under its present one of the
    ``configurations``: the same bytes are never paid for twice.
    """
    jobs = list(jobs)
    jobs_by_extractor = map_latest_jobs_by_extractor(jobs)
    for name, job in jobs_by_extractor.items():
        if job.may_have_arrived:
            return name
    eligible = list_eligible_extractors(document, jobs_by_extractor, preference_order)
    chosen = next((name for name in eligible if name not in unavailable), None)
    if chosen is not None and chosen in configurations and has_answered(jobs, chosen, configurations[chosen]):
        return None
    return chosen


def has_answered(jobs: Sequence[ExtractionJob], extractor: str, configuration: str) -> bool:
    """Return whether the extractor has answered about the document of these jobs under this configuration."""
    return any(
        job.status == "answered"
        and job.extracted_by == extractor
        and job.extraction_id
        in {
            compute_extraction_id(job.document_sha256, extractor, configuration, generation)
            for generation in range(1, len(jobs) + 1)
        }
        for job in jobs
    )


def get_configurations(settings: Settings) -> dict[str, str]:
    """Return what each extraction API would be asked for, by extractor."""
    structure = settings.invoicedataextraction_com.output_structure
    return {
        invoicedataextraction_com.EXTRACTOR: invoicedataextraction_com.build_configuration(structure),
        smartbills_com.EXTRACTOR: smartbills_com.CONFIGURATION,
        billflowai.EXTRACTOR: billflowai.CONFIGURATION,
    }


def map_latest_jobs_by_extractor(jobs: Iterable[ExtractionJob]) -> dict[str, ExtractionJob]:
    """Return the latest job of each extractor, without superseded ones; ``jobs`` are in the order of their requests."""
    return {job.extracted_by: job for job in jobs if not job.is_superseded}


def list_eligible_extractors(
    document: PendingDocument, jobs_by_extractor: Mapping[str, ExtractionJob], preference_order: Sequence[str]
) -> list[str]:
    """Return the extractors that can read the document and whose latest job for it has not failed, in order."""
    failed_extractors = {name for name, job in jobs_by_extractor.items() if job.status == "failed"}
    return [name for name in preference_order if can_read_document(name, document) and name not in failed_extractors]
