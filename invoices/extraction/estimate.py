"""How long extraction would take: the number of calls, and the minutes they need under the plan's rate limits."""

from __future__ import annotations

from collections.abc import Sequence

from invoices.extraction import invoicedataextraction_com, smartbills_com
from invoices.extraction.resilience.rate_limit import RateWindow
from invoices.settings import (
    BillflowAiSettings,
    InvoiceDataExtractionComSettings,
    PaidExtractorSettings,
    SmartBillsComSettings,
)


def estimate_minutes(extractor_settings: PaidExtractorSettings, document_count: int) -> int:
    """Return the minutes that the rate limits require for ``document_count`` documents.

    The vendor's own processing time is not included.
    """
    match extractor_settings:
        case SmartBillsComSettings():
            return _estimate_minutes_for_calls(
                2 * document_count, smartbills_com.RATE_WINDOWS_BY_PLAN[extractor_settings.plan]
            )
        case InvoiceDataExtractionComSettings():
            call_count = 2 * document_count + -(-document_count // extractor_settings.batch_documents)
            return _estimate_minutes_for_calls(call_count, invoicedataextraction_com.get_rate_windows("upload"))
        case BillflowAiSettings():
            return _estimate_minutes_for_calls(
                document_count, (RateWindow(extractor_settings.requests_per_minute, 60),)
            )
    raise TypeError(type(extractor_settings).__name__)


def _estimate_minutes_for_calls(call_count: int, windows: Sequence[RateWindow]) -> int:
    """Return the minutes until the last call is allowed, plus one for it; ``windows`` are sorted from short to long."""
    if call_count == 0:
        return 0
    *shorter_windows, longest_window = windows
    full_windows, remaining_calls = divmod(call_count - 1, longest_window.calls)
    minutes_before = full_windows * longest_window.seconds / 60
    return round(
        minutes_before + (_estimate_minutes_for_calls(remaining_calls + 1, shorter_windows) if shorter_windows else 1)
    )
