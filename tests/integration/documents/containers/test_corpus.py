"""The corpus of real documents: the contents of its signed files, winmail.dat files and mails, by hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from invoices.documents.containers.opened_container import ContainerContents
from invoices.documents.containers.recursive_opener import open_container_recursively
from invoices.documents.content_sniffing import detect_media_type

pytestmark = pytest.mark.corpus

Document = dict[str, Any]


@pytest.fixture(scope="module")
def documents(corpus: Path) -> list[Document]:
    return [json.loads(line) for line in (corpus / "manifest.jsonl").read_text("utf-8").splitlines()]


def open_document(corpus: Path, document: Document) -> ContainerContents:
    content = (corpus / document["path"]).read_bytes()
    return open_container_recursively(content, detect_media_type(content), file_name=Path(document["path"]).name)


def test_every_winmail_dat_gives_the_attachments_of_the_manifest(corpus: Path, documents: list[Document]) -> None:
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
    files = [
        document
        for document in documents
        if document["path"].endswith(".p7m") and document["kind"] == "einvoice_fatturapa"
    ]
    assert len(files) == 3
    for document in files:
        opened_container, (content,) = open_document(corpus, document)
        assert (opened_container.parts[0].media_type, opened_container.parts[0].file_name) == (
            "application/xml",
            Path(document["path"]).stem,
        )
        assert document["expected"]["seller_tax_id"].encode() in content


def test_a_signed_invoice_that_was_tampered_with_is_damaged(corpus: Path, documents: list[Document]) -> None:
    files = [
        document for document in documents if document["path"].endswith(".p7m") and document["kind"] == "xml_hostile"
    ]
    assert [open_document(corpus, document)[0].reason_code for document in files] == [
        "damaged_signed",
        "damaged_signed",
    ]


def test_every_mail_is_opened_and_every_unopened_container_is_flagged(corpus: Path, documents: list[Document]) -> None:
    container_types = {"message/rfc822", "application/zip", "application/pkcs7-mime", "application/ms-tnef"}
    for document in (document for document in documents if document["kind"] == "email"):
        opened_container, contents = open_document(corpus, document)
        assert len(opened_container.parts) == len(contents)
        unopened = [
            part for part in opened_container.parts if part.media_type in container_types and not part.skip_reason_code
        ]
        assert all(flag.rule_id == "INTAKE-CONTAINER" for part in unopened for flag in part.flags[-1:]), document[
            "path"
        ]
        assert all(part.flags for part in unopened), document["path"]
