"""What a look through a mailbox is told of earlier ones, and what it tells at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from invoices.ledger.mails import MailFolderPosition, MailOutcome


class MailboxHistory(Protocol):
    """What is known of one mailbox; ``folder`` is its name on the server."""

    def find_position(self, folder: str) -> MailFolderPosition | None:
        """Return how far a folder is, or None if it was never looked through to the end."""
        ...

    def list_known_outcomes(self, folder: str, uidvalidity: int, first_uid: int) -> Mapping[int, MailOutcome]:
        """Return the outcome of every mail from the UID ``first`` on that is recorded."""
        ...

    def list_uids_to_fetch(self, folder: str, uidvalidity: int, max_bytes: int) -> Sequence[int]:
        """Return the UIDs that are still to be fetched: waiting ones, and too large ones of up to ``largest`` bytes."""
        ...


@dataclass(slots=True)
class ScanState:
    """What a look through a mailbox saw, in mails; it may go on over several sessions.

    ``positions`` may be recorded once everything that was yielded is; a folder is among them when it was gone through,
    or as far as ``mails_per_run`` allows. ``problems`` and ``remarks`` are sentences for a person. By
    folder, ``suspects`` are mails over whose fetching a line broke: another session fetches them last, one at a time;
    ``refused`` are those that were not given then: they wait, and are not asked for again in this run.
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
    fetched_count: int = 0

    def count_outcome(self, outcome: MailOutcome) -> None:
        """Count one mail."""
        setattr(self, outcome, getattr(self, outcome) + 1)
