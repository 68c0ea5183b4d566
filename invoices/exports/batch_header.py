"""The id and the time of a batch, which is one export."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from invoices.errors import ConfigurationError

REHEARSAL_SUFFIX = "-REHEARSAL"  # of the id of a batch whose values came from the sandbox
_FOLDER_NAME_PATTERN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """One export: ``batch_id`` names its folder, ``created_at`` (aware, UTC) is the only time written to its files.

    Raises ConfigurationError if the id is not a valid folder name or the time is not in UTC.
    """

    batch_id: str
    created_at: dt.datetime

    def __post_init__(self) -> None:
        if not _FOLDER_NAME_PATTERN.fullmatch(self.batch_id):
            raise ConfigurationError(f"batch id {self.batch_id!r} cannot name a folder: use letters, digits, . _ and -")
        if self.created_at.utcoffset() != dt.timedelta(0):
            raise ConfigurationError(f"batch {self.batch_id!r} has the time {self.created_at!r}, which is not UTC")

    @property
    def is_rehearsal(self) -> bool:
        """Whether the sandbox stood in for the vendors, so that nothing in the batch belongs in the books.

        The id alone says so: a batch of an earlier release has no such id, and is written again as it was.
        """
        return self.batch_id.endswith(REHEARSAL_SUFFIX)

    @property
    def created_at_text(self) -> str:
        """``created_at`` in ISO 8601 with a Z, in full precision."""
        return self.created_at.replace(tzinfo=None).isoformat() + "Z"
