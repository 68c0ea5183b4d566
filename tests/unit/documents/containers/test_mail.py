"""The parts of a mail: rows B-09 to B-18 of docs/bad-inputs.md, sections, bodies, and parts skipped by rule."""

from __future__ import annotations

import base64
import binascii

import pytest

from invoices.documents.containers.mail import open_mail
from invoices.documents.containers.opened_container import NOT_INVOICE_REASONS
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
    map_skip_reasons,
)

PGP_VERSION_PART = b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1"
ENVELOPED_DATA = bytes.fromhex("308006092a864886f70d010703a080") + bytes(60)
CONTENT_ID_HEADER = b"\r\nContent-ID: <l@x>"
DELIVERY_STATUS_PART = b"Content-Type: message/delivery-status\r\n\r\nA: b\r\n\r\nC: d"
PDF_PART = build_named_attachment(b"x.pdf")
INVOICE_HTML = b"<p>Invoice 7</p><style>p { width: 1.25em }</style><p>Total 12,50 EUR</p>"


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
def test_a_mail_beyond_the_limits_is_not_opened(content: bytes) -> None:
    opened_mail, contents = open_mail(content)
    assert (opened_mail.reason_code, opened_mail.parts, contents) == ("mail_limits", (), ())
    assert opened_mail.reason


def test_a_mail_at_the_limits_is_opened() -> None:
    deep, wide = open_mail(build_nested_mail(20)), open_mail(build_mail(*[build_named_attachment(b"x.pdf")] * 200))
    assert (deep[0].reason_code, deep[0].skipped_body_count) == (None, 1)
    assert (wide[0].reason_code, len(wide[1])) == (None, 200)


def test_encoded_mails_in_mails_count_against_the_same_limits() -> None:
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
        pytest.param(
            b"base64",
            b"\r\n".join(base64.b64encode(piece) for piece in (b"%PDF", b"-1.4", b"...")),
            b"%PDF-1.4...",
            id="padded runs",
        ),
        pytest.param(b"base64", base64.b64encode(b"%PDF") + b"\r\nlistfooter", b"%PDF", id="a footer of one word"),
        pytest.param(b"quoted-printable", b"%PDF-1.7=0A=\r\n=ZZend", b"%PDF-1.7\n=ZZend", id="B-13-quoted-printable"),
        pytest.param(
            b"x-uuencode", b"begin 644 /etc/passwd\n%s`\nend\n" % binascii.b2a_uu(b"%PDF-1"), b"%PDF-1", id="B-13-uu"
        ),
        pytest.param(b"uue", b"begin 644 x\n%s" % binascii.b2a_uu(b"%PDF-1"), b"%PDF-1", id="B-13-uu-cut"),
        pytest.param(b"base9000", b"PGh0bWw+Cg==\r\n", b"PGh0bWw+Cg==\r\n", id="B-13-unknown"),
    ],
)
def test_the_valid_part_of_an_encoding_is_decoded(encoding: bytes, written: bytes, content: bytes) -> None:
    head = b"Content-Type: application/pdf; name=x.pdf\r\nContent-Transfer-Encoding: %s\r\n\r\n" % encoding
    assert open_mail(build_mail(head + written))[1] == [content]


def test_b_13_a_uuencoded_file_in_a_text_is_found_and_its_path_is_only_a_name() -> None:
    written = b"See below\r\nbegin 644 ../../etc/x.pdf\r\n%s`\r\nend\r\nBye\r\n" % binascii.b2a_uu(b"%PDF-1.4 abc")
    opened_mail, contents = open_mail(HEADERS + DATE_HEADER + build_text_part(written))
    assert [(mail_part.section, mail_part.file_name) for mail_part in opened_mail.parts] == [("1/1", "../../etc/x.pdf")]
    assert (contents, opened_mail.skipped_body_count) == ([b"%PDF-1.4 abc"], 1)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Type: multipart/mixed", id="B-13-missing"),
        pytest.param(b"Content-Type: multipart/mixed; boundary=other", id="B-13-wrong"),
        pytest.param(b'Content-Type: multipart/mixed\r\n\tboundary="edge"', id="B-13-no-semicolon"),
        pytest.param(b"Content-Type: multipart/mixed; boundary*0=a; boundary*=b", id="B-13-contradictory"),
    ],
)
def test_parts_are_found_by_a_boundary_in_the_text_if_the_stated_one_is_wrong(head: bytes) -> None:
    body = build_mail(build_text_part(b"Hello"), build_named_attachment(b"x.pdf")).partition(b"\r\n\r\n")[2]
    opened_mail = open_mail(HEADERS + DATE_HEADER + head + b"\r\n\r\n" + body)
    assert (map_skip_reasons(opened_mail), opened_mail[1], opened_mail[0].skipped_body_count) == (
        {"2": None},
        [PDF_CONTENT],
        1,
    )


def test_b_13_a_truncated_mail_gives_the_parts_that_are_there() -> None:
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
def test_a_mail_that_cannot_be_parsed_is_damaged(content: bytes) -> None:
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
def test_an_encrypted_mail_is_reported_as_encrypted(content: bytes) -> None:
    opened_mail, contents = open_mail(content)
    assert (opened_mail.reason_code, contents) == ("encrypted_mail", ())
    assert opened_mail.header is not None


def test_b_15_an_encrypted_part_beside_an_invoice_is_an_ordinary_part() -> None:
    encrypted = build_part(ENVELOPED_DATA, b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data")
    assert map_skip_reasons(open_mail(build_mail(build_named_attachment(b"x.pdf"), encrypted))) == {
        "1": None,
        "2": None,
    }


def test_b_15_the_parts_of_a_signed_mail_are_used_and_its_signature_is_skipped() -> None:
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


def test_b_15_signed_data_is_a_part() -> None:
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
        pytest.param([build_image_part(150, 150), PDF_PART], ["decoration", None], id="B-16-logo"),
        pytest.param([build_image_part(1200, 250), PDF_PART], ["decoration", None], id="B-16-banner"),
        pytest.param(
            [build_image_part(800, 600, b"\r\nContent-ID: <L%40x>"), PDF_PART], [None, None], id="photo-and-pdf"
        ),
        pytest.param([build_image_part(800, 600, CONTENT_ID_HEADER), PDF_PART], ["decoration", None], id="B-16-by-cid"),
        pytest.param([build_image_part(1500, 2000, CONTENT_ID_HEADER), PDF_PART], [None, None], id="B-16-photo-by-cid"),
        pytest.param([build_image_part(800, 600, CONTENT_ID_HEADER)], [None], id="photo-in-the-text"),
        pytest.param([build_image_part(250, 400)], [None], id="small-photo-alone"),
        pytest.param(
            [build_image_part(800, 600), build_image_part(150, 50)], [None, "decoration"], id="photo-and-logo"
        ),
        pytest.param([build_text_part(b"BEGIN:VCALENDAR", b"calendar")], ["calendar"], id="B-16-calendar"),
        pytest.param([build_named_attachment(b"me.vcf", b"BEGIN:VCARD", b"x/y")], ["contact_card"], id="B-16-vCard"),
        pytest.param([build_named_attachment(b"x.ics", PDF_CONTENT, b"text/calendar")], [None], id="pdf-as-calendar"),
        pytest.param([build_text_part(b"abc", b"rfc822-headers")], ["delivery_report"], id="headers-returned"),
        pytest.param([DELIVERY_STATUS_PART], ["delivery_report"], id="report"),
    ],
)  # fmt: skip
def test_parts_that_belong_to_the_mail_itself_are_skipped_and_kept(
    parts: list[bytes], expected: list[str | None]
) -> None:
    opened_mail, contents = open_mail(build_mail(build_text_part(b'<img src="cid:l%40x">', b"html"), *parts))
    assert [mail_part.skip_reason_code for mail_part in opened_mail.parts] == expected
    assert len(contents) == len(expected)
    assert set(expected) - {None} <= set(NOT_INVOICE_REASONS)


def test_b_17_an_invoice_in_a_forwarded_mail_has_both_senders() -> None:
    inner = b"From: Deep <Deep@Inner.example>\r\n" + build_multipart(
        build_text_part(b"x"), build_named_attachment(b"x.pdf"), boundary=b"inner"
    )
    opened_mail, contents = open_mail(build_mail(build_text_part(b"fyi"), build_forwarded_part(inner)))
    assert opened_mail.header is not None
    assert opened_mail.header.sender == "billing@acme.example"
    assert [(mail_part.section, mail_part.original_sender) for mail_part in opened_mail.parts] == [
        ("2.2", "deep@inner.example")
    ]
    assert (contents, opened_mail.skipped_body_count) == ([PDF_CONTENT], 2)


@pytest.mark.parametrize("encoding", [b"base64", b"quoted-printable"])
def test_b_17_a_forwarded_mail_may_be_encoded_although_the_standard_forbids_it(encoding: bytes) -> None:
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
def test_a_text_is_a_document_only_if_it_reads_like_an_invoice(words: bytes, kept: int) -> None:
    opened_mail, contents = open_mail(
        build_mail(build_text_part(b"plain"), build_text_part(words, b"html"), kind=b"alternative")
    )
    assert (len(contents), opened_mail.skipped_body_count) == (kept, 2 - kept)
    assert [(mail_part.section, mail_part.media_type, mail_part.file_name) for mail_part in opened_mail.parts] == [
        ("2", "text/html", None)
    ][:kept]


def test_a_text_beside_a_document_is_not_a_document() -> None:
    opened_mail = open_mail(
        build_mail(build_text_part(INVOICE_HTML, b"html"), build_named_attachment(b"x.pdf"), build_image_part(1, 1))
    )
    assert (opened_mail[0].skipped_body_count, map_skip_reasons(opened_mail)) == (1, {"2": None, "3": "decoration"})


def test_a_text_beside_a_container_is_kept_until_the_container_is_opened() -> None:
    opened_mail = open_mail(
        build_mail(
            build_text_part(INVOICE_HTML, b"html"),
            build_named_attachment(b"x.zip", b"PK\x03\x04" + bytes(40), b"application/zip"),
        )
    )
    assert [mail_part.media_type for mail_part in opened_mail[0].parts] == ["application/zip", "text/html"]


def test_b_18_the_target_of_an_external_body_is_never_fetched() -> None:
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


def test_the_only_part_of_a_mail_has_section_1_below_the_section_of_the_mail() -> None:
    content = HEADERS + DATE_HEADER + build_part(PDF_CONTENT)
    assert map_skip_reasons(open_mail(content)) == {"1": None}
    assert map_skip_reasons(open_mail(content, "2/1")) == {"2/1/1": None}


def test_parts_of_a_digest_are_mails_by_default() -> None:
    opened_mail = open_mail(
        build_mail(b"\r\n" + build_mail(build_named_attachment(b"x.pdf"), boundary=b"inner"), kind=b"digest")
    )
    assert map_skip_reasons(opened_mail) == {"1.1": None}


def test_a_fragment_of_a_mail_is_kept_unchanged() -> None:
    opened_mail = open_mail(build_mail(b"Content-Type: message/partial; number=2; total=3; id=x\r\n\r\nJVBERi0xLjcK"))
    assert opened_mail[1] == [b"JVBERi0xLjcK"]
