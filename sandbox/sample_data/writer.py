"""Writes the sample data to a folder: the inbox, its manifest, and the package versions it was made with."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sandbox.sample_data.documents import Company, SampleInvoice
from sandbox.sample_data.files import SampleFile, build_sample_files
from sandbox.sample_data.page_layout import build_pages

VERSIONED_PACKAGES = ("lxml", "pikepdf", "pillow", "reportlab")
"""The packages whose version may change the bytes."""


def write_samples(directory: Path) -> int:
    """Write ``inbox/…``, ``manifest.jsonl`` and ``made_with.json``; return the number of files in ``inbox``.

    The bytes are the same on every run with the same versions of VERSIONED_PACKAGES.
    """
    files = build_sample_files()
    for file in files:
        target = directory / "inbox" / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
    rows = [json.dumps(build_manifest_row(file), ensure_ascii=False, sort_keys=True) for file in files]
    (directory / "manifest.jsonl").write_bytes(("\n".join(rows) + "\n").encode())
    (directory / "made_with.json").write_bytes((json.dumps(get_package_versions(), indent=1) + "\n").encode())
    return len(files)


def get_package_versions() -> dict[str, str]:
    """Return the installed versions of VERSIONED_PACKAGES."""
    return {name: version(name) for name in VERSIONED_PACKAGES}


def build_manifest_row(file: SampleFile) -> dict[str, Any]:
    """Return a file's row of the manifest; amounts are decimal strings, dates ISO 8601 text."""
    expected: dict[str, Any] | None = {"doc_type": file.doc_type} if file.doc_type else None
    if file.invoice:
        expected = build_expected_contents(file.invoice)
    return {
        "path": f"inbox/{file.path}",
        "sha256": hashlib.sha256(file.content).hexdigest(),
        "bytes": len(file.content),
        "pages": len(build_pages(file.invoice)) if file.invoice and file.content.startswith(b"%PDF-") else 1,
        "kind": file.kind,
        "expected_state": file.expected_state,
        "why": file.explanation,
        "expected": expected,
        "reads_as": file.model_result,
        "unreadable": list(file.unreadable_fields),
        "is_leftover": file.is_leftover,
    }


def build_expected_contents(invoice: SampleInvoice) -> dict[str, Any]:
    """Return the contents of an invoice in the form of the manifest."""
    return {
        "doc_type": invoice.kind,
        "invoice_number": invoice.number,
        "issue_date": invoice.issue_date.isoformat(),
        "due_date": invoice.due_date.isoformat() if invoice.due_date else None,
        "terms": invoice.terms,
        "order_number": invoice.order_number,
        "currency": invoice.currency,
        "seller": _build_party(invoice.seller),
        "buyer": _build_party(invoice.buyer),
        "totals": {
            "line_sum": str(invoice.line_sum),
            "allowances": str(invoice.allowance_sum),
            "charges": str(invoice.charge_sum),
            "net": str(invoice.net),
            "tax": str(invoice.tax),
            "gross": str(invoice.gross),
            "prepaid": str(invoice.round_amount(invoice.prepaid_amount)),
            "payable": str(invoice.payable),
        },
        "tax_breakdown": [
            {
                "category": tax_breakdown.category,
                "rate": str(tax_breakdown.rate),
                "taxable": str(tax_breakdown.taxable),
                "tax": str(tax_breakdown.tax),
            }
            for tax_breakdown in invoice.tax_breakdowns
        ],
        "lines": [
            {
                "line_number": number,
                "name": line.name,
                "quantity": str(line.quantity),
                "unit": line.unit,
                "price": str(line.price),
                "per": str(line.price_base_quantity),
                "net": str(invoice.compute_line_net(line)),
                "category": line.category,
                "rate": str(line.rate),
            }
            for number, line in enumerate(invoice.lines, 1)
        ],
    }


def _build_party(company: Company) -> dict[str, str]:
    return {
        "name": company.name,
        "vat_id": company.vat_id,
        "country": company.country,
        "address": company.address,
        "iban": company.iban,
    }
