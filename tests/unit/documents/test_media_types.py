"""Media types by content, whatever the name of the file."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.documents.content_sniffing import detect_media_type

SIGNED_DATA = bytes.fromhex("308006092a864886f70d010702a0803080020101") + bytes(60)
OUTLOOK_MESSAGE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500) + "__substg1.0_".encode("utf-16-le")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "application/x-empty"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"some junk\n%PDF-1.4\n1 0 obj", "application/pdf"),
        (b"1 0 obj\n<< /Type /Catalog >>", "application/pdf"),
        (b'<?xml version="1.0"?><a/>', "application/xml"),
        (b"\xef\xbb\xbf<Invoice xmlns='urn:x'/>", "application/xml"),
        (b"\n<!-- a comment first --><rsm:Order xmlns:rsm='x'/>", "application/xml"),
        ('<?xml version="1.0"?><a/>'.encode("utf-16"), "application/xml"),
        ('<?xml version="1.0" encoding="utf-16"?><a/>'.encode("utf-16-be"), "application/xml"),
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0..JFIF", "image/jpeg"),
        (b"II*\x00....", "image/tiff"),
        (b"GIF89a....", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"Received: from a by b\r\nFrom: a@example.com\r\n\r\nbody", "message/rfc822"),
        (b"From a@example.com Mon Jan  1\nFrom: a@example.com\nTo: b@example.com\n\n", "message/rfc822"),
        (b'Content-Type: multipart/mixed; boundary="x"\n\n--x', "message/rfc822"),
        (b"From: " + b"a@example.com, " * 5000, "message/rfc822"),
        (OUTLOOK_MESSAGE, "application/vnd.ms-outlook"),
        (OUTLOOK_MESSAGE[:400], "application/x-ole-storage"),
        (b"\x78\x9f\x3e\x22....", "application/ms-tnef"),
        (b"PK\x03\x04....plain.txt", "application/zip"),
        (b"PK\x03\x04..[Content_Types].xml..word/document.xml",
         "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (b"PK\x03\x04.._rels/.rels..xl/workbook.xml",
         "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        (SIGNED_DATA, "application/pkcs7-mime"),
        (base64.b64encode(SIGNED_DATA), "application/pkcs7-mime"),
        (b"<!DOCTYPE html><html></html>", "text/html"),
        (b"<!-- saved --><HTML><body>", "text/html"),
        (b"Dear customer,\nplease find", "text/plain"),
        ("Sehr geehrte Kundin, größer".encode(), "text/plain"),
        (b"\x7fELF\x02\x01", "application/x-executable"),
        (b"MZ\x90\x00\x03", "application/x-executable"),
        (b"#!/bin/sh\nrm", "application/x-executable"),
        (b"MZ is how this sentence begins, and it is only text.", "text/plain"),
        (b"\x00\x01\x02\x03", "application/octet-stream"),
    ],
)  # fmt: skip
def test_the_content_decides_the_type(content: bytes, expected: str) -> None:
    assert detect_media_type(content) == expected


def test_a_program_that_also_claims_to_be_a_pdf_is_a_program() -> None:
    assert detect_media_type(b"MZ\x90\x00" + bytes(100) + b"\n%PDF-1.7\n") == "application/x-executable"


def test_a_pdf_mark_deep_in_a_text_does_not_make_it_a_pdf() -> None:
    assert detect_media_type(b"x" * 2000 + b"\n%PDF-1.4\n") == "text/plain"


@given(st.binary(max_size=400))
def test_any_bytes_have_a_type(content: bytes) -> None:
    assert "/" in detect_media_type(content)
