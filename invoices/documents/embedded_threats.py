"""Dangerous files inside an e-invoice: a doubt in its payload, which the rules see, and a flag of the document."""

from __future__ import annotations

from dataclasses import replace

from invoices.documents.outcomes import REASON_CODES, DocumentReading, add_flags, sanitise_for_display

MAX_FLAGS = 20  # about the embedded files of one document

_DOUBT_BY_REASON_CODE = {"active_content": "embedded_active_content"}  # any other is embedded_malware


def add_threats(reading: DocumentReading, threats: list[tuple[str, str]]) -> DocumentReading:
    """Return the reading with dangerous embedded files, pairs of doubt and message, as doubts and flags."""
    if reading.payload is not None and threats:
        doubts = dict(reading.payload.get("doubts", {}))
        for doubt_name, message in threats:
            doubts.setdefault(doubt_name, message)
        reading = replace(reading, payload={**reading.payload, "doubts": doubts})
    return add_flags(reading, *(("FILE-EMBEDDED", message) for _, message in threats[:MAX_FLAGS]))


def build_threat(file_name: str | None, reason_code: str, reason: str | None = None) -> tuple[str, str]:
    """Return the name of the doubt and the message about a dangerous file that is embedded in an e-invoice."""
    meaning = reason or REASON_CODES[reason_code][1]
    message = f"the embedded file {sanitise_for_display(file_name or 'without a name')!r}: {meaning}"
    return _DOUBT_BY_REASON_CODE.get(reason_code, "embedded_malware"), sanitise_for_display(message, 300)
