"""Answers of the extraction APIs whose amounts are changed on their way: in dialects, odd, or off by some cents."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from tests.e2e.extraction_app import WaitingDocument
from tests.odd_amounts import BLANKS, DIALECTS, MISSING, ODD_JSON_VALUES, SHIFTS
from tests.servers.scripted_http_server import Reply, Response

NET, TAX, TOTAL, DISCOUNT = Decimal("1250000.50"), Decimal("237500.10"), Decimal("1487500.60"), Decimal("20.00")
LINE_NETS = (Decimal("1000000.50"), Decimal("250000.00"))
VENDORS_THAT_CONFIRM_TOTALS = ("billflowai", "invoicedataextraction_com")
"""The total of smartbills.com is confirmed by nothing, so no answer of it is accepted without a person."""
AMOUNTS: Mapping[str, Mapping[str, Decimal]] = {
    "smartbills_com": {"total_amount": TOTAL},
    "invoicedataextraction_com": {"Net amount": NET, "Tax amount": TAX, "Total amount": TOTAL},
    "billflowai": {"subtotal": NET + DISCOUNT, "discount": DISCOUNT, "tax": TAX, "total": TOTAL},
}
LINE_AMOUNT_NAMES = {
    "smartbills_com": "amount", "invoicedataextraction_com": "Line net amount", "billflowai": "line_total",
}  # fmt: skip
WriteAmount = Callable[[Decimal], str]


def write_json_number(amount: Decimal) -> str:
    """Return the amount as a JSON number."""
    return str(amount)


@dataclass(frozen=True, slots=True)
class AnswerCase:
    """What a vendor answers to one document.

    ``raw_values`` replaces amounts by JSON text: of the invoice, or of its first line.
    """

    vendor: str
    storm: str
    name: str
    has_lines: bool
    is_sound: bool
    write_amount: WriteAmount = write_json_number
    raw_values: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.vendor}, {self.storm}, {self.name}, {'with' if self.has_lines else 'without'} lines"

    @property
    def may_be_accepted(self) -> bool:
        """Whether the answer has to be accepted."""
        return self.is_sound and self.vendor in VENDORS_THAT_CONFIRM_TOTALS

    def list_header_values(self) -> dict[str, str]:
        """Return the amounts of the invoice by name, as JSON text."""
        values = {name: self.write_amount(amount) for name, amount in AMOUNTS[self.vendor].items()}
        return {name: self.raw_values.get(name, value) for name, value in values.items()}

    def list_line_values(self) -> list[str]:
        """Return the amounts of the lines, as JSON text."""
        if not self.has_lines:
            return []
        values = [self.write_amount(amount) for amount in LINE_NETS]
        return [self.raw_values.get(LINE_AMOUNT_NAMES[self.vendor], values[0]), values[1]]


def generate_dialect_cases(vendor: str) -> Iterator[AnswerCase]:
    """Yield sound answers: as JSON numbers, and as strings in each dialect."""

    def write_in(write_dialect: Callable[[str], str]) -> WriteAmount:
        return lambda amount: json.dumps(write_dialect(f"{amount:,}"))

    for has_lines in (True, False):
        sound = AnswerCase(vendor, "dialects", "numbers", has_lines, is_sound=True)
        yield sound
        for name, write_dialect in DIALECTS.items():
            yield replace(sound, name=name, write_amount=write_in(write_dialect))


def generate_odd_cases(vendor: str) -> Iterator[AnswerCase]:
    """Yield answers in which one amount is odd, blank or missing."""
    for value, has_lines in itertools.product((*ODD_JSON_VALUES, *BLANKS, MISSING), (True, False)):
        for name in (*AMOUNTS[vendor], *((LINE_AMOUNT_NAMES[vendor],) if has_lines else ())):
            yield AnswerCase(
                vendor, "odd", f"{name} {value}", has_lines, is_sound=False, raw_values={name: value}
            )  # fmt: skip


def generate_shifted_cases(vendor: str) -> Iterator[AnswerCase]:
    """Yield answers in which one amount of the invoice is off by 0.01 to 1.00."""
    for shift, has_lines, (name, amount) in itertools.product(SHIFTS, (True, False), AMOUNTS[vendor].items()):
        yield AnswerCase(
            vendor, "shifted", f"{name} {shift:+}", has_lines, is_sound=False, raw_values={name: str(amount + shift)}
        )


class AnswerShaper:
    """Gives each document's answer the amounts of its case, on its way from the sandbox to the client."""

    def __init__(self) -> None:
        self._cases_by_number: dict[str, AnswerCase] = {}

    def add_case(self, document: WaitingDocument, case: AnswerCase) -> None:
        """Remember the case of a document, under the numbers that the sandbox's vendors give to its invoice."""
        self._cases_by_number[f"S-{document.sha256[:16].upper()}"] = case
        self._cases_by_number[f"S-{document.sha256[:12]}"] = case

    def alter_response(self, response: Response) -> Reply:
        """Return the response with the amounts of the cases; one without an invoice is unchanged."""
        body = json.loads(response.body)
        raw_texts: list[str] = []
        if "rows" in body:
            self._shape_rows(body, raw_texts)
        elif isinstance(body.get("extracted_data"), dict):
            self._shape_object(body["extracted_data"], raw_texts)
        elif "invoice_number" in body:
            self._shape_object(body, raw_texts)
        text = json.dumps(body, ensure_ascii=False)
        for index, raw_text in enumerate(raw_texts):
            text = text.replace(f'"RAW {index}"', raw_text)
        return replace(response, body=text.encode())

    def _shape_object(self, answer: dict[str, Any], raw_texts: list[str]) -> None:
        case = self._cases_by_number[answer["invoice_number"]]
        _put_values(answer, case.list_header_values(), raw_texts)
        items: list[dict[str, Any]] = [{"description": "Service", "quantity": 1} for _ in case.list_line_values()]
        for item, value in zip(items, case.list_line_values(), strict=True):
            _put_values(item, {LINE_AMOUNT_NAMES[case.vendor]: value}, raw_texts)
        answer["line_items" if case.vendor == "smartbills_com" else "items"] = items

    def _shape_rows(self, body: dict[str, Any], raw_texts: list[str]) -> None:
        rows_by_number: dict[str, list[dict[str, Any]]] = {}
        for row in body["rows"]:
            rows_by_number.setdefault(row["Invoice number"], []).append(row)
        shaped_rows: list[dict[str, Any]] = []
        for number, rows in rows_by_number.items():
            case = self._cases_by_number[number]
            for row, value in zip(rows, case.list_line_values() or ("null",), strict=False):
                rate = 19 if case.has_lines else None
                row |= {"Line unit price": None, "Line quantity": None, "Line tax rate": rate}
                row["Line description"] = row["Line description"] if case.has_lines else None
                _put_values(row, {**case.list_header_values(), "Line net amount": value}, raw_texts)
                shaped_rows.append(row)
        body |= {"rows": shaped_rows, "row_count": len(shaped_rows), "total_rows": len(shaped_rows)}


def _put_values(fields: dict[str, Any], values: Mapping[str, str], raw_texts: list[str]) -> None:
    """Set the fields to placeholders for JSON texts, and add the texts to ``raw_texts``."""
    for name, raw_text in values.items():
        fields.pop(name, None)
        if raw_text != MISSING:
            fields[name] = f"RAW {len(raw_texts)}"
            raw_texts.append(raw_text)
