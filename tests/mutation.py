"""Mutations of valid inputs with fixed seeds: case n of an edge is the same on every machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.sweep_size import IS_SOAK

CASES_DIRECTORY = Path(__file__).parent / "fuzz_cases"  # inputs that once failed, one directory per edge
SOAK_SECONDS = float(os.environ.get("FUZZ_SECONDS", "600"))  # per edge
MAX_MUTATIONS = 6  # per case
ODD_TOKENS = (
    b"", b"\0", b"\r\n", b"\n\n", b"(", b")", b'"', b"{", b"}", b"{5}\r\n", b"<", b">", b"]]>", b"&#0;", b"=?utf-8?q?",
    b"NIL", b"-1", b"0", b"1e400", b"NaN", b"99999999999999999999999", b"+2500", b"-9999", b"0000", b"\xff\xfe",
    b"\xed\xa0\x80", b"\xf0\x9f\x92\xa9", b"%", b"%s", b"\\", b"../", b"\x1b[2J", b"'", b";", b"obj", b"endstream",
)  # fmt: skip
ODD_VALUES: Sequence[Any] = (
    None, True, False, 0, -1, 1, 10**30, -(10**30), 0.1, 1e308, "", " ", "0", "NaN", "-", "\0", "\ud800", "1.250,00",
    "€ 1250", "0000-00-00", "9999-12-31T23:59:59+99:99", "2026-02-30", [], {}, [[]], [None], {"": {}}, "x" * 5_000,
)  # fmt: skip


def build_random(edge: str, number: int) -> Random:
    """Return the source of randomness of one case."""
    return Random(f"{edge}-{number}")  # noqa: S311 - a fixed seed is what a case needs


def iter_case_numbers(count_in_test: int) -> Iterator[int]:
    """Yield ``count_in_test`` numbers; in ``make soak`` as many as fit into ``SOAK_SECONDS``."""
    deadline, number = time.monotonic() + SOAK_SECONDS, 0
    while time.monotonic() < deadline if IS_SOAK else number < count_in_test:
        yield number
        number += 1


def read_kept_cases(edge: str) -> list[bytes]:
    """Return the inputs of an edge that once failed."""
    return [path.read_bytes() for path in sorted((CASES_DIRECTORY / edge).glob("*"))]


def mutate_bytes(content: bytes, random: Random) -> bytes:
    """Return the content with up to six changes: flipped, removed, repeated, moved or odd bytes."""
    for _ in range(random.choice((1, 1, 1, 2, MAX_MUTATIONS))):
        start = random.randrange(len(content) + 1)
        end = min(len(content), start + random.choice((1, 2, 8, 64, 1024)))
        content = random.choice(_BYTE_MUTATIONS)(content, start, end, random)
    return content


def _flip_byte(content: bytes, start: int, _end: int, random: Random) -> bytes:
    return content[:start] + bytes([random.randrange(256)]) + content[start + 1 :]


def _remove_slice(content: bytes, start: int, end: int, _random: Random) -> bytes:
    return content[:start] + content[end:]


def _repeat_slice(content: bytes, start: int, end: int, random: Random) -> bytes:
    return content[:start] + content[start:end] * random.choice((2, 3, 50)) + content[end:]


def _move_slice(content: bytes, start: int, end: int, random: Random) -> bytes:
    rest = content[:start] + content[end:]
    position = random.randrange(len(rest) + 1)
    return rest[:position] + content[start:end] + rest[position:]


def _insert_token(content: bytes, start: int, _end: int, random: Random) -> bytes:
    return content[:start] + random.choice(ODD_TOKENS) + content[start:]


def _replace_slice(content: bytes, start: int, end: int, random: Random) -> bytes:
    return content[:start] + random.choice(ODD_TOKENS) + content[end:]


def _cut_end(content: bytes, start: int, _end: int, random: Random) -> bytes:
    return content[:start] if random.random() < 0.2 else content


_BYTE_MUTATIONS: Sequence[Callable[[bytes, int, int, Random], bytes]] = (
    _flip_byte, _remove_slice, _repeat_slice, _move_slice, _insert_token, _replace_slice, _cut_end,
)  # fmt: skip


def mutate_json(value: Any, random: Random) -> bytes:
    """Return JSON with odd values, missing and additional keys; now and then with mutated bytes."""
    for _ in range(random.randint(1, 3)):
        value = _mutate_value(value, random)
    content = json.dumps(value).encode()
    return mutate_bytes(content, random) if random.random() < 0.2 else content


def _mutate_value(value: Any, random: Random) -> Any:
    """Return the value with one change somewhere in it."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        key, changed = random.choice(sorted(value)), dict(value)
        choice = random.random()
        if choice < 0.1:
            del changed[key]
        elif choice < 0.15:
            changed[key.upper()] = changed.pop(key)
        else:
            changed[key] = _mutate_value(value[key], random)
        return changed
    if isinstance(value, list) and value and random.random() < 0.85:
        index = random.randrange(len(value))
        changed_item = _mutate_value(value[index], random)
        return [*value[:index], *([changed_item] * random.choice((0, 1, 1, 2))), *value[index + 1 :]]
    return random.choice(ODD_VALUES)
