"""What is in a mail: B-09 to B-18 of the bad-input catalogue, sections, bodies, and what is left out by rule."""

from __future__ import annotations

import base64
import binascii

import pytest

from invoices.documents.unwrapping.mail import open_mail
from invoices.documents.unwrapping.parts import LEFT_OUT, Found
from tests.unit.mail_builder import DATE, HEAD, PDF, mail, multipart, named, part, png, text

VERSION_1 = b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1"
ENVELOPED = bytes.fromhex("308006092a864886f70d010703a080") + bytes(60)
SHOWN = b"\r\nContent-ID: <l@x>"
REPORT = b"Content-Type: message/delivery-status\r\n\r\nA: b\r\n\r\nC: d"
INVOICE = b"<p>Invoice 7</p><style>p { width: 1.25em }</style><p>Total 12,50 EUR</p>"


def sections(found: Found) -> dict[str, str | None]:
    return {one.section: one.left_out for one in found[0].parts}


def forwarded(inner: bytes) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" + inner


def nested(depth: int) -> bytes:
    inner = b"Content-Type: text/plain\r\n\r\nx"
    for number in range(depth):
        inner = multipart(inner, boundary=b"edge%d" % number)
    return HEAD + inner


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(nested(21), id="B-09-multiparts"),
        pytest.param(nested(1_200), id="B-09-many-multiparts"),
        pytest.param(HEAD + b"Content-Type: message/rfc822\r\n\r\nFrom: x@y\r\n" * 1_200, id="B-09-mails"),
        pytest.param(mail(*[b"\r\nx"] * 20_000), id="B-10-parts"),
        pytest.param(HEAD + b"X-Y: z\r\n" * 100_000, id="B-10-headers"),
        pytest.param(HEAD + b"X-Y: " + b"z" * 300_000, id="B-10-header-block"),
        pytest.param(mail(b"X-Y: z\r\n" * 1_001), id="B-10-headers-of-a-part"),
        pytest.param(HEAD + b"\r\n" + b"--\n" * 200_000, id="B-10-boundaries"),
        pytest.param(HEAD + b"\r\n" + b":\n" * 1_100_000, id="B-10-lines"),
    ],
)
def test_a_mail_beyond_the_limits_is_set_aside(content: bytes) -> None:
    unwrapped, contents = open_mail(content)
    assert (unwrapped.reason_code, unwrapped.parts, contents) == ("mail_limits", (), ())
    assert unwrapped.reason


def test_a_mail_at_the_limits_is_opened() -> None:
    deep, wide = open_mail(nested(20)), open_mail(mail(*[named(b"x.pdf")] * 200))
    assert (deep[0].reason_code, deep[0].bodies) == (None, 1)
    assert (wide[0].reason_code, len(wide[1])) == (None, 200)


def test_encoded_mails_in_mails_count_for_the_same_limits() -> None:
    content = HEAD + DATE + text(b"x")
    for _ in range(25):
        content = HEAD + part(content, b"Content-Type: message/rfc822")
    assert open_mail(content)[0].reason_code == "mail_limits"


@pytest.mark.parametrize(
    ("encoding", "written", "content"),
    [
        pytest.param(b"base64", base64.b64encode(b"%PDF-1.47")[:-1], b"%PDF-1.4", id="B-13-base64-cut"),
        pytest.param(b"base64", base64.b64encode(PDF + b"xx") + b"A", PDF + b"xx", id="B-13-base64-odd"),
        pytest.param(
            b"BASE64 ; x", b"!" + base64.encodebytes(PDF).replace(b"\n", b"~\r\n"), PDF, id="B-13-base64-junk"
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
    assert open_mail(mail(head + written))[1] == [content]


def test_b_13_a_file_written_into_a_text_is_found_and_its_path_is_only_a_name() -> None:
    written = b"See below\r\nbegin 644 ../../etc/x.pdf\r\n%s`\r\nend\r\nBye\r\n" % binascii.b2a_uu(b"%PDF-1.4 abc")
    unwrapped, contents = open_mail(HEAD + DATE + text(written))
    assert [(one.section, one.file_name) for one in unwrapped.parts] == [("1/1", "../../etc/x.pdf")]
    assert (contents, unwrapped.bodies) == ([b"%PDF-1.4 abc"], 1)


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
    body = mail(text(b"Hello"), named(b"x.pdf")).partition(b"\r\n\r\n")[2]
    found = open_mail(HEAD + DATE + head + b"\r\n\r\n" + body)
    assert (sections(found), found[1], found[0].bodies) == ({"2": None}, [PDF], 1)


def test_b_13_a_truncated_mail_gives_what_is_there() -> None:
    whole = mail(text(b"Hello"), named(b"x.pdf"), named(b"y.pdf", PDF * 100))
    found = open_mail(whole[: len(whole) // 2])
    assert found[1][0] == PDF
    assert (PDF * 100).startswith(found[1][1])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n\r\n",
        b"no mail at all",
        PDF,
        HEAD + b"Content-Type: multipart/mixed\r\n\r\nno parts",
        b"\x00" * 9_000,
    ],
)
def test_what_cannot_be_taken_apart_is_damaged(content: bytes) -> None:
    assert open_mail(content)[0].reason_code == "damaged_mail"


def test_b_14_winmail_dat_is_a_part_of_its_own_type() -> None:
    found = open_mail(mail(named(b"winmail.dat", b"\x78\x9f\x3e\x22" + bytes(20), b"application/ms-tnef")))
    assert [one.media_type for one in found[0].parts] == ["application/ms-tnef"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(mail(VERSION_1, named(b"x.asc", b"secret"), kind=b"encrypted"), id="B-15-multipart"),
        pytest.param(
            HEAD + part(b"x", b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data"), id="B-15-smime"
        ),
        pytest.param(
            HEAD + part(ENVELOPED, b"Content-Type: application/x-pkcs7-mime; name=smime.p7m"), id="B-15-by-content"
        ),
        pytest.param(HEAD + text(b"-----BEGIN PGP MESSAGE-----\r\n\r\nabc"), id="B-15-inline"),
    ],
)
def test_an_encrypted_mail_says_so(content: bytes) -> None:
    unwrapped, contents = open_mail(content)
    assert (unwrapped.reason_code, contents) == ("encrypted_mail", ())
    assert unwrapped.header is not None


def test_b_15_something_encrypted_beside_an_invoice_is_a_part_like_it() -> None:
    sealed = part(ENVELOPED, b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data")
    assert sections(open_mail(mail(named(b"x.pdf"), sealed))) == {"1": None, "2": None}


def test_b_15_the_parts_of_a_signed_mail_are_used_and_its_signature_is_left_out() -> None:
    signature = named(
        b"smime.p7s", bytes.fromhex("3080") + b"\x06\x09*\x86H\x86\xf7\r\x01\x07\x02", b"application/pkcs7-signature"
    )
    certified = multipart(text(b"PEC"), forwarded(mail(named(b"x.pdf"), boundary=b"inner")), boundary=b"outer")
    found = open_mail(mail(certified, signature, kind=b"signed"))
    assert sections(found) == {"1.2.1": None, "2": "signature"}
    assert found[1][0] == PDF


def test_b_15_signed_data_stays_a_part() -> None:
    found = open_mail(
        HEAD
        + part(
            bytes.fromhex("308006092a864886f70d010702a080") + bytes(60),
            b"Content-Type: application/pkcs7-mime; smime-type=signed-data",
        )
    )
    assert [(one.section, one.media_type, one.left_out) for one in found[0].parts] == [
        ("1", "application/pkcs7-mime", None)
    ]


def image(width: int, height: int, more: bytes = b"") -> bytes:
    return part(png(width, height), b"Content-Type: image/png; name=i.png" + more)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param([image(1, 1)], ["decoration"], id="B-16-pixel"),
        pytest.param([image(150, 150), named(b"x.pdf")], ["decoration", None], id="B-16-logo"),
        pytest.param([image(1200, 250), named(b"x.pdf")], ["decoration", None], id="B-16-banner"),
        pytest.param([image(800, 600, b"\r\nContent-ID: <L%40x>"), named(b"x.pdf")], [None, None], id="photo-and-pdf"),
        pytest.param([image(800, 600, SHOWN), named(b"x.pdf")], ["decoration", None], id="B-16-by-cid"),
        pytest.param([image(1500, 2000, SHOWN), named(b"x.pdf")], [None, None], id="B-16-photo-by-cid"),
        pytest.param([image(800, 600, SHOWN)], [None], id="photo-in-the-text"),
        pytest.param([image(250, 400)], [None], id="small-photo-alone"),
        pytest.param([image(800, 600), image(150, 50)], [None, "decoration"], id="photo-and-logo"),
        pytest.param([text(b"BEGIN:VCALENDAR", b"calendar")], ["calendar"], id="B-16-calendar"),
        pytest.param([named(b"me.vcf", b"BEGIN:VCARD", b"x/y")], ["contact_card"], id="B-16-vCard"),
        pytest.param([named(b"x.ics", PDF, b"text/calendar")], [None], id="pdf-as-calendar"),
        pytest.param([text(b"abc", b"rfc822-headers")], ["delivery_report"], id="headers-returned"),
        pytest.param([REPORT], ["delivery_report"], id="report"),
    ],
)  # fmt: skip
def test_what_belongs_to_the_mail_itself_is_left_out_and_kept(parts: list[bytes], expected: list[str | None]) -> None:
    unwrapped, contents = open_mail(mail(text(b'<img src="cid:l%40x">', b"html"), *parts))
    assert [one.left_out for one in unwrapped.parts] == expected
    assert len(contents) == len(expected)
    assert set(expected) - {None} <= set(LEFT_OUT)


def test_b_17_an_invoice_in_a_forwarded_mail_names_both_senders() -> None:
    inner = b"From: Deep <Deep@Inner.example>\r\n" + multipart(text(b"x"), named(b"x.pdf"), boundary=b"inner")
    unwrapped, contents = open_mail(mail(text(b"fyi"), forwarded(inner)))
    assert unwrapped.header is not None
    assert unwrapped.header.sender == "billing@acme.example"
    assert [(one.section, one.original_sender) for one in unwrapped.parts] == [("2.2", "deep@inner.example")]
    assert (contents, unwrapped.bodies) == ([PDF], 2)


@pytest.mark.parametrize("encoding", [b"base64", b"quoted-printable"])
def test_b_17_a_forwarded_mail_may_be_encoded_though_it_must_not(encoding: bytes) -> None:
    inner = mail(text(b"x"), named(b"x.pdf"), boundary=b"inner")
    written = base64.encodebytes(inner) if encoding == b"base64" else binascii.b2a_qp(inner)
    head = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: %s\r\n\r\n" % encoding
    found = open_mail(mail(text(b"fyi"), head + written))
    assert (sections(found), found[1]) == ({"2.2": None}, [PDF])


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        pytest.param(b"Your invoice is at https://acme.example/7", 0, id="B-18-link"),
        pytest.param(b"Lunch at 12.30?", 0, id="chat"),
        pytest.param(b"<style>p {width: 1.25em}</style>Thanks for the invoice", 0, id="style"),
        pytest.param(INVOICE, 1, id="invoice"),
    ],
)
def test_a_text_is_a_document_only_where_it_reads_like_an_invoice(words: bytes, kept: int) -> None:
    unwrapped, contents = open_mail(mail(text(b"plain"), text(words, b"html"), kind=b"alternative"))
    assert (len(contents), unwrapped.bodies) == (kept, 2 - kept)
    assert [(one.section, one.media_type, one.file_name) for one in unwrapped.parts] == [("2", "text/html", None)][
        :kept
    ]


def test_a_text_beside_a_document_is_no_document() -> None:
    found = open_mail(mail(text(INVOICE, b"html"), named(b"x.pdf"), image(1, 1)))
    assert (found[0].bodies, sections(found)) == (1, {"2": None, "3": "decoration"})


def test_a_text_beside_a_container_waits_for_what_is_in_that() -> None:
    found = open_mail(mail(text(INVOICE, b"html"), named(b"x.zip", b"PK\x03\x04" + bytes(40), b"application/zip")))
    assert [one.media_type for one in found[0].parts] == ["application/zip", "text/html"]


def test_b_18_what_an_external_body_points_to_is_never_fetched() -> None:
    reference = (
        b'Content-Type: message/external-body; access-type=URL; URL="http://x.example/i.pdf"; name=i.pdf\r\n\r\n'
    )
    found = open_mail(mail(reference + b"Content-Type: application/pdf\r\n\r\n"))
    assert (found[0].parts, found[0].bodies) == ([], 1)


def test_documents_without_disposition_and_name_are_parts() -> None:
    found = open_mail(mail(text(b"Hello"), part(PDF), part(b"<?xml version='1.0'?><a/>", b"Content-Type: text/plain")))
    assert [one.media_type for one in found[0].parts] == ["application/pdf", "application/xml"]


def test_a_mail_that_is_its_attachment_has_section_1_below_where_it_was_found() -> None:
    content = HEAD + DATE + part(PDF)
    assert sections(open_mail(content)) == {"1": None}
    assert sections(open_mail(content, "2/1")) == {"2/1/1": None}


def test_mails_of_a_digest_are_mails_without_saying_so() -> None:
    found = open_mail(mail(b"\r\n" + mail(named(b"x.pdf"), boundary=b"inner"), kind=b"digest"))
    assert sections(found) == {"1.1": None}


def test_a_fragment_of_a_mail_is_kept_as_it_is() -> None:
    found = open_mail(mail(b"Content-Type: message/partial; number=2; total=3; id=x\r\n\r\nJVBERi0xLjcK"))
    assert found[1] == [b"JVBERi0xLjcK"]
