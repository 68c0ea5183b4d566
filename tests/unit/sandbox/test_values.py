"""Single parts of the sandbox: exact JSON, settings, rate limits, API keys, receipt validation, sample invoices."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sandbox
from sandbox.exact_json import JsonError, parse_json, render_json
from sandbox.limits import TokenBucketRateLimiter
from sandbox.request_context import find_bearer_key
from sandbox.sample_data.companies import OWN_COMPANY, TOOL_SUPPLIER, build_iban
from sandbox.sample_data.documents import Adjustment, InvoiceLine, SampleInvoice
from sandbox.settings import SETTING_DEFINITIONS, SandboxSettings, SettingError
from sandbox.smartbills_com.app import format_reset_time
from sandbox.smartbills_com.sample_answers import find_file_extension
from sandbox.smartbills_io.receipt_validation import (
    MONEY_PROPERTIES,
    validate_receipt_creation,
    validate_receipt_update,
)

AMOUNTS = st.decimals("0.01", "99999.99", places=2)
RATES = st.sampled_from([Decimal(0), Decimal(7), Decimal(19), Decimal("8.1")])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.decimals(-(10**9), 10**9, places=4),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_json_survives_a_round_trip_exactly(value: object) -> None:
    assert parse_json(render_json(value).encode()) == value


@pytest.mark.parametrize(
    "text", [b"", b"{", b"NaN", b'{"a": Infinity}', b"\xff", b"[" * 100_000, b"1e999999", b"9" * 300]
)
def test_invalid_or_unbounded_json_is_refused(text: bytes) -> None:
    with pytest.raises(JsonError):
        parse_json(text)


def test_json_keeps_every_digit_of_an_amount() -> None:
    assert render_json({"total": Decimal("1250.00")}) == '{"total":1250.00}'
    assert render_json(parse_json(b"0.30")) == "0.30"


def test_a_setting_of_one_key_does_not_affect_other_keys() -> None:
    settings = SandboxSettings()
    settings.set_values({"smartbills_com.plan": "pro"}, "sk_test_a")
    assert settings.get_value("smartbills_com.plan", "sk_test_a") == "pro"
    assert settings.get_value("smartbills_com.plan", "sk_test_b") == "free"


def test_a_counting_setting_applies_as_often_as_it_was_set() -> None:
    settings = SandboxSettings({"smartbills_io.lost_response": "2"})
    assert [settings.consume_fault("smartbills_io.lost_response", "sk_test_a") for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("smartbills_com.nothing", 1), ("smartbills_com.plan", "huge"), ("smartbills_com.post_lost_response", -1),
        ("smartbills_com.processing_seconds", "nan"), ("smartbills_io.require_tenant", "perhaps"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_together_with_all_others_of_the_call(name: str, value: object) -> None:
    settings = SandboxSettings()
    with pytest.raises(SettingError, match=name):
        settings.set_values({"smartbills_com.envelope": "wrapped", name: value})
    assert settings.get_value("smartbills_com.envelope", None) == "bare"


def test_every_default_is_a_value_its_setting_accepts() -> None:
    defaults = {
        name: definition.default for name, definition in SETTING_DEFINITIONS.items() if definition.default is not None
    }  # None: no default
    settings = SandboxSettings(defaults)
    assert all(settings.get_value(name, None) == default for name, default in defaults.items())


def test_a_token_bucket_of_a_thousand_refills_a_hundred_at_a_time() -> None:
    buckets = TokenBucketRateLimiter(minute_seconds=6.0)
    assert all(buckets.take_token_or_compute_wait("sk_test_a", "token_bucket", 100.0) is None for _ in range(1_000))
    assert buckets.take_token_or_compute_wait("sk_test_a", "token_bucket", 100.1) == pytest.approx(0.4)
    assert buckets.take_token_or_compute_wait("sk_test_b", "token_bucket", 100.1) is None
    assert [buckets.take_token_or_compute_wait("sk_test_a", "token_bucket", 100.5) for _ in range(101)].count(
        None
    ) == 100


def test_a_leaky_bucket_gives_a_hundred_a_minute() -> None:
    buckets = TokenBucketRateLimiter(minute_seconds=60.0)
    assert [buckets.take_token_or_compute_wait("sk_test_a", "leaky_bucket", 0.0) for _ in range(101)].count(None) == 100
    assert buckets.take_token_or_compute_wait("sk_test_a", "leaky_bucket", 0.7) is None


@pytest.mark.parametrize(
    ("encoding", "header_value"),
    [
        ("epoch_seconds", "1767225601"), ("epoch_ms", "1767225600250"), ("iso8601", "2026-01-01T00:00:01Z"),
        ("http_date", "Thu, 01 Jan 2026 00:00:01 GMT"),
    ],
)  # fmt: skip
def test_the_reset_time_is_never_too_early(encoding: str, header_value: str) -> None:
    assert format_reset_time(1767225600.25, encoding) == header_value


@pytest.mark.parametrize(
    "header", [None, "", "sk_test_a", "Basic sk_test_a", "Bearer sk_live_a", "Bearer sk_test_" + "a" * 300]
)
def test_a_key_that_is_not_of_the_sandbox_is_ignored(header: str | None) -> None:
    assert find_bearer_key(header) is None


def test_file_types_are_recognised_by_the_first_bytes() -> None:
    beginnings = (b"%PDF-1.7", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"<Invoice/>", b"")
    assert [find_file_extension(beginning) for beginning in beginnings] == ["pdf", "jpg", "png", None, None]


def build_receipt(**changes: object) -> dict[str, object]:
    """Return a minimal valid ReceiptCreateRequest, changed."""
    zero_amount = {"amount": 0, "currency": "EUR"}
    return {**dict.fromkeys(MONEY_PROPERTIES, zero_amount), "type": "OFFICIAL", "taxesIncluded": False, **changes}


def test_each_of_the_eleven_required_properties_is_reported_when_missing() -> None:
    assert validate_receipt_creation(build_receipt(), is_business_route=False) == []
    for name in (*MONEY_PROPERTIES, "type", "taxesIncluded"):
        body = build_receipt()
        del body[name]
        faults = validate_receipt_creation(body, is_business_route=False)
        assert [(fault["field"], fault["code"]) for fault in faults] == [(name, "MISSING_REQUIRED_FIELD")]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"total": 12}, "INVALID_AMOUNT"), ({"total": {"amount": "12", "currency": "EUR"}}, "INVALID_AMOUNT"),
        ({"total": {"amount": 12, "currency": "euro"}}, "INVALID_CURRENCY"), ({"date": "yesterday"}, "INVALID_DATE"),
        ({"receiptId": 7}, "INVALID_PARAMETER"), ({"items": [[]]}, "INVALID_PARAMETER"),
        ({"items": [{"price": 3}]}, "INVALID_AMOUNT"), ({"taxesIncluded": "no"}, "INVALID_PARAMETER"),
    ],
)  # fmt: skip
def test_a_wrong_type_is_reported_with_its_code(change: dict[str, object], code: str) -> None:
    assert [fault["code"] for fault in validate_receipt_creation(build_receipt(**change), is_business_route=False)] == [
        code
    ]


@pytest.mark.parametrize("body", [None, [], "text", 3])
def test_a_body_that_is_not_an_object_is_refused(body: object) -> None:
    assert validate_receipt_creation(body, is_business_route=True)
    assert validate_receipt_update(body)


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS, RATES), min_size=1, max_size=8), AMOUNTS)
def test_a_sample_invoice_computes_its_sums_as_the_standard_requires(
    rows: list[tuple[Decimal, Decimal, Decimal]], charge: Decimal
) -> None:
    lines = tuple(
        InvoiceLine(f"item {n}", quantity, price, rate=rate) for n, (quantity, price, rate) in enumerate(rows)
    )
    freight = Adjustment(charge, "Freight", is_charge=True, rate=rows[0][2])
    document = SampleInvoice(
        "1",
        dt.date(2026, 1, 1),
        TOOL_SUPPLIER,
        OWN_COMPANY,
        lines,
        adjustments=(freight,),
        prepaid_amount=Decimal("1.00"),
    )
    assert document.line_sum == sum(document.compute_line_net(line) for line in lines)
    assert document.net == document.line_sum + charge == sum(part.taxable for part in document.tax_breakdowns)
    assert document.tax == sum(part.tax for part in document.tax_breakdowns)
    assert document.payable == document.net + document.tax - 1
    assert all(abs(part.taxable * part.rate / 100 - part.tax) <= Decimal("0.005") for part in document.tax_breakdowns)


def test_an_iban_has_its_check_digits() -> None:
    valid_iban = build_iban("GB", "WEST12345698765432")
    assert valid_iban == "GB82WEST12345698765432"


@pytest.mark.parametrize("name", SETTING_DEFINITIONS)
def test_every_setting_has_its_row_in_the_readme(name: str) -> None:
    vendor_name, _, setting_name = name.partition(".")
    readme = Path(sandbox.__file__).with_name("README.md").read_text(encoding="utf-8")
    section_text = readme.split(f"(`{vendor_name}`)")[1].split("\n## ")[0]
    assert f"| `{setting_name}` |" in section_text
