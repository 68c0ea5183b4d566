"""winmail.dat: the attachments and their names, and what a broken one still gives (reliability B-14)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.documents.unwrapping.budget import Budget
from invoices.documents.unwrapping.tnef import open_tnef
from invoices.errors import DocumentError
from tests.unit.container_bytes import INVOICE, attachment, attribute, property_list, tnef

TEXT, UNICODE, OBJECT, BINARY = 0x1E, 0x1F, 0x0D, 0x0102
CODE_PAGE = 0x9007
MESSAGE_PROPERTIES = 0x9003
EMBEDDED = bytes.fromhex("0703020000000000c000000000000046")
WHOLE = tnef(attachment(b"a.xml", INVOICE), attachment(b"b.txt", b"hello"))


def names(content: bytes) -> list[str | None]:
    return [part.file_name for part in open_tnef(content)[0].parts]


def test_attachments_come_out_with_their_names_and_types() -> None:
    found, contents = open_tnef(WHOLE, "2")
    assert [(part.section, part.file_name, part.media_type) for part in found.parts] == [
        ("2/1", "a.xml", "application/xml"),
        ("2/2", "b.txt", "text/plain"),
    ]
    assert contents == [INVOICE, b"hello"]
    assert found.reason_code is None


def test_the_long_name_is_taken_where_there_is_one() -> None:
    long = "Rechnung Größe.xml".encode("utf-16-le") + b"\0\0"
    assert names(tnef(attachment(b"RECHNU~1.XML", INVOICE, [(UNICODE, 0x3707, long)]))) == ["Rechnung Größe.xml"]


def test_eight_bit_names_are_read_in_the_code_page_of_the_mail() -> None:
    page = attribute(1, CODE_PAGE, struct.pack("<LL", 1251, 0))
    assert names(tnef(page, attachment("счёт.xml".encode("cp1251"), INVOICE))) == ["счёт.xml"]
    unknown = attribute(1, CODE_PAGE, struct.pack("<LL", 99_999, 0))
    assert names(tnef(unknown, attachment(b"\xe4.xml", INVOICE))) == ["ä.xml"]


def test_a_name_is_not_longer_than_a_file_name() -> None:
    assert names(tnef(attachment(b"x" * 10_000, INVOICE))) == ["x" * 255]


def test_content_may_be_a_property_too() -> None:
    assert open_tnef(tnef(attachment(b"a", b"", [(BINARY, 0x3701, INVOICE)])))[1] == [INVOICE]


def test_a_mail_within_is_a_winmail_dat_again() -> None:
    found, contents = open_tnef(tnef(attachment(b"Fwd", b"", [(OBJECT, 0x3701, EMBEDDED + WHOLE)])))
    assert [part.media_type for part in found.parts] == ["application/ms-tnef"]
    assert contents == [WHOLE]


def test_its_own_text_is_counted_and_is_no_part() -> None:
    html = property_list((BINARY, 0x1013, b"<html>Invoice</html>"))
    for body in (attribute(1, 0x800C, b"Invoice\0"), attribute(1, MESSAGE_PROPERTIES, html)):
        found, contents = open_tnef(tnef(body))
        assert (found.bodies, list(found.parts), contents) == (1, [], [])


def test_properties_of_every_kind_are_passed_over() -> None:
    listed = struct.pack("<L", 6)
    listed += struct.pack("<HHL", 0x0002, 0x0E01, 1) + struct.pack("<HHd", 0x0005, 0x0E02, 1.5)
    listed += struct.pack("<HH", 0x0048, 0x0E03) + bytes(16)
    listed += struct.pack("<HH", 0x0003, 0x8001) + bytes(16) + struct.pack("<LLL", 0, 5, 7)
    listed += (
        struct.pack("<HH", 0x000B, 0x8002) + bytes(16) + struct.pack("<LL", 1, 3) + b"a\0b\0" + struct.pack("<L", 1)
    )
    listed += struct.pack("<HHLL", 0x1003, 0x0E04, 1, 9)
    named = property_list((TEXT, 0x3707, b"name.xml\0"))[4:]
    found = tnef(attachment(b"t", INVOICE), attribute(2, 0x9005, struct.pack("<L", 7) + listed[4:] + named))
    assert names(found) == ["name.xml"]
    assert open_tnef(found)[0].reason_code is None


@pytest.mark.parametrize("end", [b"\0\0\0", b"\r\n", b"\0" * 4000])
def test_zeros_and_line_ends_may_follow(end: bytes) -> None:
    assert open_tnef(WHOLE + end) == open_tnef(WHOLE)


@pytest.mark.parametrize(
    "content",
    [
        WHOLE[:-10],
        WHOLE + b"-- \r\na mailing list",
        tnef(attachment(b"a.xml", INVOICE), struct.pack("<BHHL", 2, 0x800F, 6, 0xFFFFFFFF)),
        tnef(attachment(b"a.xml", INVOICE), attribute(2, 0x9005, struct.pack("<L", 0xFFFFFFFF))),
        tnef(attachment(b"a.xml", INVOICE), attribute(2, 0x9005, struct.pack("<LHHL", 1, 0x1003, 1, 0xFFFFFFFF))),
        tnef(attachment(b"a.xml", INVOICE), attribute(2, 0x9005, struct.pack("<LHHLL", 1, UNICODE, 1, 1, 0xFFFFFFFF))),
        tnef(attachment(b"a.xml", INVOICE), attribute(2, 0x9005, struct.pack("<LHH", 1, 0x0FFF, 1))),
    ],
    ids=["cut", "footer", "length", "properties", "values", "value", "unknown kind"],
)
def test_what_was_whole_before_the_fault_is_kept(content: bytes) -> None:
    found, contents = open_tnef(content)
    assert found.reason_code == "damaged_tnef"
    assert (found.parts[0].file_name, contents[0]) == ("a.xml", INVOICE)


def test_a_fault_in_one_attachment_is_not_one_in_the_next() -> None:
    broken = attachment(b"a.xml", INVOICE) + attribute(2, 0x9005, b"\xff\xff\xff\xff")
    found, contents = open_tnef(tnef(broken, attachment(b"b.txt", b"hello")))
    assert (found.reason_code, contents) == ("damaged_tnef", [INVOICE, b"hello"])


@pytest.mark.parametrize(
    "flood",
    [
        attribute(2, 0x9002, b"") * 100_001,
        attribute(2, 0x9005, struct.pack("<L", 0xFFFFFFFF) + struct.pack("<HHL", UNICODE, 0x3707, 0) * 100_001),
        attribute(2, 0x9005, struct.pack("<LHHL", 1, 0x1003, 1, 0xFFFFFFFF) + bytes(400_004)),
        attribute(2, 0x9005, struct.pack("<L", 30_000) + struct.pack("<HHL", 3, 1, 0) * 30_000) * 4,
    ],
    ids=["attributes", "properties", "values", "lists"],
)
def test_more_values_than_a_mail_program_writes_end_the_reading(flood: bytes) -> None:
    found, contents = open_tnef(tnef(attachment(b"a.xml", INVOICE), flood))
    assert contents == [INVOICE]
    assert "more than 100,000 elements" in str(found.reason)


@pytest.mark.parametrize("content", [b"", b"\x78\x9f\x3e\x22", b"no such thing at all", WHOLE[:12]])
def test_nothing_whole_is_nothing_kept(content: bytes) -> None:
    found, contents = open_tnef(content)
    assert (found.reason_code, contents) == ("damaged_tnef", [])


def test_what_is_inside_counts_against_the_budget() -> None:
    for budget in (Budget(parts=1), Budget(unpacked_bytes=10)):
        with pytest.raises(DocumentError) as refused:
            open_tnef(WHOLE, budget=budget)
        assert refused.value.reason_code == "archive_limits"


@given(st.binary(max_size=300))
def test_any_bytes_are_answered(content: bytes) -> None:
    for made in (content, tnef() + content, tnef(attribute(2, 0x9005, content)), tnef(attribute(1, 0x9003, content))):
        found, contents = open_tnef(made)
        assert len(found.parts) == len(contents)


@given(st.data())
def test_any_winmail_dat_with_wrong_bytes_is_answered(data: st.DataObject) -> None:
    made = bytearray(tnef(attachment(b"a", INVOICE, [(UNICODE, 0x3707, b"x\0"), (BINARY, 0x3701, b"data")])))
    for _ in range(data.draw(st.integers(1, 4))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    found, contents = open_tnef(bytes(made))
    assert len(found.parts) == len(contents)


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=6))
def test_every_attachment_comes_back(contents: list[bytes]) -> None:
    assert open_tnef(tnef(*(attachment(b"n", content) for content in contents)))[1] == contents
