"""How many calls a minute a key has, and how many extractions at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.billflowai.refusals import Refused
from sandbox.journal import Journal

WINDOW = "billflowai.minute"


class Minute:
    """Counts calls per key in fixed windows, each begun by a key's first call in it; refused calls count as well."""

    def __init__(self, journal: Journal, minute_seconds: float) -> None:
        self._journal, self._length = journal, minute_seconds

    def wait(self, api_key: str, limit: int, now: float) -> float | None:
        """Count one call; return None where it is within the limit, else the seconds until the window ends."""
        if limit == 0:
            return None
        started, used = self._journal.window(api_key, WINDOW)
        if not started <= now < started + self._length:
            started, used = now, 0
        self._journal.windows[api_key, WINDOW] = (started, used + 1)
        return None if used < limit else started + self._length - now


class Desks:
    """Who is being served at this moment, per key."""

    def __init__(self) -> None:
        self._busy: Counter[str] = Counter()

    @contextmanager
    def one(self, api_key: str, limit: int) -> Iterator[None]:
        """Hold one of the key's places; raises Refused where ``limit`` of them (0: any number) are taken."""
        if limit and self._busy[api_key] >= limit:
            raise Refused("RATE_LIMITED", "Too many extractions at a time.")
        self._busy[api_key] += 1
        try:
            yield
        finally:
            self._busy[api_key] -= 1
