"""Untrusted text: no text breaks a transaction, and each is found again by the text that was received."""

from __future__ import annotations

import json

import pytest

from invoices.errors import ConfigurationError
from invoices.ledger import Ledger
from invoices.ledger.documents import (
    find_document_row,
    list_document_hashes_by_name,
    list_document_hashes_by_prefix,
    list_sighting_rows,
    set_document_state,
)
from invoices.ledger.extractions import (
    ExtractionTerms,
    list_extraction_rows,
    record_free_answer,
    record_intent,
    update_extraction,
)
from invoices.ledger.sightings import Sighting, list_fingerprints_by_location, record_sighting
from invoices.ledger.validations import (
    Candidate,
    Finding,
    list_candidate_rows,
    list_document_hashes_by_invoice,
    list_finding_rows,
    record_validation,
)
from tests.servers.postgres_server import USER, PostgresServer

DOCUMENT = "d" * 64
ODD_TEXTS = [
    "nul \0 inside",
    "\0",
    "half \ud83d here",
    "\udcff",
    "whole \U0001f600",
    "'; drop table notes; --",
    "\r\n\x1b[31m",
]


def replace_unstorable_characters(text: str) -> str:
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


@pytest.mark.parametrize("odd", ODD_TEXTS, ids=ascii)
def test_a_sighting_with_odd_texts_is_stored_and_found_by_them(ledger: Ledger, odd: str) -> None:
    new_sighting = Sighting(
        "s1", DOCUMENT, "t", 1, "inbox", "folder", f"/in/{odd}", odd, odd, odd, odd, fingerprint="f"
    )
    with ledger.begin_transaction() as tx:
        assert record_sighting(tx, new_sighting)
        assert not record_sighting(tx, new_sighting)
        set_document_state(tx, DOCUMENT, stage="done", state="quarantined", reason_code="damaged", reason=odd)
        assert not set_document_state(
            tx,
            DOCUMENT,
            stage="done",
            state="quarantined",
            reason_code="damaged",
            reason=replace_unstorable_characters(odd),
        )
    with ledger.open_snapshot() as connection:
        (row,) = list_sighting_rows(connection, DOCUMENT)
        assert {row[name] for name in ("file_name", "sender", "subject", "message_id")} == {
            replace_unstorable_characters(odd)
        }
        assert (
            list_document_hashes_by_name(connection, odd)
            == list_document_hashes_by_name(connection, f"/in/{odd}")
            == [DOCUMENT]
        )
        assert list(list_fingerprints_by_location(connection, "inbox", [f"/in/{odd}"]).values()) == [{"f"}]
        assert (find_document_row(connection, DOCUMENT) or {})["reason"] == replace_unstorable_characters(odd)


@pytest.mark.parametrize("odd", ODD_TEXTS, ids=ascii)
def test_answers_messages_and_validations_with_odd_texts_are_stored(ledger: Ledger, odd: str) -> None:
    payload = json.dumps({"says": odd}, ensure_ascii=False)
    with ledger.begin_transaction() as tx:
        record_free_answer(tx, "x1", DOCUMENT, "einvoice", odd)
        record_intent(tx, ExtractionTerms("v"), "x2", DOCUMENT, pages=1, run_id="A")
        update_extraction(tx, "x2", "failed", message=odd, payload=payload)
        validated_candidate = Candidate("i1", DOCUMENT, 1, "review", odd, payload)
        record_validation(tx, [validated_candidate], [Finding("i1", DOCUMENT, "R", "warning", odd)], "rules", ())
    with ledger.open_snapshot() as connection:
        first, second = list_extraction_rows(connection, DOCUMENT)
        assert (first["payload"], second["message"]) == (
            replace_unstorable_characters(odd),
            replace_unstorable_characters(odd),
        )
        assert list_candidate_rows(connection, DOCUMENT)[0]["invoice_number"] == replace_unstorable_characters(odd)
        assert list_finding_rows(connection, DOCUMENT)[0]["message"] == replace_unstorable_characters(odd)
        assert list_document_hashes_by_invoice(connection, odd) == [DOCUMENT]
        assert list_document_hashes_by_prefix(connection, odd) == []


def test_a_server_error_contains_no_password(postgres: PostgresServer) -> None:
    url = postgres.create_database()
    for wrong in (
        url.replace("sesame", "open-sesame"),
        f"{url}_that_is_not_there",
        url.replace(f"{USER}:", "nobody:", 1),
    ):
        with pytest.raises(ConfigurationError, match="ledger") as caught:
            Ledger(wrong)
        assert "sesame" not in f"{caught.value} {caught.value.__cause__!r} {caught.value.__context__!r}"
