"""An mbox is split into the mails that were put into it, wherever blocks end."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.documents.containers import mbox_format
from invoices.documents.containers.mbox_format import unescape_from_lines
from invoices.documents.content_sniffing import MBOX_TYPE, detect_file_type
from sources.folder.mbox import split_mbox

FROM_LINE = b"From a@b.example Mon Jan  5 10:00:00 2026\n"
lines = st.sampled_from(
    [b"text", b"From here on", b">From there", b"", b"x" * 400, b"10:00 2026", b"From 10:00 2026 x"]
)


def build_mbox(mails: list[bytes]) -> bytes:
    """Return an mbox as RFC 4155 and its dialect mboxrd have it."""
    quoted = (mail.replace(b"\n>From ", b"\n>>From ").replace(b"\nFrom ", b"\n>From ") for mail in mails)
    return b"".join(FROM_LINE + mail + b"\n" for mail in quoted)


@given(st.lists(st.lists(lines, max_size=12), min_size=1, max_size=6))
def test_the_mails_of_an_mbox_come_out_unchanged(bodies: list[list[bytes]]) -> None:
    mails = [b"Subject: x\n\n" + b"".join(line + b"\n" for line in body).rstrip(b"\n") + b"\n" for body in bodies]
    content = build_mbox(mails)
    spans = list(split_mbox(io.BytesIO(content), mbox_format))
    assert [unescape_from_lines(content[span.start : span.start + span.length]) for span in spans] == mails
    assert [span.is_last for span in spans] == [False] * (len(mails) - 1) + [True]
    assert len({span.key for span in spans}) == len(mails)


def test_a_block_may_end_anywhere_around_a_mail() -> None:
    for shift in range(-130, 20):
        mails = [b"Subject: x\n\n" + b"y" * ((1 << 20) + shift) + b"\n", b"Subject: z\n\nz\n"]
        content = build_mbox(mails)
        mail_contents = [
            content[span.start : span.start + span.length] for span in split_mbox(io.BytesIO(content), mbox_format)
        ]
        assert mail_contents == mails, shift


def test_line_ends_of_other_systems_are_recognised() -> None:
    content = build_mbox([b"Subject: 1\n\none\n", b"Subject: 2\n\ntwo\n"]).replace(b"\n", b"\r\n")
    mail_contents = [
        content[span.start : span.start + span.length] for span in split_mbox(io.BytesIO(content), mbox_format)
    ]
    assert mail_contents == [b"Subject: 1\r\n\r\none\r\n", b"Subject: 2\r\n\r\ntwo\r\n"]


def test_the_key_of_a_mail_depends_neither_on_marks_nor_on_other_mails() -> None:
    first, second = b"Subject: 1\n\none\n", b"Subject: 2\n\ntwo\n"
    marked = b"Subject: 1\nStatus: RO\nX-Mozilla-Keys: a\n b\n\none\n"
    keys = [
        next(split_mbox(io.BytesIO(build_mbox(mails)), mbox_format)).key
        for mails in ([first], [first, second], [marked, second])
    ]
    assert len(set(keys)) == 1


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"From - Mon Jan 01 10:00:00 2024\nSubject: x\n", True),
        (b"From 1@xxx Mon Jan 01 10:00:00 +0000 2024\r\nSubject: x\n", True),
        (b"From me@a.example Mon Jan  1 10:00 2024\n", True),
        (b"From 9:30 on we meet\n", False),
        (b"From: a@b.example\nDate: Mon, 1 Jan 2024 10:00:00 +0000\n", False),
        (b"", False),
    ],
)
def test_an_mbox_begins_with_a_sender_and_a_date(head: bytes, expected: bool) -> None:
    assert (detect_file_type(head) == MBOX_TYPE) is expected
