"""Results of the official rules: kept by document, rule set and version, and found by the version of the table."""

from __future__ import annotations

from dataclasses import replace

from invoices.ledger import Ledger
from invoices.ledger.official_results import OfficialResult, list_official_results, record_official_results

RESULT = OfficialResult("a" * 64, "cen-ubl", "1.3.16", "EN 16931:2017", "t1", "invalid", "", '[[{"rule_id": "BR-1"}]]')


def test_a_result_is_kept_once_and_other_versions_stay_beside_it(ledger: Ledger) -> None:
    newer_rules = replace(RESULT, rule_set_version="1.4", table_version="t2", status="valid")
    with ledger.begin_transaction() as tx:
        record_official_results(tx, [RESULT, replace(RESULT, document_sha256="b" * 64), newer_rules])
    with ledger.begin_transaction() as tx:
        record_official_results(tx, [replace(RESULT, status="valid")])
    with ledger.open_snapshot() as connection:
        assert list_official_results(connection, ["a" * 64, "c" * 64], "t1") == [replace(RESULT, status="valid")]
        assert list_official_results(connection, ["a" * 64], "t2") == [newer_rules]


def test_a_text_that_a_database_refuses_does_not_stop_the_record(ledger: Ledger) -> None:
    with ledger.begin_transaction() as tx:
        record_official_results(tx, [replace(RESULT, reason="a\0b\ud800")])
    with ledger.open_snapshot() as connection:
        assert list_official_results(connection, ["a" * 64], "t1")[0].reason == "a�b�"
