"""What a look through a mailbox is told of earlier ones, and what it tells at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from invoices.ledger.messages import Outcome, Position


class Memory(Protocol):
    """What is known of one mailbox; ``folder`` is its name on the server."""

    def position(self, folder: str) -> Position | None:
        """Return how far a folder is, or None if it was never looked through to the end."""
        ...

    def known_uids(self, folder: str, uidvalidity: int, first: int) -> Mapping[int, Outcome]:
        """Return the outcome of every mail from the UID ``first`` on that is recorded."""
        ...

    def owed_uids(self, folder: str, uidvalidity: int, largest: int) -> Sequence[int]:
        """Return the UIDs that are still to be fetched: waiting ones, and too large ones of up to ``largest`` bytes."""
        ...


@dataclass(slots=True)
class Seen:
    """What a look through a mailbox saw, in mails; it may go on over several sessions.

    ``positions`` may be recorded once everything that was yielded is; a folder is among them when it was gone through,
    or as far as ``mails_per_run`` allows. ``problems`` and ``remarks`` are sentences for a person. By
    folder, ``suspects`` are mails over whose fetching a line broke: another session fetches them last, one at a time;
    ``refused`` are those that were not given then: they wait, and are not asked for again in this run.
    """

    known: int = 0
    taken: int = 0
    nothing: int = 0
    left: int = 0
    set_aside: int = 0
    too_large: int = 0
    waiting: int = 0
    positions: dict[str, Position] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    suspects: dict[str, set[int]] = field(default_factory=dict)
    refused: dict[str, set[int]] = field(default_factory=dict)
    fetched: int = 0

    def count(self, outcome: Outcome) -> None:
        """Count one mail."""
        setattr(self, outcome, getattr(self, outcome) + 1)
