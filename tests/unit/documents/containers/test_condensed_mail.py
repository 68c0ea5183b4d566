"""Cutting the bodies out of a mail changes nothing: its parts equal those of the standard parser, byte for byte."""

from __future__ import annotations

import email
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.documents.containers.condensed_mail import CondensedMail
from invoices.documents.containers.mail import open_mail
from invoices.documents.containers.mime_tree import MailLimitError, MimeEntity, parse_mail
from tests.unit.documents.containers.mail_builder import (
    HEADERS,
    PDF_CONTENT,
    build_mail,
    build_named_attachment,
    build_text_part,
)

LINES = [
    b"", b" ", b"--", b"--edge", b"--edge--", b"--in", b"--in--", b"--edge ", b"Key: value", b":", b" folded",
    b"From me", b"plain words", b"JVBERi0xLjcK" * 6, b"A" * 76, b"0" * 32 + b"0", b"--x: y", b"-", b"\xff\xfe\xe4",
    b"Content-Type: multipart/mixed; boundary=in", b"Content-Type: multipart/digest; boundary=in",
    b"Content-Type: message/rfc822", b"Content-Type: text/plain",
]  # fmt: skip
LINE_ENDINGS = [b"\n", b"\r\n", b"\r"]
LINE_RUNS = st.tuples(st.sampled_from(LINES), st.sampled_from(LINE_ENDINGS), st.sampled_from([1, 1, 1, 2, 5, 300]))
MAILS = st.lists(LINE_RUNS, max_size=25).map(lambda runs: b"".join((line + end) * count for line, end, count in runs))


def parse_leaves_with_email_package(content: bytes) -> list[bytes]:
    """Return the leaves of a mail by the standard parser alone, still encoded."""
    payloads = []
    for part in email.message_from_bytes(content).walk():
        del part["content-transfer-encoding"]
        if not part.is_multipart():
            payloads.append(get_payload(part))
    return payloads


def get_payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


def parse_condensed_leaves(content: bytes) -> list[bytes]:
    return [
        entity.get_encoded_payload()
        for entity in parse_mail(content).walk()
        if isinstance(entity, MimeEntity) and not entity.list_children()
    ]


@given(MAILS)
def test_every_payload_equals_that_of_the_standard_parser(lines: bytes) -> None:
    content = HEADERS + b"Content-Type: multipart/mixed; boundary=edge\r\n\r\n--edge\r\n" + lines
    try:
        ours = parse_condensed_leaves(content)
    except MailLimitError:
        return
    assert ours == parse_leaves_with_email_package(content)


@pytest.mark.parametrize(
    "content",
    [
        build_mail(
            build_text_part(b"Hello\r\n" * 500),
            build_named_attachment(b"x.pdf", PDF_CONTENT * 500),
            build_named_attachment(b"y.pdf", PDF_CONTENT * 300),
        ),
        build_mail(build_text_part(b"Hello\r\n" * 500), build_named_attachment(b"x.pdf", PDF_CONTENT * 500))[:9_000],
        build_mail(
            build_text_part((b"0" * 32 + b"0\n") * 500), build_text_part(b"a\r" * 900), build_text_part(b"\n" * 900)
        ),
        build_mail(build_text_part(b"Hello\n" * 900 + b"x\r--edge\r\n\r\nsecond part")),
        HEADERS + b"\r\n" + bytes(range(256)) * 50,
    ],
)
def test_cut_bodies_are_restored(content: bytes) -> None:
    condensed_mail = CondensedMail(content)
    assert len(condensed_mail.text) < len(content) / 2
    assert condensed_mail.restore_payload(condensed_mail.text.encode("ascii", "surrogateescape")) == content
    assert parse_condensed_leaves(content) == parse_leaves_with_email_package(content)


@given(st.binary(max_size=2_000))
def test_arbitrary_bytes_never_raise(content: bytes) -> None:
    for mail_like in (
        content,
        HEADERS + content,
        HEADERS + b"Content-Type: multipart/mixed; boundary=a\n\n--a\n" + content,
    ):
        opened_mail, contents = open_mail(mail_like)
        assert len(opened_mail.parts) == len(contents)


@given(MAILS)
def test_arbitrary_structures_never_raise(lines: bytes) -> None:
    lines = lines.replace(b"folded", b"folded\nContent-Transfer-Encoding: base64")
    opened_mail, contents = open_mail(
        HEADERS + b"Content-Type: multipart/mixed; boundary=edge\r\n\r\n--edge\r\n" + lines
    )
    assert opened_mail.reason_code in {None, "mail_limits", "damaged_mail", "encrypted_mail"}
    assert len(opened_mail.parts) == len(contents)
    assert not (opened_mail.reason or "").startswith("parsing the mail failed")
