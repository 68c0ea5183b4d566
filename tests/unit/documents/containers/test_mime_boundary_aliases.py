"""Boundaries under names of ours change nothing: not where they begin like each other, nor where nobody names them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from invoices.documents.containers.mime_boundary_aliases import BoundaryAliases
from invoices.documents.containers.mime_tree import MailLimitError
from tests.unit.documents.containers.mail_builder import HEADERS
from tests.unit.documents.containers.test_condensed_mail import (
    parse_leaves_with_email_package,
    parse_leaves_with_skeleton,
)

SIMILAR_BOUNDARIES = ["e", "ed", "edge", "edge-", "edge--", "edge--in", "edge in", "-edge", "--edge", "a;b", "a"]
BOUNDARY_PARAMETERS = [
    'boundary="{}"',
    "boundary={}",
    'boundary*0="{}"',
    "boundary*=utf-8''{}",
    'charset=a; boundary="{}"',
]
LINES = [f"--{name}{end}" for name in SIMILAR_BOUNDARIES for end in ("", "--", " ", "x")] + ["", "words", "Key: value"]
CONTENT_TYPES = st.builds(
    lambda how, name: f"Content-Type: multipart/mixed; {how.format(name)}",
    st.sampled_from(BOUNDARY_PARAMETERS),
    st.sampled_from(SIMILAR_BOUNDARIES),
)
TEXTS = st.lists(CONTENT_TYPES | st.sampled_from(LINES), max_size=30)


@example("Content-Type: multipart/mixed; boundary=edge", ["--edge", "", "a", "--edge--", 'boundary="edge--"'], "\n")
@example("Content-Type: multipart/mixed; boundary*0=edge-x", ["--edge-x", "", "boundary=edge", "--edge-x"], "\n")
@given(CONTENT_TYPES, TEXTS, st.sampled_from(["\n", "\r\n"]))
def test_parts_are_those_of_the_standard_parser(stated: str, lines: list[str], end: str) -> None:
    content = HEADERS + end.join([stated, "", *lines]).encode()
    try:
        ours = parse_leaves_with_skeleton(content)
    except MailLimitError:
        return
    assert ours == parse_leaves_with_email_package(content)


@pytest.mark.parametrize("short", "0123456789abcdef")
def test_no_name_of_ours_is_taken_for_the_beginning_of_a_boundary(short: str) -> None:
    inner = ["", f"--{short}", "", "a", f"--{short}--", "--edge", "", "b", "--edge--"]
    content = HEADERS + "\n".join([
        "Content-Type: multipart/mixed; boundary=edge", "", "--edge",
        f"Content-Type: multipart/mixed; boundary={short}", *inner,
    ]).encode()  # fmt: skip
    assert parse_leaves_with_skeleton(content) == parse_leaves_with_email_package(content)


@pytest.mark.parametrize("start", [b"", b"\n", b"\r", b"\r\n", b"words"])
def test_what_was_renamed_is_restored(start: bytes) -> None:
    content = start + b'--edge\r\n--edge--\nboundary="edge"\nboundary=edg\n--edg\r--edge\n'
    boundaries = BoundaryAliases(content)
    renamed = boundaries.replace_boundaries(content)
    assert renamed.count(b"\n--edge") == renamed.count(b"\r--edge") == renamed.count(b"--edg\r") == 0
    assert boundaries.restore_boundaries(renamed) == content


def test_every_mail_has_the_same_names() -> None:
    names = {BoundaryAliases(b'boundary="%d"' % number).get_alias(str(number)) for number in range(100)}
    assert len(names) == 1
