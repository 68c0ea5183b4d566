"""The values of a payload: records of strings, dates, and the meaning of type codes and specification ids."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

Record = dict[str, Any]

# UNTDID 1001, the codes that EN 16931 lists for credit notes; 384 (corrected) and 389 (self-billed) are invoices.
CREDIT_NOTE_CODES = frozenset({"81", "83", "261", "262", "296", "308", "381", "396", "420", "458", "532"})

_ISO_DATE_PATTERN = re.compile(r"(\d{4}-\d{2}-\d{2}|\d{8})(?:T[\d:.]+)?(?:Z|[+-]\d{2}:\d{2})?")

# Searched in this order: XRechnung and Peppol comply with EN 16931 and name it, too.
_PROFILE_BY_ID_PART = (
    ("xrechnung", "xrechnung"), ("peppol", "peppol"), ("basicwl", "basic_wl"), ("basic-wl", "basic_wl"),
    ("minimum", "minimum"), ("extended", "extended"), ("comfort", "comfort"), ("komfort", "comfort"),
    ("basic", "basic"), ("urn:cen.eu:en16931", "en16931"),
)  # fmt: skip


def normalise_iso_date(value: str) -> str:
    """Return the day of an ISO 8601 date or date-time, without its zone; any other value unchanged."""
    match = _ISO_DATE_PATTERN.fullmatch(value)
    if not match:
        return value
    try:
        return dt.date.fromisoformat(match.group(1)).isoformat()
    except ValueError:
        return value


def classify_type_code(type_code: str | None) -> str:
    """Return ``credit_note`` or ``invoice`` for a type code (BT-3)."""
    return "credit_note" if type_code in CREDIT_NOTE_CODES else "invoice"


def classify_profile(specification: str | None) -> str:
    """Return the profile that a specification identifier (BT-24) names: ``en16931``, ``xrechnung``, …, or ``other``."""
    folded_id = (specification or "").casefold()
    return next((profile for id_part, profile in _PROFILE_BY_ID_PART if id_part in folded_id), "other")


def find_single_distinct_value(values: list[str]) -> str | None:
    """Return the value if all are the same, None if they differ or there are none."""
    return values[0] if len(set(values)) == 1 else None
