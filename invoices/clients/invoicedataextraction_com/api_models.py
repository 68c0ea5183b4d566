"""Requests to this vendor and its responses, as frozen values; URLs that expire are never part of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

FINAL_STATUSES = {"completed", "failed", "cancelled"}  # contract sheet 02 §2.6; any other status is not final

OutputStructure = Literal["per_invoice", "per_line_item"]
OutputFormat = Literal["json", "csv", "xlsx"]


@dataclass(frozen=True, slots=True)
class CreditBalance:
    """The credits of the account; one credit is one extracted page."""

    credits_balance: int
    credits_reserved: int

    @property
    def credits_available(self) -> int:
        """The credits not reserved by running extractions; negative if more are reserved than there are."""
        return self.credits_balance - self.credits_reserved


@dataclass(frozen=True, slots=True)
class FileToUpload:
    """A file announced in a session; ``size`` is in bytes, exact, and ``file_name`` is unique in the session."""

    file_id: str
    file_name: str
    size: int


@dataclass(frozen=True, slots=True)
class UploadSession:
    """An open session; ``part_sizes`` maps each file id to the size in bytes of the parts to upload."""

    session_id: str
    part_sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Submission:
    """What to extract from uploaded files of one session; ``submission_id`` is ours, and never used for other work."""

    submission_id: str
    session_id: str
    file_ids: Sequence[str]
    task_name: str
    prompt: Mapping[str, Any] | str
    output_structure: OutputStructure
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SuccessfulPage:
    """A page that was extracted; pages count from 1."""

    file_name: str
    page: int


@dataclass(frozen=True, slots=True)
class FailedPage:
    """A page whose rows are missing, and why; ``page`` is None if the reason names the file only."""

    file_name: str
    page: int | None
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class PageOutcomes:
    """The extracted and the failed pages; the counts are the vendor's, but not less than the failed pages listed."""

    successful: tuple[SuccessfulPage, ...]
    failed: tuple[FailedPage, ...]
    successful_count: int
    failed_count: int


@dataclass(frozen=True, slots=True)
class UncertaintyNote:
    """Something that the vendor is not sure about."""

    topic: str
    description: str


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """Something that a person should check; ``row_numbers`` count the rows of the output from 1."""

    message: str
    affected_fields: tuple[str, ...] = ()
    row_numbers: tuple[int, ...] = ()
    source_references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a task failed (contract sheet 02 §4.2); ``file_names`` are the causes, if the vendor names any."""

    code: str
    message: str | None = None
    retryable: bool = False
    file_names: tuple[str, ...] = ()
    credits_required: int | None = None
    credits_balance: int | None = None
    credits_reserved: int | None = None


@dataclass(frozen=True, slots=True)
class Extraction:
    """The current state of one extraction; what the response does not contain is None or empty.

    ``status`` is ``processing``, ``input_required``, ``completed``, ``failed``, ``cancelled``, or an unknown word.
    """

    id: str
    status: str
    progress: int | None = None
    credits_deducted: int | None = None
    credits_balance: int | None = None
    credits_reserved: int | None = None
    output_structure: str | None = None
    output_expires_at: dt.datetime | None = None
    pages: PageOutcomes | None = None
    notes: tuple[UncertaintyNote, ...] = ()
    review_items: tuple[ReviewItem, ...] = ()
    questions: tuple[Mapping[str, Any], ...] = ()
    answer_by: dt.datetime | None = None
    error: TaskError | None = None
    cancellation_reason: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the state cannot change any more; an unknown status is not final."""
        return self.status in FINAL_STATUSES


@dataclass(frozen=True, slots=True)
class PendingCancellation:
    """The vendor will stop a running extraction; it charges the pages extracted until then."""

    extraction_id: str
    requested_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class ResultsPage:
    """Rows ``offset`` to ``offset + len(rows)`` of an output; ``next_offset`` is None on the last page."""

    extraction_id: str
    offset: int
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...] = field(repr=False)
    total_rows: int | None
    next_offset: int | None
    output_structure: str | None
    json_typed_values: bool | None
    pages: PageOutcomes | None
    review_items: tuple[ReviewItem, ...]


@dataclass(frozen=True, slots=True)
class ExtractionResults:
    """All rows of an output: the vendor's flat objects unchanged, fractions as ``Decimal``; see ``ResultsPage``."""

    extraction_id: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...] = field(repr=False)
    output_structure: str | None
    json_typed_values: bool | None
    pages: PageOutcomes | None
    review_items: tuple[ReviewItem, ...]


@dataclass(frozen=True, slots=True)
class ExtractionSummary:
    """An extraction in the vendor's list; a submission whose response was lost is found by its ``submission_id``."""

    id: str
    submission_id: str | None
    status: str | None
    created_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class ExtractionDetails:
    """The vendor's whole record of an extraction: how it was submitted, and its current state."""

    extraction: Extraction
    submission_id: str | None
    task_name: str | None
    created_at: dt.datetime | None
    file_names: tuple[str, ...]
    prompt: Mapping[str, Any] | str | None = field(repr=False)
    options: Mapping[str, Any]
