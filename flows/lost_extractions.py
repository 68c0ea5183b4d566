"""Lost extractions: finding one by the name that a person gives, what each decision costs, and adopting an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flows.plurals import format_count
from invoices.app import App
from invoices.clients.strict_json import InvalidJsonError, parse_json
from invoices.errors import ConfigurationError
from invoices.extraction.answer_adoption import FetchedAnswer
from invoices.extraction.extraction_recorder import to_exact_json
from invoices.ledger import Transaction
from invoices.ledger.lost_extractions import (
    WITHOUT_EXTRACTOR,
    ExtractionChanged,
    LostExtraction,
    abandon_lost_extraction,
    list_lost_extractions,
    record_adopted_answer,
    release_lost_extraction,
)
from invoices.settings import PAID_EXTRACTORS

MIN_ID_CHARS = 6
MAX_ANSWER_BYTES = 10 * 1024 * 1024
EXTRACTORS_WITH_ANSWER_FILES = ("smartbills_com", "billflowai")  # one answer, one document

Decision = Literal["adopt", "release", "abandon"]


@dataclass(frozen=True, slots=True)
class DecisionCost:
    """The pages that may have been charged already, and those that a decision may add."""

    pages_charged_before: int
    pages_added: int
    price: str | None  # of ``pages_added``, if the settings have a price

    def __str__(self) -> str:
        """Return both as a sentence."""
        before = f"{format_count(self.pages_charged_before, 'page')} may have been charged already"
        if self.pages_added == 0:
            return f"{before}; this costs nothing more."
        price = f" ({self.price})" if self.price else ""
        return f"{before}; this may cost {format_count(self.pages_added, 'page')} more{price}."


def list_all_lost_extractions(app: App) -> list[LostExtraction]:
    """Return the submissions that may have been charged and are without an answer."""
    with app.ledger.open_snapshot() as connection:
        return list_lost_extractions(connection)


def get_lost_extraction(app: App, identity: str) -> LostExtraction:
    """Return the lost extraction that ``identity`` names: the beginning of its id or of its document's hash.

    Raises:
        ConfigurationError: none or several have this name.
    """
    lost_extractions = list_all_lost_extractions(app)
    matches = [
        lost_extraction
        for lost_extraction in lost_extractions
        if len(identity) >= MIN_ID_CHARS
        and (
            lost_extraction.job.extraction_id.startswith(identity.lower())
            or lost_extraction.job.document_sha256.startswith(identity.lower())
        )
    ]
    if len(matches) != 1:
        problem = "no lost extraction is" if not matches else f"{len(matches)} lost extractions are"
        raise ConfigurationError(
            f"{problem} named {identity!r}: give an id from 'invoices extraction list', or at least its first "
            f"{MIN_ID_CHARS} characters"
        )
    return matches[0]


def compute_decision_cost(app: App, lost_extraction: LostExtraction, decision: Decision) -> DecisionCost:
    """Return what a decision about a lost extraction costs at most."""
    job = lost_extraction.job
    pages_added = job.pages_reserved if decision == "release" else 0
    price = None
    if pages_added and job.extracted_by in PAID_EXTRACTORS:
        extractor_settings = getattr(app.settings, job.extracted_by)
        if extractor_settings.page_price is not None:
            price = f"{extractor_settings.page_price * pages_added:f} {extractor_settings.page_price_currency}"
    return DecisionCost(job.pages_counted, pages_added, price)


def read_answer_file(lost_extraction: LostExtraction, path: Path, remote_id: str | None) -> FetchedAnswer:
    """Return the answer in a JSON file that a person saved from the vendor.

    Raises:
        ConfigurationError: the file cannot be used, or the vendor's answers are about several documents.
    """
    job = lost_extraction.job
    if job.extracted_by not in EXTRACTORS_WITH_ANSWER_FILES:
        raise ConfigurationError(f"{job.extracted_by} gives its answers again: adopt without --answer")
    try:
        with path.open("rb") as answer_file:
            content = answer_file.read(MAX_ANSWER_BYTES + 1)
        payload = parse_json(content) if len(content) <= MAX_ANSWER_BYTES else None
    except (OSError, InvalidJsonError) as error:
        raise ConfigurationError(f"the answer {str(path)!r} cannot be read: {error}") from error
    if not isinstance(payload, dict) or not payload:
        raise ConfigurationError(f"the answer {str(path)!r} is no JSON object of at most {MAX_ANSWER_BYTES:,} bytes")
    return FetchedAnswer(payload, remote_id or job.remote_id, job.pages_reserved)


def adopt_answer(app: App, lost_extraction: LostExtraction, answer: FetchedAnswer) -> None:
    """Record the answer; the next run validates it. Raises ConfigurationError if a run has changed the extraction."""
    payload = to_exact_json(dict(answer.payload))
    _record(app, lambda tx: record_adopted_answer(tx, lost_extraction, payload, answer.remote_id, answer.pages_charged))


def release_extraction(app: App, lost_extraction: LostExtraction) -> None:
    """Let the next run submit the document once more; raises ConfigurationError as ``adopt_answer`` does."""
    _record(app, lambda tx: release_lost_extraction(tx, lost_extraction))


def abandon_extraction(app: App, lost_extraction: LostExtraction) -> None:
    """Give up the answer for good; raises ConfigurationError as ``adopt_answer`` does."""
    _record(app, lambda tx: abandon_lost_extraction(tx, lost_extraction))


def to_json(lost_extraction: LostExtraction) -> dict[str, Any]:
    """Return a lost extraction as JSON values."""
    job = lost_extraction.job
    return {
        "extraction_id": job.extraction_id,
        "document_sha256": job.document_sha256,
        "extracted_by": job.extracted_by,
        "job": job.remote_id,
        "status": job.status,
        "reason_code": lost_extraction.reason_code,
        "reason": lost_extraction.reason,
        "requested_at": job.requested_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "pages_that_may_be_charged": job.pages_counted,
        "possible_double_charge": job.possible_double_charge,
        "waits": lost_extraction.reason_code == WITHOUT_EXTRACTOR,
    }


def _record(app: App, record: Callable[[Transaction], None]) -> None:
    app.release_claims_of_dead_workers()
    try:
        with app.ledger.begin_transaction() as tx:
            record(tx)
    except ExtractionChanged as change:
        raise ConfigurationError(f"nothing was changed: {change}") from change
