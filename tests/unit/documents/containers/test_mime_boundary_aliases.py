"""Aliases for boundaries change nothing, even if boundaries begin alike or are not stated."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from invoices.documents.containers.mime_boundary_aliases import BoundaryAliases
from invoices.documents.containers.mime_tree import MailLimitError
from tests.unit.documents.containers.mail_builder import HEADERS
from tests.unit.documents.containers.test_condensed_mail import (
    parse_condensed_leaves,
    parse_leaves_with_email_package,
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
    lambda parameter, name: f"Content-Type: multipart/mixed; {parameter.format(name)}",
    st.sampled_from(BOUNDARY_PARAMETERS),
    st.sampled_from(SIMILAR_BOUNDARIES),
)
TEXTS = st.lists(CONTENT_TYPES | st.sampled_from(LINES), max_size=30)


@example("Content-Type: multipart/mixed; boundary=edge", ["--edge", "", "a", "--edge--", 'boundary="edge--"'], "\n")
@example("Content-Type: multipart/mixed; boundary*0=edge-x", ["--edge-x", "", "boundary=edge", "--edge-x"], "\n")
@given(CONTENT_TYPES, TEXTS, st.sampled_from(["\n", "\r\n"]))
def test_parts_equal_those_of_the_standard_parser(stated: str, lines: list[str], end: str) -> None:
    content = HEADERS + end.join([stated, "", *lines]).encode()
    try:
        ours = parse_condensed_leaves(content)
    except MailLimitError:
        return
    assert ours == parse_leaves_with_email_package(content)


@pytest.mark.parametrize("short", "0123456789abcdef")
def test_no_alias_is_taken_for_the_start_of_a_boundary(short: str) -> None:
    inner = ["", f"--{short}", "", "a", f"--{short}--", "--edge", "", "b", "--edge--"]
    content = HEADERS + "\n".join([
        "Content-Type: multipart/mixed; boundary=edge", "", "--edge",
        f"Content-Type: multipart/mixed; boundary={short}", *inner,
    ]).encode()  # fmt: skip
    assert parse_condensed_leaves(content) == parse_leaves_with_email_package(content)


@pytest.mark.parametrize("start", [b"", b"\n", b"\r", b"\r\n", b"words"])
def test_boundaries_are_restored_from_their_aliases(start: bytes) -> None:
    content = start + b'--edge\r\n--edge--\nboundary="edge"\nboundary=edg\n--edg\r--edge\n'
    boundaries = BoundaryAliases(content)
    with_aliases = boundaries.replace_boundaries(content)
    assert with_aliases.count(b"\n--edge") == with_aliases.count(b"\r--edge") == with_aliases.count(b"--edg\r") == 0
    assert boundaries.restore_boundaries(with_aliases) == content


def test_every_mail_has_the_same_aliases() -> None:
    aliases = {BoundaryAliases(b'boundary="%d"' % number).get_alias(str(number)) for number in range(100)}
    assert len(aliases) == 1
