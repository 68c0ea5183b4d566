"""Boundaries under names of ours change nothing: not where they begin like each other, nor where nobody names them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from invoices.documents.unwrapping.mail_boundaries import Boundaries
from invoices.documents.unwrapping.mail_structure import MailLimits
from tests.unit.mail_builder import HEAD
from tests.unit.test_documents_mail_skeleton import by_the_book, by_us

ALIKE = ["e", "ed", "edge", "edge-", "edge--", "edge--in", "edge in", "-edge", "--edge", "a;b", "a"]
STATED = ['boundary="{}"', "boundary={}", 'boundary*0="{}"', "boundary*=utf-8''{}", 'charset=a; boundary="{}"']
LINES = [f"--{name}{end}" for name in ALIKE for end in ("", "--", " ", "x")] + ["", "words", "Key: value"]
TYPES = st.builds(
    lambda how, name: f"Content-Type: multipart/mixed; {how.format(name)}",
    st.sampled_from(STATED),
    st.sampled_from(ALIKE),
)
TEXTS = st.lists(TYPES | st.sampled_from(LINES), max_size=30)


@example("Content-Type: multipart/mixed; boundary=edge", ["--edge", "", "a", "--edge--", 'boundary="edge--"'], "\n")
@example("Content-Type: multipart/mixed; boundary*0=edge-x", ["--edge-x", "", "boundary=edge", "--edge-x"], "\n")
@given(TYPES, TEXTS, st.sampled_from(["\n", "\r\n"]))
def test_parts_are_those_of_the_standard_parser(stated: str, lines: list[str], end: str) -> None:
    content = HEAD + end.join([stated, "", *lines]).encode()
    try:
        ours = by_us(content)
    except MailLimits:
        return
    assert ours == by_the_book(content)


@pytest.mark.parametrize("short", "0123456789abcdef")
def test_no_name_of_ours_is_taken_for_the_beginning_of_a_boundary(short: str) -> None:
    inner = ["", f"--{short}", "", "a", f"--{short}--", "--edge", "", "b", "--edge--"]
    content = HEAD + "\n".join([
        "Content-Type: multipart/mixed; boundary=edge", "", "--edge",
        f"Content-Type: multipart/mixed; boundary={short}", *inner,
    ]).encode()  # fmt: skip
    assert by_us(content) == by_the_book(content)


@pytest.mark.parametrize("start", [b"", b"\n", b"\r", b"\r\n", b"words"])
def test_what_was_renamed_is_restored(start: bytes) -> None:
    content = start + b'--edge\r\n--edge--\nboundary="edge"\nboundary=edg\n--edg\r--edge\n'
    boundaries = Boundaries(content)
    renamed = boundaries.renamed(content)
    assert renamed.count(b"\n--edge") == renamed.count(b"\r--edge") == renamed.count(b"--edg\r") == 0
    assert boundaries.restored(renamed) == content


def test_every_mail_has_the_same_names() -> None:
    names = {Boundaries(b'boundary="%d"' % number).name_of(str(number)) for number in range(100)}
    assert len(names) == 1
