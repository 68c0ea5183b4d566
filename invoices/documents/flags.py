"""The odd things that are told about a document without deciding anything: every flag of a file, in one table."""

from __future__ import annotations

from collections.abc import Mapping

# rule_id: what it says. The flags of mails are where mails are unwrapped.
FLAGS: Mapping[str, str] = {
    "FILE-POLYGLOT": "a file is of one type only",
    "PDF-ACTIVE": "a PDF does nothing when it is opened or clicked, and carries no program",
    "PDF-LINKS": "a PDF links to no address outside",
    "PDF-HIDDEN-TEXT": "all text of a PDF can be seen",
    "PDF-SIGNATURE": "a signed PDF was not changed after it was signed",
}
