"""Cutting long texts out of a mail changes nothing: its parts are those of the standard parser, byte for byte."""

from __future__ import annotations

import email
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.documents.unwrapping.mail import open_mail
from invoices.documents.unwrapping.mail_skeleton import Skeleton
from invoices.documents.unwrapping.mail_structure import Entity, MailLimits, take_apart
from tests.unit.mail_builder import HEAD, PDF, mail, named, text

LINES = [
    b"", b" ", b"--", b"--edge", b"--edge--", b"--in", b"--in--", b"--edge ", b"Key: value", b":", b" folded",
    b"From me", b"plain words", b"JVBERi0xLjcK" * 6, b"A" * 76, b"0" * 32 + b"0", b"--x: y", b"-", b"\xff\xfe\xe4",
    b"Content-Type: multipart/mixed; boundary=in", b"Content-Type: multipart/digest; boundary=in",
    b"Content-Type: message/rfc822", b"Content-Type: text/plain",
]  # fmt: skip
ENDS = [b"\n", b"\r\n", b"\r"]
RUNS = st.tuples(st.sampled_from(LINES), st.sampled_from(ENDS), st.sampled_from([1, 1, 1, 2, 5, 300]))
MAILS = st.lists(RUNS, max_size=25).map(lambda runs: b"".join((line + end) * count for line, end, count in runs))


def by_the_book(content: bytes) -> list[bytes]:
    """What the standard parser alone makes of the leaves of a mail, still encoded."""
    payloads = []
    for part in email.message_from_bytes(content).walk():
        del part["content-transfer-encoding"]
        if not part.is_multipart():
            payloads.append(payload_of(part))
    return payloads


def payload_of(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


def by_us(content: bytes) -> list[bytes]:
    return [
        entity.raw() for entity in take_apart(content).walk() if isinstance(entity, Entity) and not entity.children()
    ]


@given(MAILS)
def test_every_payload_is_that_of_the_standard_parser(lines: bytes) -> None:
    content = HEAD + b"Content-Type: multipart/mixed; boundary=edge\r\n\r\n--edge\r\n" + lines
    try:
        ours = by_us(content)
    except MailLimits:
        return
    assert ours == by_the_book(content)


@pytest.mark.parametrize(
    "content",
    [
        mail(text(b"Hello\r\n" * 500), named(b"x.pdf", PDF * 500), named(b"y.pdf", PDF * 300)),
        mail(text(b"Hello\r\n" * 500), named(b"x.pdf", PDF * 500))[:9_000],
        mail(text((b"0" * 32 + b"0\n") * 500), text(b"a\r" * 900), text(b"\n" * 900)),
        mail(text(b"Hello\n" * 900 + b"x\r--edge\r\n\r\nsecond part")),
        HEAD + b"\r\n" + bytes(range(256)) * 50,
    ],
)
def test_what_was_cut_out_is_put_back(content: bytes) -> None:
    skeleton = Skeleton(content)
    assert len(skeleton.text) < len(content) / 2
    assert skeleton.filled(skeleton.text.encode("ascii", "surrogateescape")) == content
    assert by_us(content) == by_the_book(content)


@given(st.binary(max_size=2_000))
def test_arbitrary_bytes_never_raise(content: bytes) -> None:
    for mail_like in (content, HEAD + content, HEAD + b"Content-Type: multipart/mixed; boundary=a\n\n--a\n" + content):
        unwrapped, contents = open_mail(mail_like)
        assert len(unwrapped.parts) == len(contents)


@given(MAILS)
def test_arbitrary_structures_never_raise(lines: bytes) -> None:
    lines = lines.replace(b"folded", b"folded\nContent-Transfer-Encoding: base64")
    unwrapped, contents = open_mail(HEAD + b"Content-Type: multipart/mixed; boundary=edge\r\n\r\n--edge\r\n" + lines)
    assert unwrapped.reason_code in {None, "mail_limits", "damaged_mail", "encrypted_mail"}
    assert len(unwrapped.parts) == len(contents)
    assert not (unwrapped.reason or "").startswith("taking the mail apart failed")
