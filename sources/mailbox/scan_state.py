"""The results of earlier scans of a mailbox that a scan needs, and the results of the scan itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from invoices.ledger.mails import MailFolderPosition, MailOutcome


class MailboxHistory(Protocol):
    """The recorded state of one mailbox; ``folder`` is the name of a folder on the server."""

    def find_position(self, folder: str) -> MailFolderPosition | None:
        """Return how far a folder was scanned, or None if no scan of it ever ended."""
        ...

    def list_known_outcomes(self, folder: str, uidvalidity: int, first_uid: int) -> Mapping[int, MailOutcome]:
        """Return the outcome of every recorded mail from ``first_uid`` on."""
        ...

    def list_uids_to_fetch(self, folder: str, uidvalidity: int, max_bytes: int) -> Sequence[int]:
        """Return the UIDs to fetch again: waiting mails, and too large ones that have at most ``max_bytes``."""
        ...


@dataclass(slots=True)
class ScanState:
    """The counts of mails and the results of a scan of a mailbox, which may take several sessions.

    Record ``positions`` after everything that was yielded is recorded. They contain a folder once it was scanned to
    its end, or as far as ``mails_per_run`` allows. ``problems`` and ``remarks`` are sentences for people. By folder,
    ``fetch_last`` are the mails during whose fetch a connection broke: the next session fetches them last, one at a
    time. ``refused_uids`` are the mails that the server did not return even then: they wait, and are not requested
    again in this run. ``failures`` are mails over which this program failed, with the errors: they wait, too.
    ``stored_hashes`` are the documents that the scan has added to the store, whether or not an arrival names them.
    """

    known_count: int = 0
    collected: int = 0
    no_documents: int = 0
    skipped: int = 0
    quarantined: int = 0
    too_large: int = 0
    waiting: int = 0
    positions: dict[str, MailFolderPosition] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    fetch_last: dict[str, set[int]] = field(default_factory=dict)
    refused_uids: dict[str, set[int]] = field(default_factory=dict)
    failures: list[tuple[str, Exception]] = field(default_factory=list)
    fetched_count: int = 0
    stored_hashes: set[str] = field(default_factory=set)
    record_activity: Callable[[str], None] = lambda _: None  # called with the mail whose turn it is

    def count_outcome(self, outcome: MailOutcome) -> None:
        """Count one mail; the outcomes are the names of the counters."""
        setattr(self, outcome, getattr(self, outcome) + 1)
