"""What came in is untrusted: no text breaks a transaction, and each is found again by the text that came in."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from postgres_server import PostgresServer

from invoices.errors import ConfigurationError
from invoices.ledger import Ledger
from invoices.ledger.documents import document_row, documents_at, find_documents, settle, sighting_rows
from invoices.ledger.extractions import Terms, advance, extraction_rows, intend, record_answer
from invoices.ledger.judgements import Candidate, Finding, candidate_rows, document_of, finding_rows, record_judgement
from invoices.ledger.sightings import Sighting, fingerprints, record_sighting

DOCUMENT = "d" * 64
ODD = [
    "nul \0 inside",
    "\0",
    "half \ud83d here",
    "\udcff",
    "whole \U0001f600",
    "'; drop table notes; --",
    "\r\n\x1b[31m",
]


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    opened = Ledger(ledger_url)
    yield opened
    opened.close()


def kept(odd: str) -> str:
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in odd)


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_a_sighting_with_odd_words_is_kept_and_found_by_them(ledger: Ledger, odd: str) -> None:
    seen = Sighting("s1", DOCUMENT, "t", 1, "inbox", "folder", f"/in/{odd}", odd, odd, odd, odd, fingerprint="f")
    with ledger.transaction() as tx:
        assert record_sighting(tx, seen)
        assert not record_sighting(tx, seen)
        settle(tx, DOCUMENT, stage="done", state="quarantined", reason_code="damaged", reason=odd)
        assert not settle(tx, DOCUMENT, stage="done", state="quarantined", reason_code="damaged", reason=kept(odd))
    with ledger.reading() as connection:
        (row,) = sighting_rows(connection, DOCUMENT)
        assert {row[name] for name in ("file_name", "sender", "subject", "message_id")} == {kept(odd)}
        assert documents_at(connection, odd) == documents_at(connection, f"/in/{odd}") == [DOCUMENT]
        assert list(fingerprints(connection, "inbox", [f"/in/{odd}"]).values()) == [{"f"}]
        assert (document_row(connection, DOCUMENT) or {})["reason"] == kept(odd)


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_answers_messages_and_judgements_with_odd_words_are_kept(ledger: Ledger, odd: str) -> None:
    payload = json.dumps({"says": odd}, ensure_ascii=False)
    with ledger.transaction() as tx:
        record_answer(tx, "x1", DOCUMENT, "einvoice", odd)
        intend(tx, Terms("v"), "x2", DOCUMENT, pages=1, run="A")
        advance(tx, "x2", "failed", message=odd, payload=payload)
        judged = Candidate("i1", DOCUMENT, 1, "review", None, None, odd, payload)
        record_judgement(tx, [judged], [Finding("i1", DOCUMENT, "R", "warning", odd)], "rules", ())
    with ledger.reading() as connection:
        first, second = extraction_rows(connection, DOCUMENT)
        assert (first["payload"], second["message"]) == (kept(odd), kept(odd))
        assert candidate_rows(connection, DOCUMENT)[0]["invoice_number"] == kept(odd)
        assert finding_rows(connection, DOCUMENT)[0]["message"] == kept(odd)
        assert document_of(connection, odd) == [DOCUMENT]
        assert find_documents(connection, odd) == []


def test_an_error_of_the_server_tells_no_password(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    for wrong in (url.replace("sesame", "open-sesame"), f"{url}_that_is_not_there", url.replace("house:", "nobody:")):
        with pytest.raises(ConfigurationError, match="ledger") as caught:
            Ledger(wrong)
        assert "sesame" not in f"{caught.value} {caught.value.__cause__!r} {caught.value.__context__!r}"
