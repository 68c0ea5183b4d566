"""Signed files: the content in every encoding in use; detached signatures, encrypted and damaged files."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.documents.containers.cms_signed_file import open_cms_signed_file
from invoices.documents.containers.unpack_budget import UnpackBudget
from invoices.errors import DocumentError
from tests.unit.documents.containers.container_builder import (
    INVOICE_XML,
    build_signed_data,
    encode_content_type,
    encode_der_element,
    encode_indefinite_element,
    encode_segmented_octets,
)

SIGNED_DER = build_signed_data(encode_der_element(4, INVOICE_XML))


def encode_pem(content: bytes, label: bytes) -> bytes:
    return b"-----BEGIN " + label + b"-----\r\n" + base64.encodebytes(content) + b"-----END " + label + b"-----\r\n"


def get_refusal_code(content: bytes, budget: UnpackBudget | None = None) -> str:
    with pytest.raises(DocumentError) as error_info:
        open_cms_signed_file(content, budget=budget)
    return error_info.value.reason_code


@pytest.mark.parametrize(
    "content",
    [
        SIGNED_DER,
        build_signed_data(encode_segmented_octets(INVOICE_XML, 7), is_streamed=True),
        build_signed_data(
            encode_der_element(
                0x24,
                encode_der_element(4, INVOICE_XML[:10]),
                encode_indefinite_element(0x24, encode_der_element(4, INVOICE_XML[10:])),
            )
        ),
        build_signed_data(encode_der_element(4, INVOICE_XML), is_streamed=True),
        encode_pem(SIGNED_DER, b"PKCS7"),
        encode_pem(SIGNED_DER, b"CMS"),
        base64.b64encode(SIGNED_DER),
        base64.encodebytes(SIGNED_DER).replace(b"\n", b"\r\n"),
        encode_der_element(
            0x30, encode_content_type(1), encode_der_element(0xA0, encode_der_element(4, INVOICE_XML))
        ),  # not signed at all
    ],
    ids=["der", "pieces", "nested pieces", "indefinite lengths", "pem", "cms pem", "base64", "base64 lines", "data"],
)
def test_the_signed_content_is_extracted_from_every_encoding(content: bytes) -> None:
    opened_container, contents = open_cms_signed_file(content, "3", file_name="IT01_1.xml.p7m")
    assert [(part.section, part.file_name, part.media_type) for part in opened_container.parts] == [
        ("3/1", "IT01_1.xml", "application/xml")
    ]
    assert contents == [INVOICE_XML]


@pytest.mark.parametrize("size", [127, 128, 255, 256, 384, 65_535, 65_536, 1 << 20])
def test_contents_of_any_length_are_extracted_completely(size: int) -> None:
    for octets in (encode_der_element(4, bytes(size)), encode_segmented_octets(bytes(size), 1000)):
        assert open_cms_signed_file(build_signed_data(octets))[1] == [bytes(size)]


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
def test_the_extension_of_signed_files_is_removed_from_the_name(file_name: str | None, inner: str | None) -> None:
    assert open_cms_signed_file(SIGNED_DER, file_name=file_name)[0].parts[0].file_name == inner


@pytest.mark.parametrize(
    "entity", [b"Content-Type: text/plain\r\n\r\nInvoice", b"content-type: multipart/mixed; boundary=x\n\n--x"]
)
def test_the_body_of_a_signed_mail_is_a_mail(entity: bytes) -> None:
    assert (
        open_cms_signed_file(build_signed_data(encode_der_element(4, entity)))[0].parts[0].media_type
        == "message/rfc822"
    )


def test_algorithms_of_indefinite_length_are_skipped() -> None:
    algorithms = encode_indefinite_element(
        0x31,
        encode_indefinite_element(0x30, encode_der_element(6, b"\x2a")),
        encode_indefinite_element(0x30, encode_der_element(6, b"\x2b")),
    )
    inside = encode_indefinite_element(
        0x30, encode_content_type(1), encode_indefinite_element(0xA0, encode_der_element(4, INVOICE_XML))
    )
    data = encode_indefinite_element(0x30, encode_der_element(2, b"\1"), algorithms, inside)
    assert open_cms_signed_file(
        encode_indefinite_element(0x30, encode_content_type(2), encode_indefinite_element(0xA0, data))
    )[1] == [INVOICE_XML]


def test_a_detached_signature_has_no_content() -> None:
    assert (
        get_refusal_code(build_signed_data(None))
        == get_refusal_code(build_signed_data(None, is_streamed=True))
        == "signature"
    )


@pytest.mark.parametrize("number", [3, 4, 6])
def test_encrypted_content_is_reported_as_encrypted(number: int) -> None:
    assert (
        get_refusal_code(
            encode_der_element(0x30, encode_content_type(number), encode_der_element(0xA0, encode_der_element(0x30)))
        )
        == "encrypted"
    )


def test_authenticated_encrypted_content_is_reported_as_encrypted() -> None:
    kind = encode_der_element(6, bytes.fromhex("2a864886f70d0109100117"))
    assert (
        get_refusal_code(encode_der_element(0x30, kind, encode_der_element(0xA0, encode_der_element(0x30))))
        == "encrypted"
    )


def test_other_content_types_are_unsupported() -> None:
    assert (
        get_refusal_code(
            encode_der_element(0x30, encode_content_type(5), encode_der_element(0xA0, encode_der_element(0x30)))
        )
        == "unsupported_type"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x30",
        SIGNED_DER[: len(SIGNED_DER) // 2],
        b"\x30\x80" * 100_000,
        build_signed_data(b"\x24\x80" * 5000),
        build_signed_data(encode_der_element(4, INVOICE_XML)[:-1] + b"")[:-8],
        encode_der_element(0x30, encode_der_element(6, b"\x2a"), b"\x1f\xff\xff\xff"),
        b"\x30\x84\xff\xff\xff\xff" + encode_content_type(2),
        b"\x30\xff" + bytes(200),
        base64.b64encode(SIGNED_DER)[:41],
        encode_der_element(
            0x30, encode_content_type(2), encode_der_element(0xA0, encode_der_element(0x30, b"\x30\x80" * 50_000))
        ),
        encode_indefinite_element(
            0x30, encode_content_type(2), encode_indefinite_element(0xA0, encode_indefinite_element(0x30, b"\x02\x80"))
        ),
    ],
)
def test_damaged_and_hostile_encodings_are_reported(content: bytes) -> None:
    assert get_refusal_code(content) in {"damaged_signed", "unsupported_type"}


@pytest.mark.parametrize(
    "flood", [b"\x24\x80" + b"\4\1x" * 200_001 + b"\0\0", b"\x24\x80" + b"\4\0" * 200_001 + b"\0\0"]
)
def test_more_pieces_than_a_program_makes_are_refused(flood: bytes) -> None:
    with pytest.raises(DocumentError, match="200,000 elements"):
        open_cms_signed_file(build_signed_data(flood))


def test_more_levels_of_pieces_than_a_program_makes_are_refused() -> None:
    with pytest.raises(DocumentError, match="64 levels"):
        open_cms_signed_file(build_signed_data(b"\x24\x80" * 65))


def test_the_content_counts_against_the_budget() -> None:
    assert get_refusal_code(SIGNED_DER, UnpackBudget(remaining_bytes=10)) == "archive_limits"
    assert get_refusal_code(SIGNED_DER, UnpackBudget(remaining_parts=0)) == "archive_limits"


def assert_opened_or_refused(content: bytes) -> None:
    try:
        assert len(open_cms_signed_file(content)[0].parts) == 1
    except DocumentError as error:
        assert error.reason_code in {"damaged_signed", "encrypted", "signature", "unsupported_type"}  # noqa: PT017 - either is a result


@given(st.binary(max_size=300))
def test_any_bytes_give_a_result(content: bytes) -> None:
    assert_opened_or_refused(content)
    assert_opened_or_refused(b"\x30\x80" + encode_content_type(2) + content)


@given(st.data())
def test_any_signed_file_with_wrong_bytes_gives_a_result(data: st.DataObject) -> None:
    container_bytes = bytearray(build_signed_data(encode_segmented_octets(INVOICE_XML, 9), is_streamed=True))
    for _ in range(data.draw(st.integers(1, 4))):
        container_bytes[data.draw(st.integers(0, len(container_bytes) - 1))] = data.draw(st.integers(0, 255))
    assert_opened_or_refused(bytes(container_bytes))


@given(st.binary(max_size=500), st.integers(1, 100))
def test_every_content_is_extracted_unchanged(content: bytes, size: int) -> None:
    assert open_cms_signed_file(build_signed_data(encode_segmented_octets(content, size)))[1] == [content]
