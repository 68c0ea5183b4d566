"""A mail that says that an invoice is attached, and to which nothing is attached, goes to a person."""

from __future__ import annotations

import pytest

from invoices.documents.containers.mail import open_mail
from tests.unit.documents.containers.mail_builder import HEADERS, build_part

DATE = b"Date: Sat, 01 Aug 2026 10:00:00 +0000\r\n"
ANNOUNCEMENTS = [
    "Please find attached our invoice for July.",
    "Guten Tag,\n\nanbei unsere Rechnung Nr. 4711.\n\nGrüße",
    "Die Rechnung finden Sie im Anhang.",
    "Vous trouverez ci-joint notre facture.",
    "Adjunto la factura de julio.",
    "In allegato la fattura.",
    "In de bijlage vindt u onze factuur.",
    "W załączeniu faktura.",
    "The invoice is attached.\n\n> Please send us the invoice.",
]
OTHER_TEXTS = [
    "Thank you, we have paid your invoice.",
    "Please find attached the photos of our trip.",
    "Paid, thanks.\n\n> Please find attached our invoice for July.",
    "Paid.\n\nAm 1.8.2026 um 10:00 schrieb Lieferant:\nanbei unsere Rechnung",
    "Paid.\n\nOn 1 Aug 2026, at 10:00, Shop <shop@example.org> wrote:\nThe invoice is attached.",
    "Done.\n\n-----Original Message-----\nThe invoice is attached.",
    "Erledigt.\n\nVon: Lieferant\nGesendet: Samstag\nDie Rechnung finden Sie im Anhang.",
    "",
]


def open_text_mail(text: str, content_type: bytes = b"text/plain", more: bytes = b"") -> str | None:
    """Return the reason code of a mail with this text."""
    body = build_part(text.encode(), b"Content-Type: %s; charset=utf-8" % content_type)
    if more:
        body = (
            b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n' + body + b"\r\n--b\r\n" + more + b"\r\n--b--"
        )
    return open_mail(HEADERS.replace(b"Invoice 7", b"Hello") + DATE + body)[0].reason_code


@pytest.mark.parametrize("text", ANNOUNCEMENTS)
def test_an_announced_invoice_that_is_not_attached_is_noticed(text: str) -> None:
    assert open_text_mail(text) == "attachment_missing"
    assert open_text_mail(f"<p>{text}</p>", b"text/html") == "attachment_missing"


@pytest.mark.parametrize("text", OTHER_TEXTS)
def test_other_mails_without_a_document_end_as_before(text: str) -> None:
    assert open_text_mail(text) is None


def test_a_mail_with_the_attachment_is_opened() -> None:
    pdf = build_part(b"%PDF-1.4", b'Content-Type: application/pdf; name="a.pdf"')
    assert open_text_mail(ANNOUNCEMENTS[0], more=pdf) is None


def test_a_signature_logo_is_no_attachment() -> None:
    vcard = build_part(b"BEGIN:VCARD", b'Content-Type: text/vcard; name="me.vcf"')
    assert open_text_mail(ANNOUNCEMENTS[0], more=vcard) == "attachment_missing"
