"""The table of profiles: its words are those that its comment explains, and every candidate has one row of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import duckdb
import pytest

from transforms.sql_runner import open_in_memory_database, read_sql_models

PROFILES_SQL, CANDIDATE_PROFILES_SQL, CHECKS_LINES_SQL = (
    read_sql_models("core")[name] for name in ("profiles", "candidate_profiles", "checks_lines")
)


@pytest.fixture(scope="module")
def profiles() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with the table of profiles."""
    with open_in_memory_database() as connection:
        connection.execute(f"CREATE TABLE profiles AS {PROFILES_SQL}")
        yield connection


def test_every_word_of_a_profile_is_explained_and_decides_rules(profiles: duckdb.DuckDBPyConnection) -> None:
    words = {word for (word,) in profiles.execute("SELECT DISTINCT unnest(lacks) FROM profiles").fetchall()} - {""}
    comment = "".join(line for line in PROFILES_SQL.splitlines(keepends=True) if line.startswith("--"))
    deciding_words = set(re.findall(r"lacks, '(\w+)'", CANDIDATE_PROFILES_SQL)) | set(
        re.findall(r"\('[A-Z0-9-]+', '(line_\w+)'\)", CHECKS_LINES_SQL)
    )
    assert words <= deciding_words
    assert [word for word in sorted(words) if not re.search(rf"\b{word}\b", comment)] == []


def test_a_profile_has_one_row_and_there_is_one_for_everything_else(profiles: duckdb.DuckDBPyConnection) -> None:
    rows = profiles.execute("SELECT syntax, profile, rounding, item_tolerance FROM profiles").fetchall()
    assert len({row[:2] for row in rows}) == len(rows)
    assert ("*", "*") in {row[:2] for row in rows}
    assert {row[2] for row in rows} <= {"computed", "both", "exact"}
    assert min(row[3] for row in rows) == 0
