"""Every flag of a document: an observation that is reported and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping

# rule_id: what is expected of a document
FLAG_RULES: Mapping[str, str] = {
    "FILE-POLYGLOT": "a file is of one type only",
    "FILE-EMBEDDED": "a file inside an e-invoice can be taken out, and is no program and no malware",
    "PDF-ACTIVE": "a PDF does nothing when it is opened or clicked, and carries no program",
    "PDF-LINKS": "a PDF links to no address outside",
    "PDF-HIDDEN-TEXT": "all text of a PDF can be seen",
    "PDF-SIGNATURE": "a signed PDF was not changed after it was signed",
    "INTAKE-NAME": "the name of a file matches its type",
    "INTAKE-TYPE": "a file is of the type that its mail states",
    "INTAKE-CONTAINER": "what is in a mail or archive can be opened, and its names stay inside",
    "MAIL-FROM": "a mail has one sender, and the name shown does not pretend to be another",
    "MAIL-REPLY-TO": "replies to a mail go to its sender's domain",
    "MAIL-DATE": "a mail states when it was sent, and that is in the past",
}
