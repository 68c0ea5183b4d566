"""Possible invoices are not skipped: signed files under any name, each of several mails, a rotated scan."""

from __future__ import annotations

import pytest

from invoices.documents.containers.mail import open_mail
from invoices.documents.containers.recursive_opener import open_container_recursively
from tests.unit.documents.containers.container_builder import build_signed_data, encode_der_element
from tests.unit.documents.containers.mail_builder import (
    PDF_CONTENT,
    build_mail,
    build_multipart,
    build_named_attachment,
    build_part,
    build_png_header,
    build_text_part,
    map_skip_reasons,
)

RECEIPT_TEXT = b"Invoice %d\r\nTotal 12,50 EUR\r\n"
SIGNATURE_MEDIA_TYPE = b"application/pkcs7-signature"


def build_forwarded_part(number: int, *parts: bytes) -> bytes:
    inner = build_mail(build_text_part(RECEIPT_TEXT % number), *parts, boundary=b"inner%d" % number)
    return b"Content-Type: message/rfc822\r\n\r\n" + inner


def test_signed_content_is_opened_even_under_the_name_and_type_of_a_signature() -> None:
    content = build_mail(
        build_text_part(b"Hello"),
        build_named_attachment(
            b"invoice.pdf.p7s", build_signed_data(encode_der_element(4, PDF_CONTENT)), SIGNATURE_MEDIA_TYPE
        ),
    )
    opened_container, contents = open_container_recursively(content, "message/rfc822")
    assert map_skip_reasons((opened_container, contents)) == {"2": "container", "2/1": None}
    assert contents[1] == PDF_CONTENT


def test_a_detached_signature_is_skipped_and_is_not_a_document_beside_a_photo() -> None:
    shown = b"<img src='cid:photo'>"
    photo = build_part(build_png_header(1200, 1600), b"Content-Type: image/png\r\nContent-ID: <photo>")
    bare = build_named_attachment(b"smime.p7s", build_signed_data(None), SIGNATURE_MEDIA_TYPE)
    assert map_skip_reasons(open_mail(build_mail(build_text_part(shown, b"html"), photo, bare))) == {
        "2": None,
        "3": "signature",
    }


def test_each_of_several_forwarded_mails_gives_the_text_that_is_its_invoice() -> None:
    opened_mail = open_mail(
        build_mail(
            build_text_part(b"All of our receipts: invoice, 99,99 EUR"),
            build_forwarded_part(1),
            build_forwarded_part(2),
        )
    )
    assert map_skip_reasons(opened_mail) == {"2.1": None, "3.1": None}
    assert [content.strip() for content in opened_mail[1]] == [(RECEIPT_TEXT % number).strip() for number in (1, 2)]
    assert opened_mail[0].skipped_body_count == 1


def test_a_forwarded_mail_whose_text_is_the_invoice_counts_beside_one_with_a_pdf() -> None:
    opened_mail = open_mail(
        build_mail(
            build_text_part(b"Both"), build_forwarded_part(1, build_named_attachment(b"x.pdf")), build_forwarded_part(2)
        )
    )
    assert map_skip_reasons(opened_mail) == {"2.2": None, "3.1": None}


def test_the_text_around_a_forwarded_mail_with_an_invoice_is_not_an_invoice() -> None:
    opened_mail = open_mail(
        build_mail(build_text_part(RECEIPT_TEXT % 1), build_forwarded_part(2, build_named_attachment(b"x.pdf")))
    )
    assert map_skip_reasons(opened_mail) == {"2.2": None}


def test_a_till_receipt_scanned_sideways_is_not_a_banner() -> None:
    scan = build_named_attachment(b"receipt.png", build_png_header(3000, 640), b"image/png")
    banner = build_named_attachment(b"banner.png", build_png_header(1200, 240), b"image/png")
    opened_mail = open_mail(
        build_mail(
            build_multipart(build_text_part(b"Both"), kind=b"related", boundary=b"r"),
            build_named_attachment(b"x.pdf"),
            scan,
            banner,
        )
    )
    assert map_skip_reasons(opened_mail) == {"2": None, "3": None, "4": "decoration"}


@pytest.mark.parametrize(
    ("width", "height", "reason_code"),
    [
        (827, 1169, None),  # A4 at 100 dpi
        (1169, 827, None),  # sideways
        (620, 877, None),  # at 75 dpi
        (640, 853, None),  # a photo that a mail program has made smaller
        (400, 1600, None),  # a till receipt
        (420, 594, "decoration"),  # A4 at 50 dpi, which nobody can read
        (800, 600, "decoration"),
        (1400, 700, "decoration"),  # the picture of a newsletter
        (600, 200, "decoration"),
        (300, 300, "decoration"),
    ],
)
def test_a_scan_in_the_text_beside_an_attachment_is_no_decoration(
    width: int, height: int, reason_code: str | None
) -> None:
    shown = build_text_part(b"<p>Our order, and your invoice:</p><img src='cid:scan'>", b"html")
    scan = build_part(build_png_header(width, height), b"Content-Type: image/png\r\nContent-ID: <scan>")
    opened_mail = open_mail(build_mail(shown, scan, build_named_attachment(b"order.pdf")))
    assert map_skip_reasons(opened_mail) == {"2": reason_code, "3": None}


@pytest.mark.parametrize(
    "start", [b"<?xml version='1.0'?><Invoice>", b"<Invoice>", b"<ubl:CreditNote xmlns:ubl='urn:x'>"]
)
def test_an_e_invoice_without_a_name_that_is_declared_as_text_is_a_part(start: bytes) -> None:
    opened_mail = open_mail(build_mail(build_text_part(b"Hello"), build_text_part(start + b"<ID>7</ID>")))
    assert map_skip_reasons(opened_mail) == {"2": None}


def test_markup_that_is_declared_as_text_is_a_body() -> None:
    assert map_skip_reasons(open_mail(build_mail(build_text_part(b"<p>Hello"), build_named_attachment(b"x.pdf")))) == {
        "2": None
    }
