"""The judging stage: what cannot be judged is set aside alone, and the rest of its batch is judged."""

from __future__ import annotations

import hashlib
import json

from flows.stages import judge
from invoices.house import House
from invoices.ledger.documents import count_by_state, document_row, settle
from invoices.ledger.extractions import record_answer
from invoices.ledger.sightings import Sighting, record_sighting
from invoices.report import Report

POISON = "not JSON at all"
SOUND = json.dumps({"syntax": "ubl", "profile": "peppol", "source": "xml", "invoices": [{"invoice_number": "1"}]})


def answered(house: House, payload: str, name: str) -> str:
    """Record a document with an answer that waits to be judged; return its hash."""
    document = hashlib.sha256(name.encode()).hexdigest()
    with house.ledger.transaction() as tx:
        record_sighting(tx, Sighting(name, document, "application/xml", 1, "inbox", "folder", f"/{name}"))
        record_answer(tx, name, document, "einvoice", payload)
        settle(tx, document, stage="judge", state="waiting", reason_code="read", reason="")
    return document


def run(house: House) -> Report:
    report = Report()
    for batch in judge.pending(house, report):
        judge.work(house, batch, report)
    return report


def test_an_answer_that_is_no_answer_is_set_aside_and_the_others_are_judged(house: House) -> None:
    sound = [answered(house, SOUND.replace('"1"', f'"{number}"'), f"sound-{number}") for number in range(5)]
    poison = answered(house, POISON, "poison")
    more = answered(house, SOUND.replace('"1"', '"9"'), "sound-9")
    report = run(house)
    assert report.judged.total() == len(sound) + 1
    with house.ledger.reading() as connection:
        row = document_row(connection, poison)
        states = count_by_state(connection)
        assert (document_row(connection, more) or {})["stage"] == "done"
    assert row is not None
    assert (row["state"], row["stage"]) == ("quarantined", "done")
    assert not [state for state, _ in states if state == "waiting"]
