"""IBANs and amounts on the page of a PDF."""

from __future__ import annotations

import pytest

from invoices.documents.pdf.xml_page_comparison import build_amount_pattern, is_valid_iban


@pytest.mark.parametrize("iban", ["DE89370400440532013000", "NO9386011117947", "MT84MALT011000012345MTLCAST001S"])
def test_a_valid_iban_is_valid(iban: str) -> None:
    assert is_valid_iban(iban)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "DE89370400440532013001",  # check digits
        "DE72370400440532013",  # a length that Germany does not have
        "XX62370400440532013000",  # no such country
        "DE89 3704 0044 0532 0130 00",  # separators
    ],
)
def test_other_texts_are_not_valid_ibans(text: str) -> None:
    assert not is_valid_iban(text)


@pytest.mark.parametrize("written", ["1250.50", "1.250,5", "1 250,50", "1'250.50"])
def test_an_amount_is_found_in_any_notation(written: str) -> None:
    assert build_amount_pattern("01250.5").search(f"Total {written} EUR")


@pytest.mark.parametrize("written", ["12500.50", "1250.05", "250.50"])
def test_another_amount_is_not_found(written: str) -> None:
    assert not build_amount_pattern("1250.50").search(written)
