"""The journal distinguishes vendors, also in the state folder of an older sandbox."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sandbox.journal import JOURNAL_FILE_NAME, Journal, read_journal

OLD_CHARGES_TABLE = """CREATE TABLE charges (
    seq INTEGER PRIMARY KEY, at TEXT NOT NULL, api_key TEXT NOT NULL, job_id TEXT NOT NULL,
    document_sha256 TEXT NOT NULL, pages INTEGER NOT NULL)"""


def test_charges_of_an_older_sandbox_belong_to_its_only_vendor(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / JOURNAL_FILE_NAME)) as connection, connection:
        connection.execute(OLD_CHARGES_TABLE)
        connection.execute("INSERT INTO charges VALUES (1, '', 'sk_test_a', 'inv_1', 'aa', 1)")
    for _ in range(2):
        with closing(Journal(tmp_path)) as journal, journal.begin_transaction() as connection:
            columns = "(at, api_key, job_id, document_sha256, pages, vendor)"
            connection.execute(f"INSERT INTO charges {columns} VALUES ('', 'k', 'x', 'bb', 2, 'v')")
    assert [charge["vendor"] for charge in read_journal(tmp_path)["charges"]] == ["smartbills_com", "v", "v"]


def test_unchanged_rate_windows_are_not_written_again_and_survive_a_restart(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.rate_windows["sk_test_a", "w"] = (5.0, 2)
        journal.record_request("sk_test_a", "GET", "/", "/", 200, "r")
        journal.connection.execute("UPDATE windows SET used = 7")
        journal.record_request("sk_test_a", "GET", "/", "/", 200, "r")
    with closing(Journal(tmp_path)) as again:
        assert again.get_rate_window("sk_test_a", "w") == (5.0, 7)
