"""What could be an invoice is not left out: signed files under any name, each mail of several, a rotated scan."""

from __future__ import annotations

import pytest

from invoices.documents.unwrapping.containers import unwrap
from invoices.documents.unwrapping.mail import open_mail
from invoices.documents.unwrapping.parts import Found
from tests.unit.container_bytes import element, signed
from tests.unit.mail_builder import PDF, mail, multipart, named, part, png, text

RECEIPT = b"Invoice %d\r\nTotal 12,50 EUR\r\n"
SIGNATURE = b"application/pkcs7-signature"


def left_out(found: Found) -> dict[str, str | None]:
    return {one.section: one.left_out for one in found[0].parts}


def forwarded(number: int, *parts: bytes) -> bytes:
    inner = mail(text(RECEIPT % number), *parts, boundary=b"inner%d" % number)
    return b"Content-Type: message/rfc822\r\n\r\n" + inner


def test_what_was_signed_is_opened_also_where_its_name_and_type_are_those_of_a_signature() -> None:
    content = mail(text(b"Hello"), named(b"invoice.pdf.p7s", signed(element(4, PDF)), SIGNATURE))
    found, contents = unwrap(content, "message/rfc822")
    assert left_out((found, contents)) == {"2": "container", "2/1": None}
    assert contents[1] == PDF


def test_a_signature_by_itself_is_left_out_and_is_no_document_beside_a_photo() -> None:
    shown = b"<img src='cid:photo'>"
    photo = part(png(1200, 1600), b"Content-Type: image/png\r\nContent-ID: <photo>")
    bare = named(b"smime.p7s", signed(None), SIGNATURE)
    assert left_out(open_mail(mail(text(shown, b"html"), photo, bare))) == {"2": None, "3": "signature"}


def test_each_of_several_forwarded_mails_brings_the_text_that_is_its_invoice() -> None:
    found = open_mail(mail(text(b"All of our receipts: invoice, 99,99 EUR"), forwarded(1), forwarded(2)))
    assert left_out(found) == {"2.1": None, "3.1": None}
    assert [content.strip() for content in found[1]] == [(RECEIPT % number).strip() for number in (1, 2)]
    assert found[0].bodies == 1


def test_a_forwarded_mail_whose_text_is_the_invoice_counts_beside_one_with_a_pdf() -> None:
    found = open_mail(mail(text(b"Both"), forwarded(1, named(b"x.pdf")), forwarded(2)))
    assert left_out(found) == {"2.2": None, "3.1": None}


def test_the_text_around_a_mail_that_brings_an_invoice_is_none() -> None:
    found = open_mail(mail(text(RECEIPT % 1), forwarded(2, named(b"x.pdf"))))
    assert left_out(found) == {"2.2": None}


def test_a_till_receipt_scanned_on_its_side_is_no_banner() -> None:
    scan = named(b"receipt.png", png(3000, 640), b"image/png")
    banner = named(b"banner.png", png(1200, 240), b"image/png")
    found = open_mail(mail(multipart(text(b"Both"), kind=b"related", boundary=b"r"), named(b"x.pdf"), scan, banner))
    assert left_out(found) == {"2": None, "3": None, "4": "decoration"}


@pytest.mark.parametrize(
    "start", [b"<?xml version='1.0'?><Invoice>", b"<Invoice>", b"<ubl:CreditNote xmlns:ubl='urn:x'>"]
)
def test_an_e_invoice_without_a_name_that_is_declared_as_text_is_a_part(start: bytes) -> None:
    found = open_mail(mail(text(b"Hello"), text(start + b"<ID>7</ID>")))
    assert left_out(found) == {"2": None}


def test_markup_that_is_declared_as_text_is_the_text() -> None:
    assert left_out(open_mail(mail(text(b"<p>Hello"), named(b"x.pdf")))) == {"2": None}
