"""Someone who asks smartbills.com about documents, run after run, over a line to the sandbox."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from invoices.clients.smartbills_com import SmartBillsCom
from invoices.clients.transport import make_session
from invoices.extraction.desk import Asked
from invoices.extraction.patience.pacing import VendorStopped
from invoices.extraction.smartbills_com import EXTRACTOR, VENDOR, SmartBillsExtraction
from invoices.ledger.documents import pending_count
from tests.integration.extraction_office import MINUTE, Counting, Line, Office, key_of


class SmartBillsAsker:
    """One account; ``asked`` and ``stopped`` are what the last run came to."""

    def __init__(self, office: Office, line: Line) -> None:
        self.office, self.line, self.key = office, line, key_of()
        self.options: dict[str, Any] = {}
        self.counting = Counting()
        self.client: Callable[..., SmartBillsCom] = SmartBillsCom
        self.asked, self.runs = Asked(), 0
        self.stopped: VendorStopped | None = None
        self.call_seconds = 30.0
        self.turn(plan="enterprise", rate_limits=False)

    def turn(self, **knobs: object) -> None:
        """Turn knobs of the vendor for this account."""
        self.office.sandbox.turn(self.key, **{f"smartbills_com__{name}": value for name, value in knobs.items()})

    def ask(self) -> Asked:
        """Ask about everything that waits, as a run that starts anew would."""
        self.runs += 1
        worker = f"worker-{self.runs}"
        address = self.line.address(self.office.sandbox.smartbills_com["base_url"])
        desk = self.office.desk(EXTRACTOR, VENDOR, worker)
        with make_session() as session:
            client = self.client(address, self.key, session, deadline=self.call_seconds)
            extraction = SmartBillsExtraction(desk, client, self.counting.budget(), **self.options)
            self.asked, self.stopped = desk.asked, None
            try:
                extraction.ask(self.office.claimed(worker), self.office.count)
            except VendorStopped as stop:
                self.stopped = stop
        return desk.asked

    def ask_until_nothing_waits(self, *, runs: int = 20) -> None:
        """Ask in one run after another, with a minute of the vendor between them."""
        for _ in range(runs):
            self.ask()
            with self.office.ledger.reading() as connection:
                if not pending_count(connection, "ask"):
                    return
            time.sleep(MINUTE)

    def charges(self) -> list[str]:
        """Return the documents that the vendor charged for, in order."""
        return [charge["document_sha256"] for charge in self.office.sandbox.journal(self.key)["charges"]]

    def pages(self) -> int:
        """Return the pages that the vendor charged for."""
        return sum(charge["pages"] for charge in self.office.sandbox.journal(self.key)["charges"])
