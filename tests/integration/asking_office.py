"""A house's extraction APIs, run after run, each at its stand-in in one sandbox, over a line of its own."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Any

from sqlalchemy import delete

from invoices.extraction.asking import Asking
from invoices.extraction.desk import Asked
from invoices.extraction.patience.buckets import Buckets
from invoices.ledger.claims import claim_these
from invoices.ledger.tables import claims
from invoices.settings import Settings
from tests.integration.extraction_office import MINUTE, SCALE, Line, Office, key_of

SMARTBILLS, BILLFLOW, BATCHES = "smartbills_com", "billflowai", "invoicedataextraction_com"


class AskingOffice:
    """``order`` is the settings' order of preference; a vendor without a line is met directly."""

    def __init__(self, office: Office, settings: Settings, lines: dict[str, Line]) -> None:
        self.office, self.lines, self._settings, self.runs = office, lines, settings, 0
        self.order: tuple[str, ...] = (SMARTBILLS, BILLFLOW)
        self.fall_back = "failed"
        self.keys = {BATCHES: key_of(), SMARTBILLS: key_of(), BILLFLOW: key_of("bf_live_sandbox_asking")}
        self.without: set[str] = set()  # whose key is not set
        self.parts: dict[str, dict[str, Any]] = {name: {} for name in self.keys}
        self.asked: dict[str, Asked] = {}
        self.left_alone: set[str] = set()
        self.turn(SMARTBILLS, plan="enterprise", rate_limits=False)
        self.turn(BILLFLOW, rate_limit_per_minute=0)

    def turn(self, vendor: str, **knobs: object) -> None:
        """Turn knobs of one vendor for this house's account there."""
        self.office.sandbox.turn(self.keys[vendor], **{f"{vendor}__{name}": value for name, value in knobs.items()})

    def settings(self) -> Settings:
        """Return the settings of the next run."""
        parts = {name: self._part(name) for name in self.keys}
        values = {"home": self._settings.home, "extractors": self.order, "fall_back": self.fall_back, **parts}
        return Settings(**values, vendor_minute_seconds=MINUTE)

    def _part(self, name: str) -> dict[str, Any]:
        base_url = getattr(self.office.sandbox, name)["base_url"]
        address = self.lines[name].address(base_url) if name in self.lines else base_url
        key = {} if name in self.without else {"api_key": self.keys[name]}
        plan = {"plan": "enterprise"} if name == SMARTBILLS else {}
        if name == BILLFLOW:
            plan = {"requests_per_minute": 1_000}
        return {"base_url": address, "connections": 1, **plan, **key, **self.parts[name]}

    def ask(self, *, batches: int = 1, taken_over: Iterable[str] = ()) -> dict[str, Asked]:
        """Ask about everything that waits, in so many batches of one run; return what it came to, by vendor.

        Documents that are ``taken_over`` are in another worker's hands by then.
        """
        self.runs += 1
        worker, ledger = f"worker-{self.runs}", self.office.ledger

        def claim_all(hashes: Iterable[str]) -> bool:
            with ledger.transaction() as tx:
                return claim_these(tx, worker, hashes)

        with closing(Buckets(ledger.url, self._settings.home, SCALE)) as buckets:
            asking = Asking(self.settings(), ledger, self.office.store, buckets, worker, claim_all)
            documents = self.office.claimed(worker)
            self._give_to_another(taken_over)
            size = -(-len(documents) // batches) or 1
            for start in range(0, len(documents), size):
                asking.ask(documents[start : start + size], self.office.count)
            self.asked, self.left_alone = asking.take_asked(), set(asking.left_alone)
        return self.asked

    def _give_to_another(self, hashes: Iterable[str]) -> None:
        with self.office.ledger.transaction() as tx:
            for sha256 in hashes:
                tx.connection.execute(delete(claims).where(claims.c.document_sha256 == sha256))
            claim_these(tx, "another", hashes)

    def charges(self, vendor: str) -> list[str]:
        """Return the documents that a vendor charged for, in order."""
        return [charge["document_sha256"] for charge in self._journal(vendor)["charges"]]

    def pages(self, vendor: str) -> int:
        """Return the pages that a vendor charged for."""
        return sum(charge["pages"] for charge in self._journal(vendor)["charges"])

    def calls(self, vendor: str) -> int:
        """Return how many calls a vendor saw."""
        return sum(self._journal(vendor)["requests"].values())

    def _journal(self, vendor: str) -> dict[str, Any]:
        return self.office.sandbox.journal(self.keys[vendor])

    def asked_whom(self, sha256: str) -> dict[str, str]:
        """Return who was asked about a document, and how each question stands."""
        return {job["extracted_by"]: job["status"] for job in self.office.jobs(sha256)}
