"""The mails of the corpus: every attachment of the manifest is found, and the headers match the manifest."""

from __future__ import annotations

import email
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from invoices.documents.containers.mail import open_mail
from invoices.documents.containers.mime_tree import parse_mail, walk_leaves
from tests.run_environment import CORPUS_DIRECTORY

NO_CORPUS_MARKER = "none here"

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not (CORPUS_DIRECTORY / "manifest.jsonl").is_file(), reason="no corpus: set INVOICES_CORPUS"),
]

# Not mails, or mails whose parts cannot be separated; the manifest expects nothing of them.
DAMAGED_MAILS = {
    "mail_outlook_1": "an Outlook file, not a mail",
    "multipart-wo-boundary.raw": "a multipart without boundary and without parts",
    "very-very-long-boundary.msg": "a boundary of 28,000 characters; RFC 2046 allows 70",
}

# Mails of which our parser splits the leaves of the standard parser further.
DIFFERENTLY_SPLIT_MAILS = {
    "multi-digest.msg": "the boundary is folded over two lines",
    "017.eml": "a semicolon is missing before the boundary",
    "009.eml": "a fragment of a mail is kept whole, with the headers in it",
}


def load_mail_entries() -> list[dict[str, Any]]:
    manifest = CORPUS_DIRECTORY / "manifest.jsonl"
    lines = manifest.read_text("utf-8").splitlines() if manifest.is_file() else []
    return [entry for entry in map(json.loads, lines) if entry["kind"] == "email"]


MAILS = load_mail_entries() or [{"path": NO_CORPUS_MARKER}]
MAILS_WITH_EXPECTATIONS = [entry for entry in MAILS if entry.get("expected")] or [{"path": NO_CORPUS_MARKER}]


def get_file_name(entry: dict[str, Any]) -> str:
    return Path(entry["path"]).name


def read_mail(entry: dict[str, Any]) -> bytes:
    return (CORPUS_DIRECTORY / entry["path"]).read_bytes()


def test_all_mails_of_the_corpus_are_tested() -> None:
    assert len(MAILS) == 50


@pytest.mark.parametrize("entry", MAILS, ids=get_file_name)
def test_each_mail_is_opened_or_reported_as_damaged(entry: dict[str, Any]) -> None:
    opened_mail, contents = open_mail(read_mail(entry))
    assert opened_mail.reason_code == ("damaged_mail" if get_file_name(entry) in DAMAGED_MAILS else None)
    assert "failed" not in (opened_mail.reason or "")
    assert len(opened_mail.parts) == len(contents)


@pytest.mark.parametrize("entry", MAILS_WITH_EXPECTATIONS, ids=get_file_name)
def test_every_attachment_of_the_manifest_is_among_the_parts(entry: dict[str, Any]) -> None:
    opened_mail, contents = open_mail(read_mail(entry))
    actual = {
        hashlib.sha256(content).hexdigest(): part for part, content in zip(opened_mail.parts, contents, strict=True)
    }
    for attachment in entry["expected"]["attachments"]:
        assert attachment["sha256"] in actual
    names = {part.file_name for part in opened_mail.parts}
    assert {attachment["filename"] for attachment in entry["expected"]["attachments"]} <= names


@pytest.mark.parametrize("entry", MAILS_WITH_EXPECTATIONS, ids=get_file_name)
def test_sender_subject_and_message_id_are_those_of_the_manifest(entry: dict[str, Any]) -> None:
    header, expected = open_mail(read_mail(entry))[0].header, entry["expected"]
    assert header is not None
    actual = {"from_address": header.sender, "subject": header.subject, "message_id": header.message_id}
    stated = {key: value for key, value in expected.items() if key in actual and value is not None}
    if "from_address" in stated:
        stated["from_address"] = stated["from_address"].lower()  # ours is in lower case
    assert {key: actual[key] for key in stated} == stated


@pytest.mark.parametrize(
    "entry", [entry for entry in MAILS if get_file_name(entry) not in DIFFERENTLY_SPLIT_MAILS], ids=get_file_name
)
def test_no_leaf_of_the_standard_parser_is_missing(entry: dict[str, Any]) -> None:
    """Compares with the leaves that the standard library decodes; ours is longer where we decode more."""
    content = read_mail(entry)
    ours = [leaf.content for leaf in walk_leaves(parse_mail(content))]
    for part in email.message_from_bytes(content).walk():
        payload = None if part.is_multipart() else part.get_payload(decode=True)
        if isinstance(payload, bytes) and payload.strip() and not part.is_multipart():
            assert any(payload in leaf for leaf in ours), part.get_content_type()
