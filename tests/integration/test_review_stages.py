"""Stages over more than one batch: what stops a vendor stops it for the whole run, and only what must."""

from __future__ import annotations

from pathlib import Path

from prepared_house import see
from pydantic import SecretStr

from flows.stages import ask
from invoices.house import House
from invoices.ledger.documents import settle
from invoices.report import Report
from invoices.settings import Settings, SmartBillsCom


def test_a_vendor_that_is_down_is_left_alone_for_all_batches(tmp_path: Path) -> None:
    down = SmartBillsCom(base_url="http://127.0.0.1:9", api_key=SecretStr("sk_test_down"))
    settings = Settings(home=tmp_path, smartbills_com=down, vendor_minute_seconds=0.01, batch_size=1)
    report = Report()
    with House(settings, vendors=lambda _closing: settings) as house:
        with house.ledger.transaction() as tx:
            for name in ("a", "b", "c"):
                document = see(tx, name)
                house.store.put(name.encode())
                settle(tx, document, stage="ask", state="waiting", reason_code="needs_extraction", reason="It is.")
        for batch in ask.pending(house, report):
            ask.work(house, batch, report)
    assert len(report.problems) == 1
    assert "is not available" in report.problems[0]
