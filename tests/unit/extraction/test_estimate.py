"""The minimum duration of a run under the rate limits of a plan."""

from __future__ import annotations

import pytest

from invoices.extraction.estimate import estimate_minutes
from invoices.settings import (
    BillflowAiSettings,
    InvoiceDataExtractionComSettings,
    PaidExtractorSettings,
    SmartBillsComSettings,
)


@pytest.mark.parametrize(
    ("vendor_settings", "document_count", "expected_minutes"),
    [
        (SmartBillsComSettings(plan="free"), 0, 0),
        (SmartBillsComSettings(plan="free"), 5, 1),  # ten calls: one minute
        (SmartBillsComSettings(plan="free"), 6, 2),
        (SmartBillsComSettings(plan="free"), 50, 10),  # a hundred calls: the limit of an hour
        (SmartBillsComSettings(plan="free"), 51, 61),  # the next call is in the next hour
        (SmartBillsComSettings(plan="enterprise"), 500, 1),
        (SmartBillsComSettings(plan="enterprise"), 5_001, 61),
        (InvoiceDataExtractionComSettings(), 299, 1),  # two calls each, and two sessions
        (InvoiceDataExtractionComSettings(), 300, 2),
        (BillflowAiSettings(requests_per_minute=60), 61, 2),
    ],
)
def test_the_estimate_is_the_minute_of_the_last_call_that_the_limits_allow(
    vendor_settings: PaidExtractorSettings, document_count: int, expected_minutes: int
) -> None:
    assert estimate_minutes(vendor_settings, document_count) == expected_minutes
