"""No text from outside keeps a regular expression of the product busy: every pattern in the source is checked."""

from __future__ import annotations

import fnmatch
import gc
import re
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from invoices.documents.content_sniffing import detect_media_type
from invoices.documents.pdf.xml_page_comparison import build_amount_pattern
from tests.regular_expressions import (
    FoundPattern,
    build_worst_strings,
    find_patterns,
    has_nested_repetition,
    has_unsafe_possessive_group,
    parse_pattern,
)
from tests.sweep_size import spread
from transforms.sql_runner import open_in_memory_database, read_sql_models

# Patterns that only exist at run time, by module and function.
BUILT_PATTERNS = {
    "invoices.documents.pdf.xml_page_comparison:build_amount_pattern": [
        build_amount_pattern("1234567.89"), build_amount_pattern("1250.00"),
    ],
    "sources.folder.listing:build_name_matcher": [
        re.compile("|".join(map(fnmatch.translate, ["*.pdf", "*a*b*c*", "?x[a-c]*"])))
    ],
}  # fmt: skip
TEXT_CHARACTERS = 60_000
MAX_CPU_SECONDS = 1.0  # a linear match takes milliseconds, a quadratic one of this length seconds
TEXT_MACRO = r"MACRO {}\((?:value|text|note|payload)\)"  # with one parameter, a text
PATTERNS = list(find_patterns(BUILT_PATTERNS))


class TooSlowError(Exception):
    """A match used up its processor time."""


@pytest.fixture
def limit_cpu_time() -> Iterator[None]:
    """Turn the signal of the timer for processor time into an exception; the matcher of ``re`` checks for signals.

    No garbage is collected meanwhile: it would count as time, and an exception in one of its callbacks is lost.
    """

    def stop(_signal_number: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    previous_handler = signal.signal(signal.SIGVTALRM, stop)
    gc.disable()
    yield
    gc.enable()
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    signal.signal(signal.SIGVTALRM, previous_handler)


def match_with_limit(found: FoundPattern, text: Any) -> bool:
    """Match a text in every way that the product uses; return whether each took less than the limit."""
    for method in found.methods:
        replacement = [text[:0]] if method in {"sub", "subn"} else []
        signal.setitimer(signal.ITIMER_VIRTUAL, MAX_CPU_SECONDS)
        try:
            result = getattr(found.pattern, method)(*replacement, text)
            if method == "finditer":
                list(result)
        except TooSlowError:
            return False
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return True


def find_slow_text(found: FoundPattern, count: int) -> Any:
    texts = spread(list(build_worst_strings(found.pattern, TEXT_CHARACTERS)), count)
    return next((text for text in texts if not match_with_limit(found, text)), None)


def test_the_patterns_of_the_source_are_found() -> None:
    places = " ".join(found.place for found in PATTERNS)
    for module in (
        "invoices.documents.content_sniffing",
        "invoices.documents.containers.mbox_format",
        "invoices.settings.sources",
    ):
        assert module in places
    assert len(PATTERNS) > 100


def test_no_pattern_has_a_repetition_within_a_repetition() -> None:
    nested = [
        f"{found.place} {found.pattern.pattern!r}"
        for found in PATTERNS
        if has_nested_repetition(parse_pattern(found.pattern))
    ]
    assert nested == []


def test_no_pattern_repeats_a_group_possessively_that_can_be_matched_in_several_ways() -> None:
    unsafe = [found.place for found in PATTERNS if has_unsafe_possessive_group(parse_pattern(found.pattern))]
    assert unsafe == []
    for pattern, is_unsafe in ((r"(?:a+\.)++b", True), (r"(?:[ab]\.)++b", False), (r"[ab]*+b", False)):
        assert has_unsafe_possessive_group(parse_pattern(re.compile(pattern))) == is_unsafe


@pytest.mark.sweep
@pytest.mark.usefixtures("limit_cpu_time")
def test_every_pattern_takes_milliseconds_for_the_worst_text() -> None:
    slow = [f"{found.place}: {text[:60]!r}…" for found in PATTERNS if (text := find_slow_text(found, 8)) is not None]
    assert slow == []


@pytest.mark.usefixtures("limit_cpu_time")
@pytest.mark.parametrize(
    ("pattern", "is_nested"),
    [
        (rb"\s*(?:<!--.{0,2000}?-->\s*)*<(?:!doctype\s+html|html)\b", True),
        (r"(?:a+)+b", True),
        (r"x.*y", False),
        (r"\[([a-z]+)[^\]]*\]", False),
    ],
)
def test_the_checks_notice_a_pattern_that_takes_too_long(pattern: Any, is_nested: bool) -> None:
    found = FoundPattern("example", re.compile(pattern), ("search",))
    assert has_nested_repetition(parse_pattern(found.pattern)) == is_nested
    assert find_slow_text(found, 40) is not None


def test_a_repetition_that_is_matched_in_one_way_only_is_allowed() -> None:
    for pattern in (r"(?:a+\.)++b", r"(?:-[0-9]{4}){3}", r"(?:ab?)+"):
        assert not has_nested_repetition(parse_pattern(re.compile(pattern)))


@pytest.mark.parametrize("end", [b"<x/>", b"<svg/>", b"<html>"])
def test_forty_comments_before_the_root_are_sniffed_at_once(end: bytes) -> None:
    started = time.process_time()
    media_types = {detect_media_type(b"<!---->" * count + end) for count in (1, 40, 9_000)}
    assert media_types <= {"application/xml", "image/svg+xml", "text/html"}
    assert time.process_time() - started < 1


def test_every_macro_for_texts_takes_bounded_time() -> None:
    pieces = ["a", "0", " ", "1.", "1,", "-", "(", "EUR ", "€", "\u00a0", "'", "a ", "00:", "12/", '"', "[{", "%"]
    texts = [piece * (20_000 // len(piece)) + end for piece in pieces for end in ("", "!")]
    connection = open_in_memory_database()
    connection.execute("CREATE TABLE texts AS SELECT unnest($1::VARCHAR[]) AS value", [texts])
    macros = [name for name, sql in read_sql_models("macros").items() if re.search(TEXT_MACRO.format(name), sql)]
    assert len(macros) > 15
    for macro in macros:
        started = time.process_time()
        connection.execute(f"SELECT count(TRY({macro}(value))) FROM texts").fetchall()
        assert time.process_time() - started < 2 * MAX_CPU_SECONDS, macro
