"""What is in a mail: B-09 to B-18 of the bad-input catalogue, sections, bodies, and what is left out by rule."""

from __future__ import annotations

import base64
import binascii

import pytest

from invoices.documents.containers.mail import open_mail
from invoices.documents.containers.opened_container import NOT_INVOICE_REASONS, ContainerContents
from tests.unit.documents.containers.mail_builder import (
    DATE_HEADER,
    HEADERS,
    PDF_CONTENT,
    build_mail,
    build_multipart,
    build_named_attachment,
    build_part,
    build_png_header,
    build_text_part,
)

PGP_VERSION_PART = b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1"
ENVELOPED_DATA = bytes.fromhex("308006092a864886f70d010703a080") + bytes(60)
CONTENT_ID_HEADER = b"\r\nContent-ID: <l@x>"
DELIVERY_STATUS_PART = b"Content-Type: message/delivery-status\r\n\r\nA: b\r\n\r\nC: d"
INVOICE_HTML = b"<p>Invoice 7</p><style>p { width: 1.25em }</style><p>Total 12,50 EUR</p>"


def map_skip_reasons(opened_container: ContainerContents) -> dict[str, str | None]:
    return {part.section: part.skip_reason_code for part in opened_container[0].parts}


def build_forwarded_part(inner: bytes) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" + inner


def build_nested_mail(depth: int) -> bytes:
    inner = b"Content-Type: text/plain\r\n\r\nx"
    for number in range(depth):
        inner = build_multipart(inner, boundary=b"edge%d" % number)
    return HEADERS + inner


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(build_nested_mail(21), id="B-09-multiparts"),
        pytest.param(build_nested_mail(1_200), id="B-09-many-multiparts"),
        pytest.param(HEADERS + b"Content-Type: message/rfc822\r\n\r\nFrom: x@y\r\n" * 1_200, id="B-09-mails"),
        pytest.param(build_mail(*[b"\r\nx"] * 20_000), id="B-10-parts"),
        pytest.param(HEADERS + b"X-Y: z\r\n" * 100_000, id="B-10-headers"),
        pytest.param(HEADERS + b"X-Y: " + b"z" * 300_000, id="B-10-header-block"),
        pytest.param(build_mail(b"X-Y: z\r\n" * 1_001), id="B-10-headers-of-a-part"),
        pytest.param(HEADERS + b"\r\n" + b"--\n" * 200_000, id="B-10-boundaries"),
        pytest.param(HEADERS + b"\r\n" + b":\n" * 1_100_000, id="B-10-lines"),
    ],
)
def test_a_mail_beyond_the_limits_is_set_aside(content: bytes) -> None:
    unwrapped, contents = open_mail(content)
    assert (unwrapped.reason_code, unwrapped.parts, contents) == ("mail_limits", (), ())
    assert unwrapped.reason


def test_a_mail_at_the_limits_is_opened() -> None:
    deep, wide = open_mail(build_nested_mail(20)), open_mail(build_mail(*[build_named_attachment(b"x.pdf")] * 200))
    assert (deep[0].reason_code, deep[0].skipped_body_count) == (None, 1)
    assert (wide[0].reason_code, len(wide[1])) == (None, 200)


def test_encoded_mails_in_mails_count_for_the_same_limits() -> None:
    content = HEADERS + DATE_HEADER + build_text_part(b"x")
    for _ in range(25):
        content = HEADERS + build_part(content, b"Content-Type: message/rfc822")
    assert open_mail(content)[0].reason_code == "mail_limits"


@pytest.mark.parametrize(
    ("encoding", "written", "content"),
    [
        pytest.param(b"base64", base64.b64encode(b"%PDF-1.47")[:-1], b"%PDF-1.4", id="B-13-base64-cut"),
        pytest.param(
            b"base64", base64.b64encode(PDF_CONTENT + b"xx") + b"A", PDF_CONTENT + b"xx", id="B-13-base64-odd"
        ),
        pytest.param(
            b"BASE64 ; x",
            b"!" + base64.encodebytes(PDF_CONTENT).replace(b"\n", b"~\r\n"),
            PDF_CONTENT,
            id="B-13-base64-junk",
        ),
        pytest.param(b"base64", base64.b64encode(b"%PDF-1.4") + b"\r\n_____\r\nlist footer", b"%PDF-1.4", id="footer"),
        pytest.param(b"quoted-printable", b"%PDF-1.7=0A=\r\n=ZZend", b"%PDF-1.7\n=ZZend", id="B-13-quoted-printable"),
        pytest.param(
            b"x-uuencode", b"begin 644 /etc/passwd\n%s`\nend\n" % binascii.b2a_uu(b"%PDF-1"), b"%PDF-1", id="B-13-uu"
        ),
        pytest.param(b"uue", b"begin 644 x\n%s" % binascii.b2a_uu(b"%PDF-1"), b"%PDF-1", id="B-13-uu-cut"),
        pytest.param(b"base9000", b"PGh0bWw+Cg==\r\n", b"PGh0bWw+Cg==\r\n", id="B-13-unknown"),
    ],
)
def test_what_is_valid_of_an_encoding_is_decoded(encoding: bytes, written: bytes, content: bytes) -> None:
    head = b"Content-Type: application/pdf; name=x.pdf\r\nContent-Transfer-Encoding: %s\r\n\r\n" % encoding
    assert open_mail(build_mail(head + written))[1] == [content]


def test_b_13_a_file_written_into_a_text_is_found_and_its_path_is_only_a_name() -> None:
    written = b"See below\r\nbegin 644 ../../etc/x.pdf\r\n%s`\r\nend\r\nBye\r\n" % binascii.b2a_uu(b"%PDF-1.4 abc")
    unwrapped, contents = open_mail(HEADERS + DATE_HEADER + build_text_part(written))
    assert [(mail_part.section, mail_part.file_name) for mail_part in unwrapped.parts] == [("1/1", "../../etc/x.pdf")]
    assert (contents, unwrapped.skipped_body_count) == ([b"%PDF-1.4 abc"], 1)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Type: multipart/mixed", id="B-13-missing"),
        pytest.param(b"Content-Type: multipart/mixed; boundary=other", id="B-13-wrong"),
        pytest.param(b'Content-Type: multipart/mixed\r\n\tboundary="edge"', id="B-13-no-semicolon"),
        pytest.param(b"Content-Type: multipart/mixed; boundary*0=a; boundary*=b", id="B-13-contradictory"),
    ],
)
def test_parts_are_found_by_the_boundary_that_the_text_shows(head: bytes) -> None:
    body = build_mail(build_text_part(b"Hello"), build_named_attachment(b"x.pdf")).partition(b"\r\n\r\n")[2]
    opened_mail = open_mail(HEADERS + DATE_HEADER + head + b"\r\n\r\n" + body)
    assert (map_skip_reasons(opened_mail), opened_mail[1], opened_mail[0].skipped_body_count) == (
        {"2": None},
        [PDF_CONTENT],
        1,
    )


def test_b_13_a_truncated_mail_gives_what_is_there() -> None:
    whole = build_mail(
        build_text_part(b"Hello"), build_named_attachment(b"x.pdf"), build_named_attachment(b"y.pdf", PDF_CONTENT * 100)
    )
    opened_mail = open_mail(whole[: len(whole) // 2])
    assert opened_mail[1][0] == PDF_CONTENT
    assert (PDF_CONTENT * 100).startswith(opened_mail[1][1])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n\r\n",
        b"no mail at all",
        PDF_CONTENT,
        HEADERS + b"Content-Type: multipart/mixed\r\n\r\nno parts",
        b"\x00" * 9_000,
    ],
)
def test_what_cannot_be_taken_apart_is_damaged(content: bytes) -> None:
    assert open_mail(content)[0].reason_code == "damaged_mail"


def test_b_14_winmail_dat_is_a_part_of_its_own_type() -> None:
    opened_mail = open_mail(
        build_mail(build_named_attachment(b"winmail.dat", b"\x78\x9f\x3e\x22" + bytes(20), b"application/ms-tnef"))
    )
    assert [mail_part.media_type for mail_part in opened_mail[0].parts] == ["application/ms-tnef"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            build_mail(PGP_VERSION_PART, build_named_attachment(b"x.asc", b"secret"), kind=b"encrypted"),
            id="B-15-multipart",
        ),
        pytest.param(
            HEADERS + build_part(b"x", b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data"),
            id="B-15-smime",
        ),
        pytest.param(
            HEADERS + build_part(ENVELOPED_DATA, b"Content-Type: application/x-pkcs7-mime; name=smime.p7m"),
            id="B-15-by-content",
        ),
        pytest.param(HEADERS + build_text_part(b"-----BEGIN PGP MESSAGE-----\r\n\r\nabc"), id="B-15-inline"),
    ],
)
def test_an_encrypted_mail_says_so(content: bytes) -> None:
    unwrapped, contents = open_mail(content)
    assert (unwrapped.reason_code, contents) == ("encrypted_mail", ())
    assert unwrapped.header is not None


def test_b_15_something_encrypted_beside_an_invoice_is_a_part_like_it() -> None:
    sealed = build_part(ENVELOPED_DATA, b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data")
    assert map_skip_reasons(open_mail(build_mail(build_named_attachment(b"x.pdf"), sealed))) == {"1": None, "2": None}


def test_b_15_the_parts_of_a_signed_mail_are_used_and_its_signature_is_left_out() -> None:
    signature = build_named_attachment(
        b"smime.p7s", bytes.fromhex("3080") + b"\x06\x09*\x86H\x86\xf7\r\x01\x07\x02", b"application/pkcs7-signature"
    )
    certified = build_multipart(
        build_text_part(b"PEC"),
        build_forwarded_part(build_mail(build_named_attachment(b"x.pdf"), boundary=b"inner")),
        boundary=b"outer",
    )
    opened_mail = open_mail(build_mail(certified, signature, kind=b"signed"))
    assert map_skip_reasons(opened_mail) == {"1.2.1": None, "2": "signature"}
    assert opened_mail[1][0] == PDF_CONTENT


def test_b_15_signed_data_stays_a_part() -> None:
    opened_mail = open_mail(
        HEADERS
        + build_part(
            bytes.fromhex("308006092a864886f70d010702a080") + bytes(60),
            b"Content-Type: application/pkcs7-mime; smime-type=signed-data",
        )
    )
    assert [
        (mail_part.section, mail_part.media_type, mail_part.skip_reason_code) for mail_part in opened_mail[0].parts
    ] == [("1", "application/pkcs7-mime", None)]


def build_image_part(width: int, height: int, extra_headers: bytes = b"") -> bytes:
    return build_part(build_png_header(width, height), b"Content-Type: image/png; name=i.png" + extra_headers)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param([build_image_part(1, 1)], ["decoration"], id="B-16-pixel"),
        pytest.param([build_image_part(150, 150), build_named_attachment(b"x.pdf")], ["decoration", None], id="B-16-logo"),
        pytest.param([build_image_part(1200, 250), build_named_attachment(b"x.pdf")], ["decoration", None], id="B-16-banner"),
        pytest.param([build_image_part(800, 600, b"\r\nContent-ID: <L%40x>"), build_named_attachment(b"x.pdf")], [None, None], id="photo-and-pdf"),
        pytest.param([build_image_part(800, 600, CONTENT_ID_HEADER), build_named_attachment(b"x.pdf")], ["decoration", None], id="B-16-by-cid"),
        pytest.param([build_image_part(1500, 2000, CONTENT_ID_HEADER), build_named_attachment(b"x.pdf")], [None, None], id="B-16-photo-by-cid"),
        pytest.param([build_image_part(800, 600, CONTENT_ID_HEADER)], [None], id="photo-in-the-text"),
        pytest.param([build_image_part(250, 400)], [None], id="small-photo-alone"),
        pytest.param([build_image_part(800, 600), build_image_part(150, 50)], [None, "decoration"], id="photo-and-logo"),
        pytest.param([build_text_part(b"BEGIN:VCALENDAR", b"calendar")], ["calendar"], id="B-16-calendar"),
        pytest.param([build_named_attachment(b"me.vcf", b"BEGIN:VCARD", b"x/y")], ["contact_card"], id="B-16-vCard"),
        pytest.param([build_named_attachment(b"x.ics", PDF_CONTENT, b"text/calendar")], [None], id="pdf-as-calendar"),
        pytest.param([build_text_part(b"abc", b"rfc822-headers")], ["delivery_report"], id="headers-returned"),
        pytest.param([DELIVERY_STATUS_PART], ["delivery_report"], id="report"),
    ],
)  # fmt: skip
def test_what_belongs_to_the_mail_itself_is_left_out_and_kept(parts: list[bytes], expected: list[str | None]) -> None:
    unwrapped, contents = open_mail(build_mail(build_text_part(b'<img src="cid:l%40x">', b"html"), *parts))
    assert [mail_part.skip_reason_code for mail_part in unwrapped.parts] == expected
    assert len(contents) == len(expected)
    assert set(expected) - {None} <= set(NOT_INVOICE_REASONS)


def test_b_17_an_invoice_in_a_forwarded_mail_names_both_senders() -> None:
    inner = b"From: Deep <Deep@Inner.example>\r\n" + build_multipart(
        build_text_part(b"x"), build_named_attachment(b"x.pdf"), boundary=b"inner"
    )
    unwrapped, contents = open_mail(build_mail(build_text_part(b"fyi"), build_forwarded_part(inner)))
    assert unwrapped.header is not None
    assert unwrapped.header.sender == "billing@acme.example"
    assert [(mail_part.section, mail_part.original_sender) for mail_part in unwrapped.parts] == [
        ("2.2", "deep@inner.example")
    ]
    assert (contents, unwrapped.skipped_body_count) == ([PDF_CONTENT], 2)


@pytest.mark.parametrize("encoding", [b"base64", b"quoted-printable"])
def test_b_17_a_forwarded_mail_may_be_encoded_though_it_must_not(encoding: bytes) -> None:
    inner = build_mail(build_text_part(b"x"), build_named_attachment(b"x.pdf"), boundary=b"inner")
    written = base64.encodebytes(inner) if encoding == b"base64" else binascii.b2a_qp(inner)
    head = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: %s\r\n\r\n" % encoding
    opened_mail = open_mail(build_mail(build_text_part(b"fyi"), head + written))
    assert (map_skip_reasons(opened_mail), opened_mail[1]) == ({"2.2": None}, [PDF_CONTENT])


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        pytest.param(b"Your invoice is at https://acme.example/7", 0, id="B-18-link"),
        pytest.param(b"Lunch at 12.30?", 0, id="chat"),
        pytest.param(b"<style>p {width: 1.25em}</style>Thanks for the invoice", 0, id="style"),
        pytest.param(INVOICE_HTML, 1, id="invoice"),
    ],
)
def test_a_text_is_a_document_only_where_it_reads_like_an_invoice(words: bytes, kept: int) -> None:
    unwrapped, contents = open_mail(
        build_mail(build_text_part(b"plain"), build_text_part(words, b"html"), kind=b"alternative")
    )
    assert (len(contents), unwrapped.skipped_body_count) == (kept, 2 - kept)
    assert [(mail_part.section, mail_part.media_type, mail_part.file_name) for mail_part in unwrapped.parts] == [
        ("2", "text/html", None)
    ][:kept]


def test_a_text_beside_a_document_is_no_document() -> None:
    opened_mail = open_mail(
        build_mail(build_text_part(INVOICE_HTML, b"html"), build_named_attachment(b"x.pdf"), build_image_part(1, 1))
    )
    assert (opened_mail[0].skipped_body_count, map_skip_reasons(opened_mail)) == (1, {"2": None, "3": "decoration"})


def test_a_text_beside_a_container_waits_for_what_is_in_that() -> None:
    opened_mail = open_mail(
        build_mail(
            build_text_part(INVOICE_HTML, b"html"),
            build_named_attachment(b"x.zip", b"PK\x03\x04" + bytes(40), b"application/zip"),
        )
    )
    assert [mail_part.media_type for mail_part in opened_mail[0].parts] == ["application/zip", "text/html"]


def test_b_18_what_an_external_body_points_to_is_never_fetched() -> None:
    reference = (
        b'Content-Type: message/external-body; access-type=URL; URL="http://x.example/i.pdf"; name=i.pdf\r\n\r\n'
    )
    opened_mail = open_mail(build_mail(reference + b"Content-Type: application/pdf\r\n\r\n"))
    assert (opened_mail[0].parts, opened_mail[0].skipped_body_count) == ([], 1)


def test_documents_without_disposition_and_name_are_parts() -> None:
    opened_mail = open_mail(
        build_mail(
            build_text_part(b"Hello"),
            build_part(PDF_CONTENT),
            build_part(b"<?xml version='1.0'?><a/>", b"Content-Type: text/plain"),
        )
    )
    assert [mail_part.media_type for mail_part in opened_mail[0].parts] == ["application/pdf", "application/xml"]


def test_a_mail_that_is_its_attachment_has_section_1_below_where_it_was_found() -> None:
    content = HEADERS + DATE_HEADER + build_part(PDF_CONTENT)
    assert map_skip_reasons(open_mail(content)) == {"1": None}
    assert map_skip_reasons(open_mail(content, "2/1")) == {"2/1/1": None}


def test_mails_of_a_digest_are_mails_without_saying_so() -> None:
    opened_mail = open_mail(
        build_mail(b"\r\n" + build_mail(build_named_attachment(b"x.pdf"), boundary=b"inner"), kind=b"digest")
    )
    assert map_skip_reasons(opened_mail) == {"1.1": None}


def test_a_fragment_of_a_mail_is_kept_as_it_is() -> None:
    opened_mail = open_mail(build_mail(b"Content-Type: message/partial; number=2; total=3; id=x\r\n\r\nJVBERi0xLjcK"))
    assert opened_mail[1] == [b"JVBERi0xLjcK"]
