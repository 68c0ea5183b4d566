"""winmail.dat: the attachments and their names, also of a damaged one (row B-14 of docs/bad-inputs.md)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.documents.containers.tnef import open_tnef_file
from invoices.documents.containers.unpack_budget import UnpackBudget
from invoices.errors import DocumentError
from tests.unit.documents.containers.container_builder import (
    INVOICE_XML,
    build_mapi_properties,
    build_tnef,
    build_tnef_attachment,
    build_tnef_attribute,
)

TEXT, UNICODE, OBJECT, BINARY = 0x1E, 0x1F, 0x0D, 0x0102
CODE_PAGE = 0x9007
MESSAGE_PROPERTIES = 0x9003
EMBEDDED_MESSAGE_ID = bytes.fromhex("0703020000000000c000000000000046")
INTACT_TNEF = build_tnef(build_tnef_attachment(b"a.xml", INVOICE_XML), build_tnef_attachment(b"b.txt", b"hello"))


def list_attachment_names(content: bytes) -> list[str | None]:
    return [part.file_name for part in open_tnef_file(content)[0].parts]


def test_attachments_have_their_names_and_types() -> None:
    opened_container, contents = open_tnef_file(INTACT_TNEF, "2")
    assert [(part.section, part.file_name, part.media_type) for part in opened_container.parts] == [
        ("2/1", "a.xml", "application/xml"),
        ("2/2", "b.txt", "text/plain"),
    ]
    assert contents == [INVOICE_XML, b"hello"]
    assert opened_container.reason_code is None


def test_the_long_name_is_preferred() -> None:
    long = "Rechnung Größe.xml".encode("utf-16-le") + b"\0\0"
    assert list_attachment_names(
        build_tnef(build_tnef_attachment(b"RECHNU~1.XML", INVOICE_XML, [(UNICODE, 0x3707, long)]))
    ) == ["Rechnung Größe.xml"]


def test_eight_bit_names_are_decoded_by_the_code_page_of_the_mail() -> None:
    page = build_tnef_attribute(1, CODE_PAGE, struct.pack("<LL", 1251, 0))
    assert list_attachment_names(build_tnef(page, build_tnef_attachment("счёт.xml".encode("cp1251"), INVOICE_XML))) == [
        "счёт.xml"
    ]
    unknown = build_tnef_attribute(1, CODE_PAGE, struct.pack("<LL", 99_999, 0))
    assert list_attachment_names(build_tnef(unknown, build_tnef_attachment(b"\xe4.xml", INVOICE_XML))) == ["ä.xml"]


def test_a_name_is_not_longer_than_a_file_name() -> None:
    assert list_attachment_names(build_tnef(build_tnef_attachment(b"x" * 10_000, INVOICE_XML))) == ["x" * 255]


def test_content_may_be_a_property() -> None:
    assert open_tnef_file(build_tnef(build_tnef_attachment(b"a", b"", [(BINARY, 0x3701, INVOICE_XML)])))[1] == [
        INVOICE_XML
    ]


def test_an_attached_mail_is_a_winmail_dat() -> None:
    opened_container, contents = open_tnef_file(
        build_tnef(build_tnef_attachment(b"Fwd", b"", [(OBJECT, 0x3701, EMBEDDED_MESSAGE_ID + INTACT_TNEF)]))
    )
    assert [part.media_type for part in opened_container.parts] == ["application/ms-tnef"]
    assert contents == [INTACT_TNEF]


def test_its_own_text_is_counted_and_is_not_a_part() -> None:
    html = build_mapi_properties((BINARY, 0x1013, b"<html>Invoice</html>"))
    for body in (build_tnef_attribute(1, 0x800C, b"Invoice\0"), build_tnef_attribute(1, MESSAGE_PROPERTIES, html)):
        opened_container, contents = open_tnef_file(build_tnef(body))
        assert (opened_container.skipped_body_count, list(opened_container.parts), contents) == (1, [], [])


def test_properties_of_every_type_are_skipped() -> None:
    listed = struct.pack("<L", 6)
    listed += struct.pack("<HHL", 0x0002, 0x0E01, 1) + struct.pack("<HHd", 0x0005, 0x0E02, 1.5)
    listed += struct.pack("<HH", 0x0048, 0x0E03) + bytes(16)
    listed += struct.pack("<HH", 0x0003, 0x8001) + bytes(16) + struct.pack("<LLL", 0, 5, 7)
    listed += (
        struct.pack("<HH", 0x000B, 0x8002) + bytes(16) + struct.pack("<LL", 1, 3) + b"a\0b\0" + struct.pack("<L", 1)
    )
    listed += struct.pack("<HHLL", 0x1003, 0x0E04, 1, 9)
    named = build_mapi_properties((TEXT, 0x3707, b"name.xml\0"))[4:]
    tnef_bytes = build_tnef(
        build_tnef_attachment(b"t", INVOICE_XML),
        build_tnef_attribute(2, 0x9005, struct.pack("<L", 7) + listed[4:] + named),
    )
    assert list_attachment_names(tnef_bytes) == ["name.xml"]
    assert open_tnef_file(tnef_bytes)[0].reason_code is None


@pytest.mark.parametrize("end", [b"\0\0\0", b"\r\n", b"\0" * 4000])
def test_zeros_and_line_ends_may_follow(end: bytes) -> None:
    assert open_tnef_file(INTACT_TNEF + end) == open_tnef_file(INTACT_TNEF)


@pytest.mark.parametrize(
    "content",
    [
        INTACT_TNEF[:-10],
        INTACT_TNEF + b"-- \r\na mailing list",
        build_tnef(build_tnef_attachment(b"a.xml", INVOICE_XML), struct.pack("<BHHL", 2, 0x800F, 6, 0xFFFFFFFF)),
        build_tnef(
            build_tnef_attachment(b"a.xml", INVOICE_XML), build_tnef_attribute(2, 0x9005, struct.pack("<L", 0xFFFFFFFF))
        ),
        build_tnef(
            build_tnef_attachment(b"a.xml", INVOICE_XML),
            build_tnef_attribute(2, 0x9005, struct.pack("<LHHL", 1, 0x1003, 1, 0xFFFFFFFF)),
        ),
        build_tnef(
            build_tnef_attachment(b"a.xml", INVOICE_XML),
            build_tnef_attribute(2, 0x9005, struct.pack("<LHHLL", 1, UNICODE, 1, 1, 0xFFFFFFFF)),
        ),
        build_tnef(
            build_tnef_attachment(b"a.xml", INVOICE_XML),
            build_tnef_attribute(2, 0x9005, struct.pack("<LHH", 1, 0x0FFF, 1)),
        ),
    ],
    ids=["cut", "footer", "length", "properties", "values", "value", "unknown type"],
)
def test_attachments_before_the_error_are_kept(content: bytes) -> None:
    opened_container, contents = open_tnef_file(content)
    assert opened_container.reason_code == "damaged_tnef"
    assert (opened_container.parts[0].file_name, contents[0]) == ("a.xml", INVOICE_XML)


def test_an_error_in_one_attachment_does_not_affect_the_next() -> None:
    broken = build_tnef_attachment(b"a.xml", INVOICE_XML) + build_tnef_attribute(2, 0x9005, b"\xff\xff\xff\xff")
    opened_container, contents = open_tnef_file(build_tnef(broken, build_tnef_attachment(b"b.txt", b"hello")))
    assert (opened_container.reason_code, contents) == ("damaged_tnef", [INVOICE_XML, b"hello"])


@pytest.mark.parametrize(
    "flood",
    [
        build_tnef_attribute(2, 0x9002, b"") * 100_001,
        build_tnef_attribute(
            2, 0x9005, struct.pack("<L", 0xFFFFFFFF) + struct.pack("<HHL", UNICODE, 0x3707, 0) * 100_001
        ),
        build_tnef_attribute(2, 0x9005, struct.pack("<LHHL", 1, 0x1003, 1, 0xFFFFFFFF) + bytes(400_004)),
        build_tnef_attribute(2, 0x9005, struct.pack("<L", 30_000) + struct.pack("<HHL", 3, 1, 0) * 30_000) * 4,
    ],
    ids=["attributes", "properties", "values", "lists"],
)
def test_reading_stops_at_more_values_than_a_mail_program_writes(flood: bytes) -> None:
    opened_container, contents = open_tnef_file(build_tnef(build_tnef_attachment(b"a.xml", INVOICE_XML), flood))
    assert contents == [INVOICE_XML]
    assert "more than 100,000 elements" in str(opened_container.reason)


@pytest.mark.parametrize("content", [b"", b"\x78\x9f\x3e\x22", b"no such thing at all", INTACT_TNEF[:12]])
def test_without_a_whole_attachment_nothing_is_kept(content: bytes) -> None:
    opened_container, contents = open_tnef_file(content)
    assert (opened_container.reason_code, contents) == ("damaged_tnef", [])


def test_the_content_counts_against_the_budget() -> None:
    for budget in (UnpackBudget(remaining_parts=1), UnpackBudget(remaining_bytes=10)):
        with pytest.raises(DocumentError) as refused:
            open_tnef_file(INTACT_TNEF, budget=budget)
        assert refused.value.reason_code == "archive_limits"


@given(st.binary(max_size=300))
def test_any_bytes_give_a_result(content: bytes) -> None:
    for container_bytes in (
        content,
        build_tnef() + content,
        build_tnef(build_tnef_attribute(2, 0x9005, content)),
        build_tnef(build_tnef_attribute(1, 0x9003, content)),
    ):
        opened_container, contents = open_tnef_file(container_bytes)
        assert len(opened_container.parts) == len(contents)


@given(st.data())
def test_any_winmail_dat_with_wrong_bytes_gives_a_result(data: st.DataObject) -> None:
    container_bytes = bytearray(
        build_tnef(build_tnef_attachment(b"a", INVOICE_XML, [(UNICODE, 0x3707, b"x\0"), (BINARY, 0x3701, b"data")]))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        container_bytes[data.draw(st.integers(0, len(container_bytes) - 1))] = data.draw(st.integers(0, 255))
    opened_container, contents = open_tnef_file(bytes(container_bytes))
    assert len(opened_container.parts) == len(contents)


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=6))
def test_every_attachment_is_extracted_unchanged(contents: list[bytes]) -> None:
    assert open_tnef_file(build_tnef(*(build_tnef_attachment(b"n", content) for content in contents)))[1] == contents
