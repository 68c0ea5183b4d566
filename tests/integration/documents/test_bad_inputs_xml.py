"""XML of docs/bad-inputs.md: refused or read as text; nothing is fetched, opened or expanded."""

from __future__ import annotations

import codecs
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.documents.reader_monitor import MonitoredReaders

UBL_TEMPLATE = """<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
  xmlns:b="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2"{more}><b:ID>R-7</b:ID>
  <b:Note>{note}</b:Note></Invoice>"""
BILLION_LAUGHS_ENTITIES = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))


@pytest.fixture
def canary_listener() -> Iterator[socket.socket]:
    """A listener to which nothing may connect."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def has_connection(canary_listener: socket.socket) -> bool:
    try:
        canary_listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def build_ubl(note: str = "thank you", more: str = "", encoding: str | None = "UTF-8") -> str:
    declaration = f'<?xml version="1.0" encoding="{encoding}"?>' if encoding else ""
    return declaration + UBL_TEMPLATE.format(note=note, more=more)


def build_nested_xml(levels: int) -> bytes:
    return b"<a>" * levels + b"</a>" * levels


EXTERNAL_DOCTYPES = [
    '<!DOCTYPE Invoice [<!ENTITY x SYSTEM "{file}">]>',
    '<!DOCTYPE Invoice [<!ENTITY x SYSTEM "http://127.0.0.1:{port}/x">]>',
    '<!DOCTYPE Invoice [<!ENTITY % x SYSTEM "http://127.0.0.1:{port}/x">%x;]>',
    '<!DOCTYPE Invoice SYSTEM "http://127.0.0.1:{port}/x.dtd">',
    '<!DOCTYPE Invoice PUBLIC "-//X//EN" "http://127.0.0.1:{port}/x.dtd">',
]


@pytest.mark.parametrize("declared", EXTERNAL_DOCTYPES)
def test_b46_external_entities_are_neither_opened_nor_fetched(
    monitored_readers: MonitoredReaders, canary_listener: socket.socket, tmp_path: Path, declared: str
) -> None:
    (tmp_path / "secret").write_text("a secret")
    declared = declared.format(file=(tmp_path / "secret").as_uri(), port=canary_listener.getsockname()[1])
    reading = monitored_readers.read_document(
        "B-46", (declared + build_ubl(note="&x;" if "ENTITY x" in declared else "", encoding=None)).encode()
    )
    assert (reading.outcome, reading.reason_code) == ("review", "hostile_xml")
    assert "a secret" not in str(reading.to_dict())
    assert not has_connection(canary_listener)


@pytest.mark.parametrize(
    "declared",
    [
        f'<!DOCTYPE Invoice [<!ENTITY a0 "ha">{BILLION_LAUGHS_ENTITIES}]>',
        f'<!DOCTYPE Invoice [<!ENTITY a11 "{"x" * 100_000}">]>',
    ],
    ids=["billion laughs", "quadratic"],
)
def test_b47_entities_are_refused_before_they_grow(monitored_readers: MonitoredReaders, declared: str) -> None:
    reading = monitored_readers.read_document(
        "B-47", (declared + build_ubl(note="&a11;" * 1_000, encoding=None)).encode()
    )
    assert (reading.outcome, reading.reason_code) == ("review", "hostile_xml")


@pytest.mark.parametrize("levels", [101, 257, 200_000])
def test_b48_more_than_a_hundred_levels_are_refused(monitored_readers: MonitoredReaders, levels: int) -> None:
    reading = monitored_readers.read_document("B-48", build_nested_xml(levels))
    assert (reading.outcome, reading.reason_code) == ("review", "hostile_xml")


def test_b48_a_hundred_levels_are_read(monitored_readers: MonitoredReaders) -> None:
    assert monitored_readers.read_document("B-48", build_nested_xml(100)).reason_code == "other_xml"


@pytest.mark.parametrize(
    "content",
    [
        build_ubl("grün", encoding="UTF-16").encode("utf-16"),
        codecs.BOM_UTF8 + build_ubl("grün").encode(),
        build_ubl("grün", encoding="ISO-8859-1").encode("latin-1"),
        build_ubl("grün", encoding="windows-1252").encode("cp1252"),
        build_ubl("green", encoding="ISO-8859-1").encode(),
        build_ubl("grün", encoding=None).encode(),
    ],
    ids=["utf-16", "bom", "latin-1", "windows", "ascii", "undeclared"],
)
def test_b49_xml_in_its_declared_encoding_is_read(monitored_readers: MonitoredReaders, content: bytes) -> None:
    reading = monitored_readers.read_document("B-49", content)
    assert reading.outcome == "einvoice"
    assert reading.payload is not None
    assert reading.payload["invoices"][0]["note"] in {"grün", "green"}


@pytest.mark.parametrize(
    ("content", "reason_code"),
    [
        (build_ubl(encoding="UTF-7").encode(), "hostile_xml"),
        (build_ubl("grün", encoding="ISO-8859-1").encode(), "encoding_mismatch"),
        (build_ubl("grün", encoding="windows-1252").encode(), "encoding_mismatch"),
        (build_ubl(encoding="UTF-16").encode(), "encoding_mismatch"),
        (build_ubl("grün").encode("latin-1"), "malformed_xml"),
        (build_ubl("a\0b").encode(), "malformed_xml"),
        (build_ubl(encoding=None).encode("utf-16-be"), "unsupported_type"),
    ],
    ids=["utf-7", "utf-8 as latin-1", "utf-8 as windows", "utf-8 as utf-16", "latin-1 as utf-8", "NUL", "no mark"],
)
def test_b49_xml_in_another_encoding_than_declared_goes_to_review(
    monitored_readers: MonitoredReaders, content: bytes, reason_code: str
) -> None:
    reading = monitored_readers.read_document("B-49", content)
    assert (reading.outcome, reading.reason_code) == ("review", reason_code)


@pytest.mark.parametrize("note", ["&lt;!DOCTYPE html&gt;&lt;p&gt;x", "<![CDATA[<!DOCTYPE html><html>x</html>]]>"])
def test_b50_a_doctype_within_a_text_is_text(monitored_readers: MonitoredReaders, note: str) -> None:
    reading = monitored_readers.read_document("B-50", build_ubl(note).encode())
    assert reading.outcome == "einvoice"
    assert reading.payload is not None
    assert reading.payload["invoices"][0]["note"].startswith("<!DOCTYPE html>")


def test_b51_includes_schemas_and_style_sheets_are_not_fetched(
    monitored_readers: MonitoredReaders, canary_listener: socket.socket
) -> None:
    url = f"http://127.0.0.1:{canary_listener.getsockname()[1]}"
    schema = f' xmlns:s="http://www.w3.org/2001/XMLSchema-instance" s:schemaLocation="urn:x {url}/x.xsd"'
    include = f'<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="{url}/x"/>'
    content = f'<?xml-stylesheet type="text/xsl" href="{url}/x.xsl"?>' + build_ubl(include, schema, encoding=None)
    assert monitored_readers.read_document("B-51", content.encode()).outcome == "einvoice"
    assert not has_connection(canary_listener)


@pytest.mark.parametrize("root", ["Invoice", "CreditNote"])
def test_b52_an_unknown_profile_and_a_credit_note_are_read_and_validated_later(
    monitored_readers: MonitoredReaders, root: str
) -> None:
    profile = "<b:CustomizationID>urn:nobody:knows</b:CustomizationID>"
    content = build_ubl(encoding=None).replace("Invoice", root).replace("><b:ID>", f">{profile}<b:ID>", 1)
    reading = monitored_readers.read_document("B-52", content.encode())
    assert reading.outcome == "einvoice"
    assert reading.payload is not None
    assert reading.payload["invoices"][0]["kind"] == ("credit_note" if root == "CreditNote" else "invoice")
