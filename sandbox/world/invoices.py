"""The papers of the sample world: who sold what to whom in 2026, and for how much."""

from __future__ import annotations

import dataclasses
import datetime as dt
from decimal import Decimal

from sandbox.world import companies as c
from sandbox.world.papers import Adjustment, Company, Line, Paper

D = Decimal
NET30 = "Net 30 days"
REVERSE = "Reverse charge: VAT is due from the customer"
INTRA = "Intra-Community supply, exempt"
EXPORT = "Export outside the EU, not subject to VAT"


def day(text: str) -> dt.date:
    """Return the date ``MM-DD`` of 2026."""
    return dt.date.fromisoformat(f"2026-{text}")


def line(name: str, quantity: str, price: str, rate: str = "19", category: str = "S", **more: object) -> Line:
    """Return a line; numbers as decimal text."""
    return dataclasses.replace(Line(name, D(quantity), D(price), category, D(rate)), **more)  # type: ignore[arg-type]  # the rest is checked by the class


def bill(number: str, issued: str, due: str | None, seller: Company, *lines: Line, **more: object) -> Paper:
    """Return an invoice to the house, with terms where there is no due date."""
    start = Paper(number, day(issued), seller, c.HOUSE, lines, due=day(due) if due else None, terms=NET30)
    return dataclasses.replace(start, **more)  # type: ignore[arg-type]  # the rest is checked by the class


def off(amount: str, reason: str = "Discount", rate: str = "19", **more: object) -> Adjustment:
    """Return an allowance; ``is_charge=True`` makes it a charge."""
    return dataclasses.replace(Adjustment(D(amount), reason, rate=D(rate)), **more)  # type: ignore[arg-type]  # the rest is checked by the class


# Read from structured data: PDF with XML.
DRILLS = bill(
    "MW-2026-0101", "01-08", "02-07", c.TOOLS,
    line("Cordless drill 18 V", "4", "189.90"), line("Drill bits, set of 25", "10", "34.50"),
)  # fmt: skip
SANDERS = bill(
    "MW-2026-0102", "01-19", "02-18", c.TOOLS,
    line("Orbital sander", "3", "129.00", adjustments=(off("19.35", "Volume discount"),)),
    line("Sanding discs", "2000", "45.50", per=D("100")),
    order_number="PO-7001",
)  # fmt: skip
STATIONERY = bill(
    "RE-26-00317", "01-30", "02-13", c.OFFICE,
    line("Copy paper A4, 500 sheets", "60", "4.29"), line("Textbook: Bookkeeping", "5", "24.30", "7"),
    line("Ring binder, blue", "40", "2.15"),
)  # fmt: skip
DESKS = bill(
    "RE-26-00418", "02-16", "03-18", c.OFFICE,
    line("Height-adjustable desk", "6", "549.00"), line("Assembly", "6", "45.00", unit="HUR"),
    adjustments=(
        off("164.70", "Framework discount", percent=D("5"), basis=D("3294.00")),
        off("59.00", "Freight", is_charge=True),
    ),
)  # fmt: skip
ELECTRICITY = bill(
    "SW-2026-02-8841", "02-28", "03-15", c.POWER,
    line("Electricity, working price", "3127.5", "0.2874", unit="KWH"), line("Basic charge", "1", "18.90", unit="MON"),
    note="Consumption February 2026", delivered=day("02-28"),
)  # fmt: skip
ELECTRICITY_MARCH = bill(
    "SW-2026-03-8841", "03-31", "04-15", c.POWER,
    line("Electricity, working price", "2988.25", "0.2874", unit="KWH"), line("Basic charge", "1", "18.90", unit="MON"),
    prepaid=D("500.00"),
)  # fmt: skip
CARDBOARD = bill(
    "FA-2026-0058", "02-05", "03-07", c.PAPER,
    line("Cartons ondulés 40x30x20", "800", "0.62", "0", "K"), line("Ruban adhésif", "48", "1.95", "0", "K"),
    exemption=INTRA, delivered=day("02-03"),
)  # fmt: skip
LABELS = bill(
    "FA-2026-0091", "03-11", "04-10", c.PAPER,
    line("Étiquettes thermiques", "120", "7.40", "0", "K"), exemption=INTRA, delivered=day("03-09"),
)  # fmt: skip
BRANCH_PAPER = bill(
    "FA-2026-0102", "03-24", "04-23", c.PAPER,
    line("Papier kraft, rouleau", "15", "22.80", "0", "K"),
    buyer=c.BRANCH, exemption=INTRA, delivered=day("03-20"),
)  # fmt: skip
BEANS = bill(
    "2026/117", "03-02", "03-16", c.COFFEE,
    line("Espressobohnen, 1 kg", "24", "17.80", "10"), line("Entkalker", "6", "8.25", "20"),
    buyer=c.BRANCH,
)  # fmt: skip
TRADE_FAIR = bill(
    "MW-2026-0140", "04-14", "05-14", c.TOOLS,
    line("Rental of exhibition tools", "2", "840.00", unit="DAY"), line("Insurance, exempt", "1", "75.00", "0", "E"),
    exemption="Exempt under the national VAT act", order_number="PO-7044",
)  # fmt: skip
PALLETS = bill(
    "VL-600123", "04-02", None, c.FREIGHT,
    line("Pallet transport Rotterdam - Berlin", "14", "61.75", "0", "AE"), exemption=REVERSE,
    terms="30 dagen netto",
)  # fmt: skip
WAREHOUSING = bill(
    "VL-600188", "05-04", "06-03", c.FREIGHT,
    line("Storage, pallet places", "310", "0.48", "0", "AE", unit="DAY"),
    line("Handling in and out", "28", "6.10", "0", "AE"), exemption=REVERSE, buyer=c.BRANCH,
)  # fmt: skip
# Read from structured data: XML.
WINCHES = bill(
    "EV-20261", "01-22", "02-21", c.WORKSHOP,
    line("Vinsch 12 V", "2", "4890.00", "25"), line("Montering", "7.5", "640.00", "25", unit="HUR"),
    currency="SEK",
)  # fmt: skip
WINCHES_CREDIT = bill(
    "EV-K-2026-3", "02-19", None, c.WORKSHOP, line("Vinsch 12 V, retur", "1", "4890.00", "25"),
    currency="SEK", kind="credit_note", corrects="EV-20261",
)  # fmt: skip
OCEAN = bill(
    "SSF/2026/0907", "03-06", "04-05", c.SEABOARD,
    line("Ocean freight, 40 ft", "2", "1385.00", "0", "Z"), line("Documentation fee", "1", "45.00", "20"),
    currency="GBP", adjustments=(off("12.50", "Fuel surcharge", "20", is_charge=True),),
)  # fmt: skip
MOVEMENTS = bill(
    "UT-4471", "03-17", "04-16", c.WATCHES,
    line("Quarzwerk, Kaliber 900", "150", "12.35", "0", "G"), exemption=EXPORT, currency="CHF",
)  # fmt: skip
VASES = bill(
    "RS-2026-033", "04-21", "05-31", c.CERAMICS,
    line("Vase, celadon", "30", "4800", "10"), line("Export packing", "3", "2650", "10"),
    currency="JPY",
)  # fmt: skip
POSTERS = bill(
    "F26-0455", "04-28", "05-28", c.PRINT,
    line("Carteles A1, 1000 uds.", "3", "412.60", "0", "AE"), exemption=REVERSE,
    order_number="PO-7050",
)  # fmt: skip
LOGO_WORK = bill(
    "2026-12/A", "05-12", "06-11", c.DESIGN,
    line("Progetto grafico", "38", "55.00", "0", "AE", unit="HUR"), exemption=REVERSE, prepaid=D("700.00"),
)  # fmt: skip
DRILLS_CREDIT = bill(
    "MW-G-2026-0007", "02-11", None, c.TOOLS, line("Cordless drill 18 V, returned", "1", "189.90"),
    kind="credit_note", corrects="MW-2026-0101", terms="Offset against the next invoice",
)  # fmt: skip
DESKS_CREDIT = bill(
    "RG-26-00009", "03-20", None, c.OFFICE, line("Height-adjustable desk, returned", "1", "549.00"),
    kind="credit_note", corrects="RE-26-00418",
    adjustments=(off("27.45", "Framework discount", percent=D("5"), basis=D("549.00")),),
)  # fmt: skip
SALE_TO_SHOP = bill(
    "BH-2026-0001", "05-20", "06-19", c.HOUSE,
    line("Mixed goods, parcel 1", "12", "79.99", "0", "K"), line("Mixed goods, parcel 2", "3", "149.00", "0", "K"),
    buyer=c.SHOP, exemption=INTRA, delivered=day("05-18"),
)  # fmt: skip
SALE_AT_HOME = bill(
    "BH-2026-0002", "06-03", "07-03", c.HOUSE,
    line("Wholesale goods", "9", "333.33"), line("Books", "11", "18.69", "7"), buyer=c.OFFICE,
)  # fmt: skip
TOOL_CARE = bill(
    "MW-2026-0177", "06-09", "07-09", c.TOOLS,
    *(line(f"Inspection of tool no. {number}", "1", f"{20 + number}.{number:02d}") for number in range(1, 41)),
)  # fmt: skip
SUMMER_PAPER = bill(
    "RE-26-00871", "07-07", "07-21", c.OFFICE,
    line("Copy paper A4, 500 sheets", "80", "4.19"), line("Toner, black", "3", "118.40"),
    adjustments=(off("10.00", "Coupon"),), prepaid=D("100.00"),
)  # fmt: skip
AUTUMN_BEANS = bill(
    "2026/402", "09-14", "09-28", c.COFFEE,
    line("Espressobohnen, 1 kg", "36", "17.80", "0", "K"), exemption=INTRA, delivered=day("09-11"),
)  # fmt: skip
HARBOUR = bill(
    "SSF/2026/1033", "08-18", "09-17", c.SEABOARD,
    line("Harbour dues", "1", "218.40", "20"), line("Zero-rated onward freight", "1", "960.00", "0", "Z"),
    currency="GBP", prepaid=D("218.40"),
)  # fmt: skip

# What only a model can read: text pages and scans.
CLOUD_JANUARY = bill(
    "PC-0000181", "01-31", "02-28", c.CLOUD,
    line("Compute, 744 hours", "744", "0.115", "0", "O"), line("Storage, GB-months", "512", "0.021", "0", "O"),
    currency="USD", exemption="Not subject to VAT",
)  # fmt: skip
CLOUD_FEBRUARY = bill(
    "PC-0000204", "02-28", "03-30", c.CLOUD, line("Compute, 672 hours", "672", "0.115", "0", "O"),
    currency="USD", exemption="Not subject to VAT",
)  # fmt: skip
CLEANING = bill("PR-2026-19", "03-27", "04-26", c.COFFEE, line("Machine cleaning", "2", "65.00", "20"))
TEAPOTS = bill("RS-2026-041", "06-25", "07-31", c.CERAMICS, line("Teapot", "12", "3900", "10"), currency="JPY")
FLYERS = bill("F26-0502", "05-29", "06-28", c.PRINT, line("Folletos A5", "2500", "0.08", "21"))
REPAIR = bill("EV-20299", "06-11", "07-11", c.WORKSHOP, line("Reparation", "3", "640.00", "25"), currency="SEK")
STRAPS = bill("UT-4502", "07-15", "08-14", c.WATCHES, line("Lederband", "200", "4.85", "8.1"), currency="CHF")
COURIER = bill("VL-600341", "08-03", "09-02", c.FREIGHT, line("Courier, express", "5", "38.20", "21"))
SKETCHES = bill("2026-31/A", "09-01", "10-01", c.DESIGN, line("Bozzetti", "4", "120.00", "22"))
CRANE = bill("SSF/2026/1120", "09-22", "10-22", c.SEABOARD, line("Crane hire", "6", "95.00", "20"), currency="GBP")
SMUDGED = bill("RE-26-00999", "10-02", "10-16", c.OFFICE, line("Whiteboard", "2", "89.90"))
PHOTOGRAPHED = bill("2026/455", "10-06", "10-20", c.COFFEE, line("Milk jug", "4", "14.50", "20"))

# What goes wrong in life.
WRONG_TOTAL = bill(
    "MW-2026-0155", "05-06", "06-05", c.TOOLS, line("Angle grinder", "5", "99.00"), misprints={"gross": D("598.05")},
)  # fmt: skip
WRONG_LINE_SUM = bill(
    "RE-26-00640", "05-15", "06-14", c.OFFICE, line("Office chair", "4", "219.00"), line("Chair mat", "4", "39.00"),
    misprints={"line_sum": D("1023.00"), "net": D("1023.00"), "tax": D("196.08"), "gross": D("1219.08")},
)  # fmt: skip
NUMBER_AGAIN = dataclasses.replace(STATIONERY, lines=(*STATIONERY.lines, line("Stapler", "10", "11.20")))
ORDER = bill("PO-7060", "06-01", None, c.TOOLS, line("Cordless drill 18 V", "8", "185.00"), order_number="PO-7060")
LOCKED = bill("RE-26-00702", "06-18", "07-18", c.OFFICE, line("Safe, fireproof", "1", "740.00"))
TORN = bill("MW-2026-0191", "07-01", "07-31", c.TOOLS, line("Workbench", "2", "310.00"))
