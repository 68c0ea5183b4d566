"""The sample invoices: who sold what to whom in 2026, and for how much."""

from __future__ import annotations

import dataclasses
import datetime as dt
from decimal import Decimal

from sandbox.sample_data import companies
from sandbox.sample_data.documents import Adjustment, Company, InvoiceLine, SampleInvoice

D = Decimal
NET_30_DAYS = "Net 30 days"
REVERSE_CHARGE_NOTE = "Reverse charge: VAT is due from the customer"
INTRA_COMMUNITY_NOTE = "Intra-Community supply, exempt"
EXPORT_NOTE = "Export outside the EU, not subject to VAT"


def parse_day_of_2026(text: str) -> dt.date:
    """Return the day ``MM-DD`` of 2026."""
    return dt.date.fromisoformat(f"2026-{text}")


def build_line(
    name: str, quantity: str, price: str, rate: str = "19", category: str = "S", **overrides: object
) -> InvoiceLine:
    """Return an invoice line; numbers are decimal text."""
    return dataclasses.replace(InvoiceLine(name, D(quantity), D(price), category, D(rate)), **overrides)  # type: ignore[arg-type]  # mypy cannot check the overrides


def build_invoice(
    number: str, issue_day: str, due_day: str | None, seller: Company, *lines: InvoiceLine, **overrides: object
) -> SampleInvoice:
    """Return an invoice to OWN_COMPANY with the terms NET_30_DAYS."""
    invoice = SampleInvoice(
        number,
        parse_day_of_2026(issue_day),
        seller,
        companies.OWN_COMPANY,
        lines,
        due_date=parse_day_of_2026(due_day) if due_day else None,
        terms=NET_30_DAYS,
    )
    return dataclasses.replace(invoice, **overrides)  # type: ignore[arg-type]  # mypy cannot check the overrides


def build_allowance(amount: str, reason: str = "Discount", rate: str = "19", **overrides: object) -> Adjustment:
    """Return an allowance; ``is_charge=True`` makes it a charge."""
    return dataclasses.replace(Adjustment(D(amount), reason, rate=D(rate)), **overrides)  # type: ignore[arg-type]  # mypy cannot check the overrides


# Read from structured data: PDF with XML.
DRILLS = build_invoice(
    "MW-2026-0101", "01-08", "02-07", companies.TOOL_SUPPLIER,
    build_line("Cordless drill 18 V", "4", "189.90"), build_line("Drill bits, set of 25", "10", "34.50"),
)  # fmt: skip
SANDERS = build_invoice(
    "MW-2026-0102", "01-19", "02-18", companies.TOOL_SUPPLIER,
    build_line("Orbital sander", "3", "129.00", adjustments=(build_allowance("19.35", "Volume discount"),)),
    build_line("Sanding discs", "2000", "45.50", price_base_quantity=D("100")),
    order_number="PO-7001",
)  # fmt: skip
STATIONERY = build_invoice(
    "RE-26-00317", "01-30", "02-13", companies.OFFICE_SUPPLIER,
    build_line("Copy paper A4, 500 sheets", "60", "4.29"), build_line("Textbook: Bookkeeping", "5", "24.30", "7"),
    build_line("Ring binder, blue", "40", "2.15"),
)  # fmt: skip
DESKS = build_invoice(
    "RE-26-00418", "02-16", "03-18", companies.OFFICE_SUPPLIER,
    build_line("Height-adjustable desk", "6", "549.00"), build_line("Assembly", "6", "45.00", unit="HUR"),
    adjustments=(
        build_allowance("164.70", "Framework discount", percent=D("5"), basis=D("3294.00")),
        build_allowance("59.00", "Freight", is_charge=True),
    ),
)  # fmt: skip
ELECTRICITY = build_invoice(
    "SW-2026-02-8841", "02-28", "03-15", companies.POWER_UTILITY,
    build_line("Electricity, working price", "3127.5", "0.2874", unit="KWH"),
    build_line("Basic charge", "1", "18.90", unit="MON"),
    note="Consumption February 2026", delivery_date=parse_day_of_2026("02-28"),
)  # fmt: skip
ELECTRICITY_MARCH = build_invoice(
    "SW-2026-03-8841", "03-31", "04-15", companies.POWER_UTILITY,
    build_line("Electricity, working price", "2988.25", "0.2874", unit="KWH"),
    build_line("Basic charge", "1", "18.90", unit="MON"),
    prepaid_amount=D("500.00"),
)  # fmt: skip
CARDBOARD = build_invoice(
    "FA-2026-0058", "02-05", "03-07", companies.PAPER_SUPPLIER,
    build_line("Cartons ondulés 40x30x20", "800", "0.62", "0", "K"),
    build_line("Ruban adhésif", "48", "1.95", "0", "K"),
    exemption_reason=INTRA_COMMUNITY_NOTE, delivery_date=parse_day_of_2026("02-03"),
)  # fmt: skip
LABELS = build_invoice(
    "FA-2026-0091", "03-11", "04-10", companies.PAPER_SUPPLIER,
    build_line("Étiquettes thermiques", "120", "7.40", "0", "K"), exemption_reason=INTRA_COMMUNITY_NOTE,
    delivery_date=parse_day_of_2026("03-09"),
)  # fmt: skip
BRANCH_PAPER = build_invoice(
    "FA-2026-0102", "03-24", "04-23", companies.PAPER_SUPPLIER,
    build_line("Papier kraft, rouleau", "15", "22.80", "0", "K"),
    buyer=companies.OWN_BRANCH, exemption_reason=INTRA_COMMUNITY_NOTE, delivery_date=parse_day_of_2026("03-20"),
)  # fmt: skip
BEANS = build_invoice(
    "2026/117", "03-02", "03-16", companies.COFFEE_ROASTER,
    build_line("Espressobohnen, 1 kg", "24", "17.80", "10"), build_line("Entkalker", "6", "8.25", "20"),
    buyer=companies.OWN_BRANCH,
)  # fmt: skip
TRADE_FAIR = build_invoice(
    "MW-2026-0140", "04-14", "05-14", companies.TOOL_SUPPLIER,
    build_line("Rental of exhibition tools", "2", "840.00", unit="DAY"),
    build_line("Insurance, exempt", "1", "75.00", "0", "E"),
    exemption_reason="Exempt under the national VAT act", order_number="PO-7044",
)  # fmt: skip
PALLETS = build_invoice(
    "VL-600123", "04-02", None, companies.FREIGHT_FORWARDER,
    build_line("Pallet transport Rotterdam - Berlin", "14", "61.75", "0", "AE"), exemption_reason=REVERSE_CHARGE_NOTE,
    terms="30 dagen netto",
)  # fmt: skip
WAREHOUSING = build_invoice(
    "VL-600188", "05-04", "06-03", companies.FREIGHT_FORWARDER,
    build_line("Storage, pallet places", "310", "0.48", "0", "AE", unit="DAY"),
    build_line("Handling in and out", "28", "6.10", "0", "AE"), exemption_reason=REVERSE_CHARGE_NOTE,
    buyer=companies.OWN_BRANCH,
)  # fmt: skip
# Read from structured data: XML.
WINCHES = build_invoice(
    "EV-20261", "01-22", "02-21", companies.REPAIR_WORKSHOP,
    build_line("Vinsch 12 V", "2", "4890.00", "25"), build_line("Montering", "7.5", "640.00", "25", unit="HUR"),
    currency="SEK",
)  # fmt: skip
WINCHES_CREDIT = build_invoice(
    "EV-K-2026-3", "02-19", None, companies.REPAIR_WORKSHOP, build_line("Vinsch 12 V, retur", "1", "4890.00", "25"),
    currency="SEK", kind="credit_note", corrected_invoice_number="EV-20261",
)  # fmt: skip
OCEAN = build_invoice(
    "SSF/2026/0907", "03-06", "04-05", companies.SEA_FREIGHT_FORWARDER,
    build_line("Ocean freight, 40 ft", "2", "1385.00", "0", "Z"), build_line("Documentation fee", "1", "45.00", "20"),
    currency="GBP", adjustments=(build_allowance("12.50", "Fuel surcharge", "20", is_charge=True),),
)  # fmt: skip
MOVEMENTS = build_invoice(
    "UT-4471", "03-17", "04-16", companies.WATCH_PARTS_SUPPLIER,
    build_line("Quarzwerk, Kaliber 900", "150", "12.35", "0", "G"), exemption_reason=EXPORT_NOTE, currency="CHF",
)  # fmt: skip
VASES = build_invoice(
    "RS-2026-033", "04-21", "05-31", companies.CERAMICS_SUPPLIER,
    build_line("Vase, celadon", "30", "4800", "10"), build_line("Export packing", "3", "2650", "10"),
    currency="JPY",
)  # fmt: skip
POSTERS = build_invoice(
    "F26-0455", "04-28", "05-28", companies.PRINT_SHOP,
    build_line("Carteles A1, 1000 uds.", "3", "412.60", "0", "AE"), exemption_reason=REVERSE_CHARGE_NOTE,
    order_number="PO-7050",
)  # fmt: skip
LOGO_WORK = build_invoice(
    "2026-12/A", "05-12", "06-11", companies.DESIGN_STUDIO,
    build_line("Progetto grafico", "38", "55.00", "0", "AE", unit="HUR"), exemption_reason=REVERSE_CHARGE_NOTE,
    prepaid_amount=D("700.00"),
)  # fmt: skip
DRILLS_CREDIT = build_invoice(
    "MW-G-2026-0007", "02-11", None, companies.TOOL_SUPPLIER,
    build_line("Cordless drill 18 V, returned", "1", "189.90"),
    kind="credit_note", corrected_invoice_number="MW-2026-0101", terms="Offset against the next invoice",
)  # fmt: skip
DESKS_CREDIT = build_invoice(
    "RG-26-00009", "03-20", None, companies.OFFICE_SUPPLIER,
    build_line("Height-adjustable desk, returned", "1", "549.00"),
    kind="credit_note", corrected_invoice_number="RE-26-00418",
    adjustments=(build_allowance("27.45", "Framework discount", percent=D("5"), basis=D("549.00")),),
)  # fmt: skip
SALE_TO_SHOP = build_invoice(
    "BH-2026-0001", "05-20", "06-19", companies.OWN_COMPANY,
    build_line("Mixed goods, parcel 1", "12", "79.99", "0", "K"),
    build_line("Mixed goods, parcel 2", "3", "149.00", "0", "K"),
    buyer=companies.RETAIL_CUSTOMER, exemption_reason=INTRA_COMMUNITY_NOTE, delivery_date=parse_day_of_2026("05-18"),
)  # fmt: skip
SALE_AT_HOME = build_invoice(
    "BH-2026-0002", "06-03", "07-03", companies.OWN_COMPANY,
    build_line("Wholesale goods", "9", "333.33"), build_line("Books", "11", "18.69", "7"),
    buyer=companies.OFFICE_SUPPLIER,
)  # fmt: skip
TOOL_CARE = build_invoice(
    "MW-2026-0177", "06-09", "07-09", companies.TOOL_SUPPLIER,
    *(build_line(f"Inspection of tool no. {number}", "1", f"{20 + number}.{number:02d}") for number in range(1, 41)),
)  # fmt: skip
SUMMER_PAPER = build_invoice(
    "RE-26-00871", "07-07", "07-21", companies.OFFICE_SUPPLIER,
    build_line("Copy paper A4, 500 sheets", "80", "4.19"), build_line("Toner, black", "3", "118.40"),
    adjustments=(build_allowance("10.00", "Coupon"),), prepaid_amount=D("100.00"),
)  # fmt: skip
AUTUMN_BEANS = build_invoice(
    "2026/402", "09-14", "09-28", companies.COFFEE_ROASTER,
    build_line("Espressobohnen, 1 kg", "36", "17.80", "0", "K"), exemption_reason=INTRA_COMMUNITY_NOTE,
    delivery_date=parse_day_of_2026("09-11"),
)  # fmt: skip
HARBOUR = build_invoice(
    "SSF/2026/1033", "08-18", "09-17", companies.SEA_FREIGHT_FORWARDER,
    build_line("Harbour dues", "1", "218.40", "20"), build_line("Zero-rated onward freight", "1", "960.00", "0", "Z"),
    currency="GBP", prepaid_amount=D("218.40"),
)  # fmt: skip

# Only a model can read these: text pages and scans.
CLOUD_JANUARY = build_invoice(
    "PC-0000181", "01-31", "02-28", companies.CLOUD_PROVIDER,
    build_line("Compute, 744 hours", "744", "0.115", "0", "O"),
    build_line("Storage, GB-months", "512", "0.021", "0", "O"),
    currency="USD", exemption_reason="Not subject to VAT",
)  # fmt: skip
CLOUD_FEBRUARY = build_invoice(
    "PC-0000204", "02-28", "03-30", companies.CLOUD_PROVIDER,
    build_line("Compute, 672 hours", "672", "0.115", "0", "O"),
    currency="USD", exemption_reason="Not subject to VAT",
)  # fmt: skip
CLEANING = build_invoice(
    "PR-2026-19", "03-27", "04-26", companies.COFFEE_ROASTER, build_line("Machine cleaning", "2", "65.00", "20")
)
TEAPOTS = build_invoice(
    "RS-2026-041",
    "06-25",
    "07-31",
    companies.CERAMICS_SUPPLIER,
    build_line("Teapot", "12", "3900", "10"),
    currency="JPY",
)
FLYERS = build_invoice(
    "F26-0502", "05-29", "06-28", companies.PRINT_SHOP, build_line("Folletos A5", "2500", "0.08", "21")
)
REPAIR = build_invoice(
    "EV-20299",
    "06-11",
    "07-11",
    companies.REPAIR_WORKSHOP,
    build_line("Reparation", "3", "640.00", "25"),
    currency="SEK",
)
STRAPS = build_invoice(
    "UT-4502",
    "07-15",
    "08-14",
    companies.WATCH_PARTS_SUPPLIER,
    build_line("Lederband", "200", "4.85", "8.1"),
    currency="CHF",
)
COURIER = build_invoice(
    "VL-600341", "08-03", "09-02", companies.FREIGHT_FORWARDER, build_line("Courier, express", "5", "38.20", "21")
)
SKETCHES = build_invoice(
    "2026-31/A", "09-01", "10-01", companies.DESIGN_STUDIO, build_line("Bozzetti", "4", "120.00", "22")
)
CRANE = build_invoice(
    "SSF/2026/1120",
    "09-22",
    "10-22",
    companies.SEA_FREIGHT_FORWARDER,
    build_line("Crane hire", "6", "95.00", "20"),
    currency="GBP",
)
SMUDGED = build_invoice(
    "RE-26-00999", "10-02", "10-16", companies.OFFICE_SUPPLIER, build_line("Whiteboard", "2", "89.90")
)
PHOTOGRAPHED = build_invoice(
    "2026/455", "10-06", "10-20", companies.COFFEE_ROASTER, build_line("Milk jug", "4", "14.50", "20")
)

# Wrong, repeated, locked and torn documents, and an order.
WRONG_TOTAL = build_invoice(
    "MW-2026-0155", "05-06", "06-05", companies.TOOL_SUPPLIER, build_line("Angle grinder", "5", "99.00"),
    misprints={"gross": D("598.05")},
)  # fmt: skip
WRONG_LINE_SUM = build_invoice(
    "RE-26-00640", "05-15", "06-14", companies.OFFICE_SUPPLIER, build_line("Office chair", "4", "219.00"),
    build_line("Chair mat", "4", "39.00"),
    misprints={"line_sum": D("1023.00"), "net": D("1023.00"), "tax": D("196.08"), "gross": D("1219.08")},
)  # fmt: skip
NUMBER_AGAIN = dataclasses.replace(STATIONERY, lines=(*STATIONERY.lines, build_line("Stapler", "10", "11.20")))
ORDER = build_invoice(
    "PO-7060",
    "06-01",
    None,
    companies.TOOL_SUPPLIER,
    build_line("Cordless drill 18 V", "8", "185.00"),
    order_number="PO-7060",
)
LOCKED = build_invoice(
    "RE-26-00702", "06-18", "07-18", companies.OFFICE_SUPPLIER, build_line("Safe, fireproof", "1", "740.00")
)
TORN = build_invoice("MW-2026-0191", "07-01", "07-31", companies.TOOL_SUPPLIER, build_line("Workbench", "2", "310.00"))
