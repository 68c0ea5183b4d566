"""The corpus of real documents: what is in its signed files, its winmail.dat and its mails, by hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from invoices.documents.containers.opened_container import ContainerContents
from invoices.documents.containers.recursive_opener import open_container_recursively
from invoices.documents.media_types import detect_media_type

pytestmark = pytest.mark.corpus

Document = dict[str, Any]


@pytest.fixture(scope="module")
def documents(corpus: Path) -> list[Document]:
    return [json.loads(line) for line in (corpus / "manifest.jsonl").read_text("utf-8").splitlines()]


def open_document(corpus: Path, document: Document) -> ContainerContents:
    content = (corpus / document["path"]).read_bytes()
    return open_container_recursively(content, detect_media_type(content), file_name=Path(document["path"]).name)


def test_every_winmail_dat_gives_the_attachments_it_is_known_to_have(corpus: Path, documents: list[Document]) -> None:
    files = [document for document in documents if document["kind"] == "tnef"]
    assert len(files) == 5
    for document in files:
        opened_container, contents = open_document(corpus, document)
        expected = [
            (attachment["filename"], attachment["sha256"]) for attachment in document["expected"]["attachments"]
        ]
        hashes = [hashlib.sha256(content).hexdigest() for content in contents]
        assert [
            (part.file_name, digest) for part, digest in zip(opened_container.parts, hashes, strict=True)
        ] == expected
        assert opened_container.reason_code is None


def test_every_signed_invoice_gives_its_xml(corpus: Path, documents: list[Document]) -> None:
    files = [one for one in documents if one["path"].endswith(".p7m") and one["kind"] == "einvoice_fatturapa"]
    assert len(files) == 3
    for document in files:
        opened_container, (content,) = open_document(corpus, document)
        assert (opened_container.parts[0].media_type, opened_container.parts[0].file_name) == (
            "application/xml",
            Path(document["path"]).stem,
        )
        assert document["expected"]["seller_tax_id"].encode() in content


def test_a_signed_invoice_that_was_tampered_with_is_answered(corpus: Path, documents: list[Document]) -> None:
    files = [one for one in documents if one["path"].endswith(".p7m") and one["kind"] == "xml_hostile"]
    assert [open_document(corpus, one)[0].reason_code for one in files] == ["damaged_signed", "damaged_signed"]


def test_everything_in_every_mail_comes_out_and_no_container_stays_closed_in_silence(
    corpus: Path, documents: list[Document]
) -> None:
    kinds = {"message/rfc822", "application/zip", "application/pkcs7-mime", "application/ms-tnef"}
    for document in (one for one in documents if one["kind"] == "email"):
        opened_container, contents = open_document(corpus, document)
        assert len(opened_container.parts) == len(contents)
        closed = [part for part in opened_container.parts if part.media_type in kinds and not part.skip_reason_code]
        assert all(flag.rule_id == "INTAKE-CONTAINER" for part in closed for flag in part.flags[-1:]), document["path"]
        assert all(part.flags for part in closed), document["path"]
