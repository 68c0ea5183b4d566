"""The documents that one vendor is asked about in one go: which are still to be started, and which not concluded."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from invoices.errors import TransientError
from invoices.extraction.desk import Desk, NotOurs
from invoices.extraction.patience.pacing import VendorStopped
from invoices.ledger.documents import Pending
from invoices.ledger.spending import CapReached


class Queue:
    """Documents in the order of their arrival; several threads may take from it."""

    def __init__(self, desk: Desk) -> None:
        """Start empty."""
        self._desk, self._lock = desk, threading.Lock()
        self._todo: deque[Pending] = deque()
        self._open: dict[str, Pending] = {}
        self._done: Callable[[int], None] = lambda _: None
        self._has_told_cap = False

    def fill(self, documents: Sequence[Pending], done: Callable[[int], None], also: Iterable[Pending] = ()) -> None:
        """Put documents in, and others ``also`` that are started already; ``done`` is told how many get concluded."""
        with self._lock:
            self._todo = deque(documents)
            self._open = {document.document_sha256: document for document in (*documents, *also)}
            self._done = done

    def take(self) -> Pending | None:
        """Return the next document to start with, or None."""
        with self._lock:
            return self._todo.popleft() if self._todo else None

    def take_all(self) -> list[Pending]:
        """Return all documents to start with."""
        with self._lock:
            taken = list(self._todo)
            self._todo.clear()
            return taken

    def put_back(self, documents: Sequence[Pending]) -> None:
        """Let documents be started once more, before the others."""
        with self._lock:
            self._todo.extendleft(reversed(documents))

    def __len__(self) -> int:
        """Return how many documents are to be started."""
        return len(self._todo)

    def concluded(self, *documents: str) -> None:
        """Take note that documents are answered, set aside or no longer ours."""
        with self._lock:
            count = sum(self._open.pop(document, None) is not None for document in documents)
        if count:
            self._done(count)

    def one(self, document: Pending, start: Callable[[Pending], None]) -> None:
        """Start with a document; what concerns it alone, or only what is not begun yet, ends here."""
        try:
            start(document)
        except NotOurs:
            self.concluded(document.document_sha256)
        except TransientError as error:
            reason = f"{self._desk.vendor} did not take it: {error}"
            self._desk.leave_waiting([document.document_sha256], "vendor_unavailable", reason)
            self._desk.put_off.add(document.document_sha256)
            self._desk.asked.problems.append(f"document {document.document_sha256[:12]}: {reason}")
            self.concluded(document.document_sha256)
        except CapReached as cap:
            self.hold_back([document], cap)

    def give_up_for_now(self, documents: Sequence[Pending], reason: str) -> None:
        """Leave documents to a later run because the vendor does not take them now, and tell."""
        waiting = [document.document_sha256 for document in documents]
        self._desk.leave_waiting(waiting, "vendor_unavailable", reason)
        self._desk.put_off.update(waiting)
        self._desk.asked.problems.append(f"{len(waiting)} documents wait: {reason}")
        self.concluded(*waiting)

    def hold_back(self, documents: Sequence[Pending], cap: CapReached) -> None:
        """Leave these documents, and all others that cannot fit either, to a run in which the cap has room.

        Smaller ones are still tried, and what is submitted already is still looked at.
        """
        least = min(map(self._desk.pages, documents))
        with self._lock:
            begun = self._desk.open_among(document.document_sha256 for document in self._todo)
            goes_on = [one for one in self._todo if one.document_sha256 in begun or self._desk.pages(one) < least]
            kept = {one.document_sha256 for one in goes_on}
            waiting = [one.document_sha256 for one in (*documents, *self._todo) if one.document_sha256 not in kept]
            self._todo = deque(goes_on)
            if not self._has_told_cap:
                self._desk.asked.remarks.append(str(cap))
                self._has_told_cap = True
        self._desk.leave_waiting(waiting, "cap_reached", f"{cap}.")
        self.concluded(*waiting)

    def leave_waiting(self, stop: VendorStopped) -> None:
        """Write why everything that is not concluded waits."""
        with self._lock:
            waiting = list(self._open)
            self._todo.clear()
            self._open.clear()
        if stop.is_problem:
            self._desk.asked.problems.append(stop.reason)
        self._desk.leave_waiting(waiting, stop.reason_code, stop.reason)
