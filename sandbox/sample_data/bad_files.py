"""Files that are not invoices: hostile XML, notes, a program, and files that programs leave behind."""

from __future__ import annotations

ENTITY_BOMB = b"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE Invoice [
  <!ENTITY a "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">
  <!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
  <!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
  <!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">
  <!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;">
  <!ENTITY f "&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;">
  <!ENTITY file SYSTEM "file:///etc/hostname">
]>
<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
 xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2">
  <cbc:ID>&f;&file;</cbc:ID>
</Invoice>
"""

LETTER_LINES = [
    "Musterwerk Werkzeuge GmbH",
    "",
    "Dear customers,",
    "from 1 July 2026 our list prices rise by two percent.",
    "This letter asks for no payment.",
    "",
    "Kind regards, Erika Muster",
]

TEXT_NOTE = b"Invoices of 2026 go here. Please do not rename them.\n"

FAKE_PROGRAM = bytes.fromhex("4d5a90000300000004000000ffff0000") + bytes(48) + b"not a real program\r\n" + bytes(256)

LEFTOVER_FILES = {
    "scans/._scan0001.png": bytes.fromhex("0005160700020000") + b"Mac OS X        " + bytes(60),
    "office/~$temp.docx": b"\x0aErika Muster" + bytes(42),
    "scans/Thumbs.db": bytes.fromhex("d0cf11e0a1b11ae1") + bytes(120),
    "scans/batch/scan0006.pdf.part": b"%PDF-1.4\n1 0 obj\n<< /Type /Cat",
}
"""There is no .DS_Store among them, because the wheel's builder leaves files of that name out."""
