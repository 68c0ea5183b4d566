"""How long the limits of a plan make a run take, at least."""

from __future__ import annotations

import pytest

from invoices.extraction.estimate import minutes
from invoices.settings import BillflowAi, InvoiceDataExtractionCom, PaidExtractor, SmartBillsCom


@pytest.mark.parametrize(
    ("part", "documents", "expected"),
    [
        (SmartBillsCom(plan="free"), 0, 0),
        (SmartBillsCom(plan="free"), 5, 1),  # ten calls: one minute's
        (SmartBillsCom(plan="free"), 6, 2),
        (SmartBillsCom(plan="free"), 50, 10),  # a hundred calls: one hour's
        (SmartBillsCom(plan="free"), 51, 61),  # the next call is in the next hour
        (SmartBillsCom(plan="enterprise"), 500, 1),
        (SmartBillsCom(plan="enterprise"), 5_001, 61),
        (InvoiceDataExtractionCom(), 299, 1),  # two calls each, and two sessions
        (InvoiceDataExtractionCom(), 300, 2),
        (BillflowAi(requests_per_minute=60), 61, 2),
    ],
)
def test_the_last_call_is_made_in_the_minute_that_the_limits_allow(
    part: PaidExtractor, documents: int, expected: int
) -> None:
    assert minutes(part, documents) == expected
