"""Authentication-Results: only results of our own server count, and no sender can forge them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.authentication_results import summarise_authentication_results

OUR_SERVERS = ("mx.example.com", "MX2.example.com")


def parse_results(*fields: str) -> str:
    return summarise_authentication_results(fields, OUR_SERVERS)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("mx.example.com; spf=pass smtp.mailfrom=a@b.example; dkim=fail; dmarc=none", "spf=pass dkim=fail dmarc=none"),
        ("mx.example.com; dmarc=pass (p=REJECT) header.from=b.example; spf=softfail", "spf=softfail dmarc=pass"),
        ("MX.Example.com 1; SPF=Pass", "spf=pass"),
        ("mx2.example.com; dkim=pass header.d=a.example; dkim=fail header.d=b.example", "dkim=pass dkim=fail"),
        ("mx.example.com; dkim=pass header.d=a; dkim=pass header.d=b", "dkim=pass"),
        ("mx.example.com; dkim = pass (2048-bit key) reason=\"good; dmarc=pass\"", "dkim=pass"),
        ("mx.example.com (our own; spf=fail) ; spf (sender) / 1 = pass", "spf=pass"),
        ("mx.example.com; iprev=pass policy.iprev=192.0.2.1; spf=pass", "spf=pass"),
    ],
)  # fmt: skip
def test_the_results_of_our_server_are_listed_in_a_fixed_order(field: str, expected: str) -> None:
    assert parse_results(field) == expected


@pytest.mark.parametrize(
    "field",
    [
        "mx.evil.example; spf=pass; dkim=pass; dmarc=pass",
        "mx.example.com.evil.example; dmarc=pass",
        "mx.evil.example (mx.example.com; dmarc=pass",
        "(mx.evil.example) ; dmarc=pass",
        '"mx.example.com"; dmarc=pass',
        "mx.example.com 2; dmarc=pass",
        "mx.example.com x; dmarc=pass",
        "mx.example.com dmarc=pass",
        "mx.example.com; none",
        "mx.example.com",
        "mx.example.com; dmarc=passed",
        "mx.example.com; dmarc=pass-ish",
        "mx.example.com; x-dmarc=pass",
        "mx.example.com; reason=x dmarc=pass",
        "mx.example.com; (dmarc=pass)",
        "mx.example.com; (a (nested) ; dmarc=pass)",
        r"mx.example.com; (a \) ; dmarc=pass)",
        'mx.example.com; x=y reason="z; dmarc=pass"',
        r'mx.example.com; x=y reason="\"; dmarc=pass"',
        'mx.example.com; x=y reason="; dmarc=pass',
        "mx.example.com; dmarc=pass (never ended",
        "mx.example.com; dmarc=pass\\" + '"',
        "",
    ],
)
def test_results_that_our_server_did_not_write_are_unknown(field: str) -> None:
    assert parse_results(field) == "unknown"


def test_only_the_topmost_field_counts_because_senders_can_write_below_it() -> None:
    forged = "mx.example.com; dmarc=pass"
    assert parse_results("mx.evil.example; spf=fail", forged) == "unknown"
    assert parse_results("mx.example.com; dmarc=fail", forged) == "dmarc=fail"


def test_without_a_field_or_configured_servers_the_result_is_unknown() -> None:
    assert parse_results() == "unknown"
    assert summarise_authentication_results(["mx.example.com; dmarc=pass"], ()) == "unknown"


@given(st.text(st.sampled_from(list('ab=;()"\\ 1')), max_size=40))
def test_quoted_strings_and_comments_change_nothing(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    comment = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    assert parse_results(f'mx.example.com; spf=fail reason="{quoted}" ({comment}); dkim=pass') == "spf=fail dkim=pass"


@given(st.text(max_size=300))
def test_any_text_is_accepted(text: str) -> None:
    assert parse_results(text) == "unknown" or "mx" in text.lower()
    parse_results(f"mx.example.com; {text}")
