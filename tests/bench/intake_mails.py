"""Typical office mails, the same ones on every run: most with a PDF of lognormal size, no two alike."""

from __future__ import annotations

import base64
import random

from tests.servers.dovecot_server import MailAccount

MEDIAN_PDF_BYTES = 50_000  # bytes; the mean is 64,000
PDF_SIZE_LOG_SPREAD = 0.7  # of the logarithm
MAX_PDF_BYTES = 2_000_000

_HEADER = """\
Return-Path: <billing@supplier{supplier}.example>
Delivered-To: office@example.com
Received: from mx{supplier}.supplier{supplier}.example (mx{supplier}.supplier{supplier}.example [192.0.2.{supplier}])
 by mail.example.com with ESMTPS id 4T{number:07d} for <office@example.com>; Mon, 03 Aug 2026 08:00:00 +0000
Authentication-Results: mail.example.com; spf=pass smtp.mailfrom=supplier{supplier}.example; dkim=pass
DKIM-Signature: v=1; a=rsa-sha256; d=supplier{supplier}.example; s=mail; bh={noise}; b={noise}{noise}{noise}
From: Supplier {supplier} <billing@supplier{supplier}.example>
To: Office <office@example.com>
Subject: Your invoice {number:07d}
Date: Mon, 03 Aug 2026 08:00:00 +0000
Message-ID: <{number:07d}.{noise}@supplier{supplier}.example>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=_{noise}"

"""
_TEXT = """\
--=_{noise}
Content-Type: multipart/alternative; boundary="=-{noise}"

--=-{noise}
Content-Type: text/plain; charset=utf-8

Dear office,

please find our invoice {number:07d} attached. It is payable within 30 days.

Supplier {supplier}
--=-{noise}
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<html><body style=3D"font-family:sans-serif"><p>Dear office,</p><p>please find our invoice {number:07d} attached.</p>
{table}</body></html>
--=-{noise}--
"""
_ROW = '<tr><td style=3D"padding:2px 8px">Payable within 30 days</td><td>without any discount</td></tr>\n'
_PART = """\
--=_{noise}
Content-Type: {kind}; name="{name}"
Content-Transfer-Encoding: base64
Content-Disposition: {disposition}; filename="{name}"

"""


def build_mail(number: int, scale: float = 1.0) -> bytes:
    """Return a mail with CR LF line ends; ``scale`` multiplies the size of its PDF.

    Of ten mails eight have a PDF, one a PDF and an e-invoice, one no attachment; every third has a logo.
    """
    rng = random.Random(number)  # noqa: S311 - nothing is secret here
    fields = {"number": number, "supplier": number % 200, "noise": f"{rng.getrandbits(160):040x}"}
    parts = [_HEADER.format(**fields), _TEXT.format(**fields, table=_ROW * rng.randrange(5, 60))]
    if number % 3 == 0:
        parts.append(_build_part(fields, "image/png", "logo.png", _LOGO + bytes([number % 7]), "inline"))
    if number % 10:
        pdf = _build_pdf(rng, scale)
        parts.append(_build_part(fields, "application/pdf", f"invoice-{number:07d}.pdf", pdf))
    if number % 10 == 1:
        parts.append(_build_part(fields, "text/xml", "xrechnung.xml", _build_xml(number)))
    return ("".join(parts) + f"--=_{fields['noise']}--\n").replace("\n", "\r\n").encode()


def deliver_mails(account: MailAccount, count: int, scale: float = 1.0, first: int = 0) -> int:
    """Write mails into an account's INBOX, without the server, and return their total size in bytes."""
    folder, byte_count = account.maildir / "cur", 0
    for number in range(first, first + count):
        content = build_mail(number, scale)
        (folder / f"{1_700_000_000 + number}.M{number}P1.bench,S={len(content)}:2,").write_bytes(content)
        byte_count += len(content)
    account.server.assign_to_server_user(folder)
    return byte_count


_LOGO = b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(3_000)  # noqa: S311 - nothing is secret here


def _build_pdf(rng: random.Random, scale: float) -> bytes:
    size = min(rng.lognormvariate(0, PDF_SIZE_LOG_SPREAD) * MEDIAN_PDF_BYTES * scale, MAX_PDF_BYTES)
    return b"%PDF-1.7\n" + rng.randbytes(int(size)) + b"\n%%EOF\n"


def _build_xml(number: int) -> bytes:
    lines = "".join(f"<Line><ID>{line}</ID><Amount>{line * number}.00</Amount></Line>" for line in range(150))
    return f"<?xml version='1.0'?><Invoice><ID>{number}</ID>{lines}</Invoice>".encode()


def _build_part(
    fields: dict[str, object], kind: str, name: str, content: bytes, disposition: str = "attachment"
) -> str:
    headers = _PART.format(noise=fields["noise"], kind=kind, name=name, disposition=disposition)
    return headers + base64.encodebytes(content).decode()
