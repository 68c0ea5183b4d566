"""Someone who asks BillflowAI about documents, run after run, over a line to the sandbox or straight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from invoices.clients.billflowai import BillflowAi
from invoices.clients.transport import make_session
from invoices.extraction.billflowai import EXTRACTOR, VENDOR, BillflowAiExtraction
from invoices.extraction.desk import Asked
from invoices.extraction.patience.pacing import VendorStopped
from tests.integration.extraction_office import Counting, Line, Office, key_of


class BillflowAsker:
    """One account; ``asked`` and ``stopped`` are what the last run came to."""

    def __init__(self, office: Office, line: Line | None) -> None:
        self.office, self.key, self.counting = office, key_of("bf_live_sandbox_office"), Counting()
        base_url = office.sandbox.billflowai["base_url"]
        self.address = base_url if line is None else line.address(base_url)
        self.options: dict[str, Any] = {}
        self.client: Callable[..., BillflowAi] = BillflowAi
        self.asked, self.runs = Asked(), 0
        self.stopped: VendorStopped | None = None
        self.turn(read_strangers=True, rate_limit_per_minute=0)

    def turn(self, **knobs: object) -> None:
        """Turn knobs of the vendor for this account."""
        self.office.sandbox.turn(self.key, **{f"billflowai__{name}": value for name, value in knobs.items()})

    def ask(self) -> Asked:
        """Ask about everything that waits, as a run that starts anew would."""
        self.runs += 1
        worker = f"worker-{self.runs}"
        desk = self.office.desk(EXTRACTOR, VENDOR, worker, counts_pages=False)
        with make_session() as session:
            client = self.client(self.address, self.key, session, deadline=30)
            extraction = BillflowAiExtraction(desk, client, self.counting.budget(), **self.options)
            self.asked, self.stopped = desk.asked, None
            try:
                extraction.ask(self.office.claimed(worker), self.office.count)
            except VendorStopped as stop:
                self.stopped = stop
        return desk.asked

    def charges(self) -> list[str]:
        """Return the documents that the vendor charged for, in order."""
        return [charge["document_sha256"] for charge in self.office.sandbox.journal(self.key)["charges"]]

    def requests(self) -> int:
        """Return how many calls the vendor saw."""
        return sum(self.office.sandbox.journal(self.key)["requests"].values())
