"""Directories that contain a Maildir and other files: nothing that could be an invoice is missed."""

from __future__ import annotations

from pathlib import Path

from sources.folder.listing import LocalFile, list_files


def test_directories_beside_a_maildir_are_listed_too(tmp_path: Path) -> None:
    for name in (
        "cur/1.a:2,S",
        "new/2.b",
        "tmp/3.c",
        "Archive/cur/4.d:2,",
        "Archive/new/x",
        "Archive/tmp/y",
        "2026/i.pdf",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    tmp_path.joinpath("dovecot-uidlist").write_bytes(b"x")
    actual = [
        str(listed.path.relative_to(tmp_path)) for listed in list_files(tmp_path) if isinstance(listed, LocalFile)
    ]
    assert sorted(actual) == ["2026/i.pdf", "Archive/cur/4.d:2,", "Archive/new/x", "cur/1.a:2,S", "new/2.b"]
