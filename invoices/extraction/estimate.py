"""What asking would take: how many calls, and how many minutes the limits of a plan allow them in."""

from __future__ import annotations

from collections.abc import Sequence

from invoices.extraction import invoicedataextraction_com, smartbills_com
from invoices.extraction.patience.budget import Window
from invoices.settings import BillflowAi, InvoiceDataExtractionCom, PaidExtractor, SmartBillsCom


def minutes(part: PaidExtractor, documents: int) -> int:
    """Return how many of the vendor's minutes its limits want for so many documents; its own work is not counted."""
    match part:
        case SmartBillsCom():
            return _minutes(2 * documents, smartbills_com.PLANS[part.plan])
        case InvoiceDataExtractionCom():
            calls = 2 * documents + -(-documents // part.batch_documents)
            return _minutes(calls, invoicedataextraction_com.windows("upload"))
        case BillflowAi():
            return _minutes(documents, (Window(part.requests_per_minute, 60),))
    raise TypeError(type(part).__name__)


def _minutes(calls: int, windows: Sequence[Window]) -> int:
    """Return the minutes until the last of the calls may be made, and one for it; windows are from short to long."""
    if calls == 0:
        return 0
    *shorter, longest = windows
    full, rest = divmod(calls - 1, longest.calls)
    before = full * longest.seconds / 60
    return round(before + (_minutes(rest + 1, shorter) if shorter else 1))
