"""Signed files: the content of every encoding that is in use, and what is only a signature, secret or broken."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.documents.unwrapping.budget import Budget
from invoices.documents.unwrapping.signed import open_signed
from invoices.errors import DocumentError
from tests.unit.container_bytes import INVOICE, content_type, element, in_pieces, open_ended, signed

DER = signed(element(4, INVOICE))


def pem(content: bytes, label: bytes) -> bytes:
    return b"-----BEGIN " + label + b"-----\r\n" + base64.encodebytes(content) + b"-----END " + label + b"-----\r\n"


def refusal(content: bytes, budget: Budget | None = None) -> str:
    with pytest.raises(DocumentError) as refused:
        open_signed(content, budget=budget)
    return refused.value.reason_code


@pytest.mark.parametrize(
    "content",
    [
        DER,
        signed(in_pieces(INVOICE, 7), is_streamed=True),
        signed(element(0x24, element(4, INVOICE[:10]), open_ended(0x24, element(4, INVOICE[10:])))),
        signed(element(4, INVOICE), is_streamed=True),
        pem(DER, b"PKCS7"),
        pem(DER, b"CMS"),
        base64.b64encode(DER),
        base64.encodebytes(DER).replace(b"\n", b"\r\n"),
        element(0x30, content_type(1), element(0xA0, element(4, INVOICE))),  # not signed at all
    ],
    ids=["der", "pieces", "pieces in pieces", "open ends", "pem", "cms pem", "base64", "base64 lines", "data"],
)
def test_what_was_signed_comes_out_of_every_encoding(content: bytes) -> None:
    found, contents = open_signed(content, "3", file_name="IT01_1.xml.p7m")
    assert [(part.section, part.file_name, part.media_type) for part in found.parts] == [
        ("3/1", "IT01_1.xml", "application/xml")
    ]
    assert contents == [INVOICE]


@pytest.mark.parametrize("size", [127, 128, 255, 256, 384, 65_535, 65_536, 1 << 20])
def test_contents_of_any_length_come_out_whole(size: int) -> None:
    for octets in (element(4, bytes(size)), in_pieces(bytes(size), 1000)):
        assert open_signed(signed(octets))[1] == [bytes(size)]


@pytest.mark.parametrize(
    ("file_name", "inner"),
    [
        ("a.pdf.p7m", "a.pdf"),
        ("A.XML.P7M", "A.XML"),
        ("a.xml.p7m.p7m", "a.xml.p7m"),
        ("smime.p7m", None),
        (".p7m", None),
        (None, None),
    ],
)
def test_the_name_is_without_the_ending_of_signed_files(file_name: str | None, inner: str | None) -> None:
    assert open_signed(DER, file_name=file_name)[0].parts[0].file_name == inner


@pytest.mark.parametrize(
    "entity", [b"Content-Type: text/plain\r\n\r\nInvoice", b"content-type: multipart/mixed; boundary=x\n\n--x"]
)
def test_the_body_of_a_signed_mail_is_a_mail(entity: bytes) -> None:
    assert open_signed(signed(element(4, entity)))[0].parts[0].media_type == "message/rfc822"


def test_algorithms_whose_ends_are_marked_are_passed_over() -> None:
    algorithms = open_ended(0x31, open_ended(0x30, element(6, b"\x2a")), open_ended(0x30, element(6, b"\x2b")))
    inside = open_ended(0x30, content_type(1), open_ended(0xA0, element(4, INVOICE)))
    data = open_ended(0x30, element(2, b"\1"), algorithms, inside)
    assert open_signed(open_ended(0x30, content_type(2), open_ended(0xA0, data)))[1] == [INVOICE]


def test_a_signature_by_itself_holds_nothing() -> None:
    assert refusal(signed(None)) == refusal(signed(None, is_streamed=True)) == "signature"


@pytest.mark.parametrize("number", [3, 4, 6])
def test_what_is_encrypted_is_said_to_be(number: int) -> None:
    assert refusal(element(0x30, content_type(number), element(0xA0, element(0x30)))) == "encrypted"


def test_what_is_encrypted_and_authenticated_is_said_to_be() -> None:
    kind = element(6, bytes.fromhex("2a864886f70d0109100117"))
    assert refusal(element(0x30, kind, element(0xA0, element(0x30)))) == "encrypted"


def test_another_content_is_not_read() -> None:
    assert refusal(element(0x30, content_type(5), element(0xA0, element(0x30)))) == "unsupported_type"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x30",
        DER[: len(DER) // 2],
        b"\x30\x80" * 100_000,
        signed(b"\x24\x80" * 5000),
        signed(element(4, INVOICE)[:-1] + b"")[:-8],
        element(0x30, element(6, b"\x2a"), b"\x1f\xff\xff\xff"),
        b"\x30\x84\xff\xff\xff\xff" + content_type(2),
        b"\x30\xff" + bytes(200),
        base64.b64encode(DER)[:41],
        element(0x30, content_type(2), element(0xA0, element(0x30, b"\x30\x80" * 50_000))),
        open_ended(0x30, content_type(2), open_ended(0xA0, open_ended(0x30, b"\x02\x80"))),
    ],
)
def test_broken_and_hostile_encodings_are_said_to_be_broken(content: bytes) -> None:
    assert refusal(content) in {"damaged_signed", "unsupported_type"}


@pytest.mark.parametrize(
    "flood", [b"\x24\x80" + b"\4\1x" * 200_001 + b"\0\0", b"\x24\x80" + b"\4\0" * 200_001 + b"\0\0"]
)
def test_more_pieces_than_a_program_makes_are_refused(flood: bytes) -> None:
    with pytest.raises(DocumentError, match="200,000 elements"):
        open_signed(signed(flood))


def test_more_levels_of_pieces_than_a_program_makes_are_refused() -> None:
    with pytest.raises(DocumentError, match="64 levels"):
        open_signed(signed(b"\x24\x80" * 65))


def test_what_is_inside_counts_against_the_budget() -> None:
    assert refusal(DER, Budget(unpacked_bytes=10)) == "archive_limits"
    assert refusal(DER, Budget(parts=0)) == "archive_limits"


def answered(content: bytes) -> None:
    try:
        assert len(open_signed(content)[0].parts) == 1
    except DocumentError as error:
        assert error.reason_code in {"damaged_signed", "encrypted", "signature", "unsupported_type"}  # noqa: PT017 - either is an answer


@given(st.binary(max_size=300))
def test_any_bytes_are_answered(content: bytes) -> None:
    answered(content)
    answered(b"\x30\x80" + content_type(2) + content)


@given(st.data())
def test_any_signed_file_with_wrong_bytes_is_answered(data: st.DataObject) -> None:
    made = bytearray(signed(in_pieces(INVOICE, 9), is_streamed=True))
    for _ in range(data.draw(st.integers(1, 4))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    answered(bytes(made))


@given(st.binary(max_size=500), st.integers(1, 100))
def test_every_content_comes_back(content: bytes, size: int) -> None:
    assert open_signed(signed(in_pieces(content, size)))[1] == [content]
