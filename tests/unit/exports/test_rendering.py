"""Rendering a batch: signs, order, formula safety, real types, and control totals that equal the rows."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import random
import zipfile
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoices.errors import ConfigurationError, DocumentError
from invoices.exports import BatchHeader
from invoices.exports.cells import remove_control_characters, restore_sanitised_formulas
from invoices.exports.tables import BILL_COLUMNS, BILL_TABLE
from invoices.exports.workbook import TRUNCATION_MARK, Sheet, WorkbookWriter
from invoices.model import Invoice, Line, Party, Tax
from tests.export_fixtures import render_batch_files

BATCH = BatchHeader("batch-000007", dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC))
FORMULA_PAYLOADS = [
    "=1+1",
    "+1",
    "-1+cmd|' /C calc'!A0",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "http://example.org",
    "00123",
]

amounts = st.decimals(min_value=Decimal("-1e14"), max_value=Decimal("1e14"), places=4)
optional_amounts = amounts | st.none()
texts = st.text(max_size=8) | st.sampled_from(FORMULA_PAYLOADS)
rates = st.sampled_from([Decimal("19"), Decimal("19.0000"), Decimal("7.7"), Decimal(0), None])
lines = st.builds(
    Line, st.integers(1, 9), texts, optional_amounts, texts, optional_amounts, optional_amounts, rates, optional_amounts
)
taxes = st.builds(Tax, st.sampled_from(["S", "AE", None]), rates, optional_amounts, optional_amounts)
invoices = st.builds(
    Invoice,
    invoice_id=st.uuids().map(str),
    document_sha256=st.just("d" * 64),
    ordinal=st.just(1),
    kind=st.sampled_from(["invoice", "credit_note", "receipt"]),
    direction=st.sampled_from(["expense", "revenue"]),
    invoice_number=texts,
    issued_on=st.dates(),
    currency=st.sampled_from(["EUR", "JPY", "KWD"]),
    total_amount=amounts,
    supplier=st.builds(Party, texts | st.none()),
    net_amount=optional_amounts,
    tax_amount=optional_amounts,
    payable_amount=optional_amounts,
    lines=st.lists(lines, max_size=3).map(tuple),
    taxes=st.lists(taxes, max_size=3).map(tuple),
)
batches = st.lists(invoices, max_size=6, unique_by=lambda invoice: invoice.invoice_id)


def build_bill(**changes: Any) -> Invoice:
    """Return an ordinary bill with ``changes``."""
    default_invoice = Invoice(
        invoice_id="i1",
        document_sha256="d" * 64,
        ordinal=1,
        kind="invoice",
        direction="expense",
        invoice_number="00123",
        issued_on=dt.date(2026, 1, 31),
        currency="EUR",
        total_amount=Decimal("119.0000"),
        supplier=Party("Müller GmbH", "DE123456789", "DE", "DE02120300000000202051"),
        net_amount=Decimal("100.0000"),
        tax_amount=Decimal("19.0000"),
        payable_amount=Decimal("119.0000"),
        lines=(Line(1, "Paper", Decimal("2"), "C62", Decimal("50"), Decimal("100"), Decimal("19"), Decimal("19")),),
        taxes=(Tax("S", Decimal("19"), Decimal("100"), Decimal("19")),),
    )
    return replace(default_invoice, **changes)


def read_csv_rows(files: dict[str, bytes], name: str = "bills.csv") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files[name].decode("utf-8-sig"), newline=""), strict=True))


def read_sheet_rows(files: dict[str, bytes], name: str) -> list[dict[str, Any]]:
    book = openpyxl.load_workbook(io.BytesIO(files["bills.xlsx"]))
    header, *body = book[name].iter_rows(values_only=True)
    return [dict(zip(header, row, strict=True)) for row in body]


def to_decimal(cell: Any) -> Decimal:
    return Decimal(0) if cell in (None, "") else Decimal(str(cell))


def test_a_batch_is_three_csv_files_a_workbook_and_a_manifest() -> None:
    assert list(render_batch_files(BATCH, [build_bill()])) == [
        "bills.csv",
        "bill_lines.csv",
        "tax_lines.csv",
        "bills.xlsx",
        "manifest.json",
    ]


def test_csv_files_are_utf8_with_crlf_and_by_default_a_byte_order_mark() -> None:
    marked, plain = (
        render_batch_files(BATCH, [build_bill()]),
        render_batch_files(BATCH, [build_bill()], byte_order_mark=False),
    )
    assert marked["bills.csv"] == b"\xef\xbb\xbf" + plain["bills.csv"]
    assert "Müller".encode() in plain["bills.csv"]
    assert plain["bills.csv"].count(b"\n") == plain["bills.csv"].count(b"\r\n") == 2


@pytest.mark.parametrize("name", ["bills.csv", "bill_lines.csv", "tax_lines.csv"])
def test_every_row_names_its_batch_invoice_and_document(name: str) -> None:
    [row] = read_csv_rows(render_batch_files(BATCH, [build_bill()]), name)
    assert (row["batch_id"], row["invoice_id"], row["document_sha256"]) == ("batch-000007", "i1", "d" * 64)


def test_a_credit_note_is_booked_negative_in_every_amount() -> None:
    files = render_batch_files(BATCH, [build_bill(kind="credit_note")])
    [booked], [line], [tax] = (
        read_csv_rows(files),
        read_csv_rows(files, "bill_lines.csv"),
        read_csv_rows(files, "tax_lines.csv"),
    )
    assert (booked["kind"], booked["total_amount"], booked["net_amount"]) == ("credit_note", "-119.00", "-100.00")
    assert (line["quantity"], line["unit_price_amount"], line["net_amount"]) == ("2", "-50.00", "-100.00")
    assert (tax["tax_rate"], tax["taxable_amount"], tax["tax_amount"]) == ("19", "-100.00", "-19.00")
    assert json.loads(files["manifest.json"])["sign"] == "credit notes negative"


def test_a_credit_note_with_a_negative_total_is_counted_in_the_manifest() -> None:
    files = render_batch_files(BATCH, [build_bill(kind="credit_note", total_amount=Decimal(-5))])
    assert json.loads(files["manifest.json"])["notices"]["credit_notes_stated_negative"] == 1


@pytest.mark.parametrize(("currency", "text"), [("EUR", "12.00"), ("JPY", "12"), ("KWD", "12.000"), ("???", "12.00")])
def test_amounts_have_at_least_the_minor_digits_of_their_currency(currency: str, text: str) -> None:
    assert (
        read_csv_rows(render_batch_files(BATCH, [build_bill(currency=currency, total_amount=Decimal("12"))]))[0][
            "total_amount"
        ]
        == text
    )


def test_an_amount_finer_than_the_currency_is_not_rounded() -> None:
    files = render_batch_files(BATCH, [build_bill(total_amount=Decimal("0.125"))])
    assert read_csv_rows(files)[0]["total_amount"] == "0.125"
    assert read_sheet_rows(files, "Bills")[0]["total_amount"] == 0.125


def test_a_missing_amount_is_an_empty_cell_and_counted_in_the_totals() -> None:
    files = render_batch_files(BATCH, [build_bill(net_amount=None), build_bill(invoice_id="i2")])
    assert [row["net_amount"] for row in read_csv_rows(files)] == ["", "100.00"]
    [total] = json.loads(files["manifest.json"])["totals"]
    assert (total["net_amount"], total["missing"]) == ("100.00", {"net_amount": 1})
    assert read_sheet_rows(files, "Bills")[0]["net_amount"] is None


@pytest.mark.parametrize("payload", FORMULA_PAYLOADS)
def test_no_text_becomes_a_formula_or_a_link(payload: str) -> None:
    hostile = build_bill(
        invoice_number=payload, supplier=Party(payload, payload), lines=(Line(1, payload, unit=payload),)
    )
    files = render_batch_files(BATCH, [hostile])
    assert read_csv_rows(files)[0]["supplier_name"][:1] not in "=+-@\t\r\n＝"
    assert restore_sanitised_formulas(read_csv_rows(files)[0]["supplier_name"]) == remove_control_characters(payload)
    assert read_sheet_rows(files, "Bills")[0]["invoice_number"] == remove_control_characters(payload)
    with zipfile.ZipFile(io.BytesIO(files["bills.xlsx"])) as book:
        parts = b"".join(book.read(name) for name in book.namelist())
    assert b"<f>" not in parts
    assert b"<f " not in parts
    assert b"hyperlink" not in parts


def test_negative_numbers_stay_numbers_in_the_csv_file() -> None:
    assert (
        read_csv_rows(render_batch_files(BATCH, [build_bill(total_amount=Decimal(-1))]))[0]["total_amount"] == "-1.00"
    )


def test_the_workbook_has_real_dates_numbers_and_text() -> None:
    files = render_batch_files(BATCH, [build_bill()])
    [row] = read_sheet_rows(files, "Bills")
    assert row["issued_on"] == dt.datetime(2026, 1, 31)  # noqa: DTZ001 - a cell has no time zone
    assert (row["invoice_number"], row["total_amount"]) == ("00123", 119)
    sheet = openpyxl.load_workbook(io.BytesIO(files["bills.xlsx"]))["Bills"]
    number_formats = {sheet.cell(1, column).value: sheet.cell(2, column).number_format for column in range(1, 25)}
    assert (number_formats["total_amount"], number_formats["issued_on"], number_formats["invoice_number"]) == (
        "#,##0.00",
        "yyyy-mm-dd",
        "@",
    )


@pytest.mark.parametrize(("currency", "number_format"), [("JPY", "#,##0"), ("KWD", "#,##0.000"), ("EUR", "#,##0.00")])
def test_money_in_the_workbook_shows_the_decimals_of_its_currency(currency: str, number_format: str) -> None:
    files = render_batch_files(BATCH, [build_bill(currency=currency, total_amount=Decimal("7"))])
    sheet = openpyxl.load_workbook(io.BytesIO(files["bills.xlsx"]))["Bills"]
    column = next(cell.column for cell in sheet[1] if cell.value == "total_amount")
    assert sheet.cell(2, column).number_format == number_format


def test_a_batch_of_a_rehearsal_says_so_in_manifest_sheets_and_rows_and_another_does_not() -> None:
    rehearsal_files = render_batch_files(replace(BATCH, batch_id="batch-000007-REHEARSAL"), [build_bill()])
    book = openpyxl.load_workbook(io.BytesIO(rehearsal_files["bills.xlsx"]))
    assert book.sheetnames == ["REHEARSAL Bills", "REHEARSAL Lines", "REHEARSAL Taxes", "REHEARSAL Control"]
    assert book["REHEARSAL Control"]["A2"].value == "REHEARSAL"
    assert book.properties.title == "REHEARSAL Export batch-000007-REHEARSAL"
    assert "not for the books" in json.loads(rehearsal_files["manifest.json"])["rehearsal"]
    assert all(b"-REHEARSAL," in line for line in rehearsal_files["bills.csv"].splitlines()[1:])
    for content in render_batch_files(BATCH, [build_bill()]).values():
        assert b"rehearsal" not in content.lower()


def test_the_time_of_the_batch_is_the_only_time_in_the_workbook() -> None:
    content = render_batch_files(BATCH, [build_bill()])["bills.xlsx"]
    properties = openpyxl.load_workbook(io.BytesIO(content)).properties
    assert properties.created == properties.modified == BATCH.created_at.replace(tzinfo=None)
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        assert {part.date_time for part in book.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_number_of_more_than_fifteen_digits_is_text_in_the_workbook_and_counted() -> None:
    files = render_batch_files(BATCH, [build_bill(total_amount=Decimal("12345678901234.5678"))])
    assert read_sheet_rows(files, "Bills")[0]["total_amount"] == "12345678901234.5678"
    assert json.loads(files["manifest.json"])["notices"]["numbers_as_text"] == 2  # the bill's and the control sheet's


@pytest.mark.parametrize("letter", ["x", "𝒳"])
def test_a_text_too_long_for_a_cell_is_cut_visibly_and_complete_in_the_csv_file(letter: str) -> None:
    long_text = letter * 32_768
    files = render_batch_files(BATCH, [build_bill(lines=(Line(1, long_text),))])
    description = read_sheet_rows(files, "Lines")[0]["description"]
    assert description.endswith(TRUNCATION_MARK)
    assert 32_765 <= len(description.encode("utf-16-le")) // 2 <= 32_767
    assert read_csv_rows(files, "bill_lines.csv")[0]["description"] == long_text
    assert json.loads(files["manifest.json"])["notices"]["texts_cut"] == 1


@pytest.mark.parametrize(("count", "names"), [(0, ["Bills"]), (2, ["Bills"]), (3, ["Bills", "Bills 2"])])
def test_a_table_longer_than_a_sheet_continues_in_another(tmp_path: Path, count: int, names: list[str]) -> None:
    writer = WorkbookWriter(tmp_path / "bills.xlsx", BATCH, max_sheet_rows=3)
    writer.begin_table("Bills", BILL_COLUMNS)
    for row, _ in BILL_TABLE.iter_rows(BATCH, [build_bill(invoice_id=f"i{number}") for number in range(count)]):
        writer.write_row(row)
    writer.write_sheet(Sheet("Control", BILL_COLUMNS, []))
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["bills.xlsx"]
    book = openpyxl.load_workbook(tmp_path / "bills.xlsx")
    assert book.sheetnames == [*names, "Control"]
    actual = [row[1] for name in names for row in book[name].iter_rows(min_row=2, values_only=True)]
    assert actual == [f"i{number}" for number in range(count)]


def test_a_date_that_excel_does_not_support_is_text() -> None:
    assert (
        read_sheet_rows(render_batch_files(BATCH, [build_bill(issued_on=dt.date(1899, 1, 2))]), "Bills")[0]["issued_on"]
        == "1899-01-02"
    )


def test_control_characters_are_removed_and_counted() -> None:
    files = render_batch_files(BATCH, [build_bill(supplier=Party("A\x00cme\x1b[31m"), lines=(), taxes=())])
    assert read_csv_rows(files)[0]["supplier_name"] == "Acme[31m"
    assert json.loads(files["manifest.json"])["notices"]["texts_cleaned"] == 1


def test_rows_are_ordered_by_date_supplier_number_and_id() -> None:
    ordered_invoices = [
        build_bill(invoice_id="d", issued_on=dt.date(2025, 1, 1), supplier=Party("Z")),
        build_bill(invoice_id="c", supplier=Party("A"), invoice_number="2"),
        build_bill(invoice_id="a", supplier=Party("B"), invoice_number="1"),
        build_bill(invoice_id="b", supplier=Party("B"), invoice_number="1"),
    ]
    assert [row["invoice_id"] for row in read_csv_rows(render_batch_files(BATCH, ordered_invoices[::-1]))] == [
        "d",
        "c",
        "a",
        "b",
    ]


def test_an_invoice_that_is_there_twice_is_refused() -> None:
    with pytest.raises(DocumentError, match="batch 'batch-000007' has the invoice 'i1' more than once"):
        render_batch_files(BATCH, [build_bill(), build_bill()])


@pytest.mark.parametrize("number", ["NaN", "sNaN", "Infinity", "1E+38", "1E-39"])
def test_a_number_that_cannot_be_booked_is_a_document_error(number: str) -> None:
    with pytest.raises(DocumentError, match="i1") as refused:
        render_batch_files(BATCH, [build_bill(tax_amount=Decimal(number))])
    assert refused.value.reason_code == "number_out_of_range"


@pytest.mark.parametrize("batch_id", ["", "..", "a/b", ".hidden", "a\n", "ü", "x" * 101, "a."])
def test_a_batch_id_that_cannot_name_a_folder_is_refused(batch_id: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot name a folder"):
        BatchHeader(batch_id, BATCH.created_at)


@pytest.mark.parametrize(
    "created_at",
    [dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1)))],  # noqa: DTZ001
)
def test_a_batch_time_that_is_not_utc_is_refused(created_at: dt.datetime) -> None:
    with pytest.raises(ConfigurationError, match="not UTC"):
        BatchHeader("b", created_at)


@given(batches, st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_same_invoices_in_any_order_give_the_same_bytes(batch: list[Invoice], random_order: random.Random) -> None:
    assert render_batch_files(BATCH, random_order.sample(batch, len(batch))) == render_batch_files(BATCH, batch)


@given(batches)
@settings(max_examples=60, deadline=None)
def test_control_totals_are_the_sums_of_the_rows_in_both_formats(batch: list[Invoice]) -> None:
    files = render_batch_files(BATCH, batch)
    totals = json.loads(files["manifest.json"])["totals"]
    stated = {(t["currency"], name): Decimal(t[name]) for t in totals for name in t if name.endswith("_amount")}
    for rows in (read_csv_rows(files), read_sheet_rows(files, "Bills")):
        sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for row in rows:
            for name in ("net_amount", "tax_amount", "total_amount", "payable_amount"):
                sums[row["currency"], name] += to_decimal(row[name])
        assert sums == stated
    booked = {(i.currency, i.invoice_id): i.booking_sign * i.total_amount for i in batch}
    assert {(r["currency"], r["invoice_id"]): Decimal(r["total_amount"]) for r in read_csv_rows(files)} == booked


@given(batches)
@settings(max_examples=60, deadline=None)
def test_tax_totals_are_the_sums_of_the_tax_rows_by_currency_rate_and_category(batch: list[Invoice]) -> None:
    files = render_batch_files(BATCH, batch)
    stated = {
        (t["currency"], to_decimal(t["tax_rate"]) if t["tax_rate"] else None, t["tax_category"]): (
            Decimal(t["taxable_amount"]),
            Decimal(t["tax_amount"]),
        )
        for t in json.loads(files["manifest.json"])["tax_totals"]
    }
    for rows in (read_csv_rows(files, "tax_lines.csv"), read_sheet_rows(files, "Taxes")):
        sums: dict[Any, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
        for row in rows:
            rate = None if row["tax_rate"] in (None, "") else to_decimal(row["tax_rate"])
            group = sums[row["currency"], rate, row["tax_category"] or None]
            group[0] += to_decimal(row["taxable_amount"])
            group[1] += to_decimal(row["tax_amount"])
        assert {key: tuple(value) for key, value in sums.items()} == stated


@given(batches)
@settings(max_examples=40, deadline=None)
def test_text_reads_back_from_csv_and_workbook_as_it_was_cleaned(batch: list[Invoice]) -> None:
    files = render_batch_files(BATCH, batch)
    expected = {invoice.invoice_id: remove_control_characters(invoice.invoice_number) for invoice in batch}
    assert {
        row["invoice_id"]: restore_sanitised_formulas(row["invoice_number"]) for row in read_csv_rows(files)
    } == expected
    assert {row["invoice_id"]: row["invoice_number"] or "" for row in read_sheet_rows(files, "Bills")} == expected
