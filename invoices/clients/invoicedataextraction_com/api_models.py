"""What is said to this vendor and what it says, as frozen values; no address that expires is among them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

FINAL_STATUSES = {"completed", "failed", "cancelled"}  # contract sheet 02 §2.6; any other word means not over

OutputStructure = Literal["per_invoice", "per_line_item"]
OutputFormat = Literal["json", "csv", "xlsx"]


@dataclass(frozen=True, slots=True)
class CreditBalance:
    """The credits of the account; one credit is one page that was read."""

    credits_balance: int
    credits_reserved: int

    @property
    def credits_available(self) -> int:
        """What no running extraction holds; below zero where more is held than there is."""
        return self.credits_balance - self.credits_reserved


@dataclass(frozen=True, slots=True)
class FileToUpload:
    """A file as a session announces it; ``size`` in bytes, exact, and a name is unique in its session."""

    file_id: str
    file_name: str
    size: int


@dataclass(frozen=True, slots=True)
class UploadSession:
    """An open session; ``part_sizes`` tells by file id into pieces of how many bytes each file is cut."""

    session_id: str
    part_sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Submission:
    """What to extract from completed files of one session; ``submission_id`` is ours and names the work for ever."""

    submission_id: str
    session_id: str
    file_ids: Sequence[str]
    task_name: str
    prompt: Mapping[str, Any] | str
    output_structure: OutputStructure
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SuccessfulPage:
    """A page that was read; pages count from 1."""

    file_name: str
    page: int


@dataclass(frozen=True, slots=True)
class FailedPage:
    """A page whose rows are missing, and why; ``page`` is None where the reason names the file alone."""

    file_name: str
    page: int | None
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class PageOutcomes:
    """Which pages were read and which were not; the counts are the vendor's own, or at least what it lists."""

    successful: tuple[SuccessfulPage, ...]
    failed: tuple[FailedPage, ...]
    successful_count: int
    failed_count: int


@dataclass(frozen=True, slots=True)
class UncertaintyNote:
    """What the vendor was not sure about."""

    topic: str
    description: str


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """What a person should look at; ``row_numbers`` count the output's rows from 1."""

    message: str
    affected_fields: tuple[str, ...] = ()
    row_numbers: tuple[int, ...] = ()
    source_references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a task failed (contract sheet 02 §4.2); ``file_names`` are those to blame, where the vendor tells them."""

    code: str
    message: str | None = None
    retryable: bool = False
    file_names: tuple[str, ...] = ()
    credits_required: int | None = None
    credits_balance: int | None = None
    credits_reserved: int | None = None


@dataclass(frozen=True, slots=True)
class Extraction:
    """One extraction as it stands; what its state does not tell is None or empty.

    ``status`` is ``processing``, ``input_required``, ``completed``, ``failed``, ``cancelled``, or a word we do not
    know.
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
        """Whether this state is the last one; an unknown word is not."""
        return self.status in FINAL_STATUSES


@dataclass(frozen=True, slots=True)
class PendingCancellation:
    """The vendor will stop a running extraction; what it has read until then is charged."""

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
    """All rows of an output, flat objects as they came, fractions as ``Decimal``; see ``ResultsPage`` for the rest."""

    extraction_id: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...] = field(repr=False)
    output_structure: str | None
    json_typed_values: bool | None
    pages: PageOutcomes | None
    review_items: tuple[ReviewItem, ...]


@dataclass(frozen=True, slots=True)
class ExtractionSummary:
    """An extraction as the list shows it; ``submission_id`` is how a lost submission is found again."""

    id: str
    submission_id: str | None
    status: str | None
    created_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class ExtractionDetails:
    """The vendor's whole record of an extraction: how it was asked for, and how it stands."""

    extraction: Extraction
    submission_id: str | None
    task_name: str | None
    created_at: dt.datetime | None
    file_names: tuple[str, ...]
    prompt: Mapping[str, Any] | str | None = field(repr=False)
    options: Mapping[str, Any]
