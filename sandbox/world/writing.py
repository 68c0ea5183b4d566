"""Writes the sample world to a folder: the inbox, its manifest, and the versions it was made with."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sandbox.world.page import pages
from sandbox.world.papers import Company, Paper
from sandbox.world.scenes import Scene, scenes

MAKERS = ("lxml", "pikepdf", "pillow", "reportlab")
"""The packages whose version may show in the bytes."""


def write(directory: Path) -> int:
    """Write ``inbox/…``, ``manifest.jsonl`` and ``made_with.json`` into the folder; return the number of files in it.

    The bytes are the same on every run with the same versions of MAKERS.
    """
    everything = scenes()
    for scene in everything:
        target = directory / "inbox" / scene.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(scene.content)
    rows = [json.dumps(manifest_row(scene), ensure_ascii=False, sort_keys=True) for scene in everything]
    (directory / "manifest.jsonl").write_bytes(("\n".join(rows) + "\n").encode())
    (directory / "made_with.json").write_bytes((json.dumps(made_with(), indent=1) + "\n").encode())
    return len(everything)


def made_with() -> dict[str, str]:
    """Return the versions of the packages that shape the bytes here."""
    return {name: version(name) for name in MAKERS}


def manifest_row(scene: Scene) -> dict[str, Any]:
    """Return the scene's line of the manifest; amounts as decimal strings, dates as ISO text."""
    expected = contents(scene.paper) if scene.paper else ({"doc_type": scene.doc_type} if scene.doc_type else None)
    return {
        "path": f"inbox/{scene.path}",
        "sha256": hashlib.sha256(scene.content).hexdigest(),
        "bytes": len(scene.content),
        "pages": len(pages(scene.paper)) if scene.paper and scene.content.startswith(b"%PDF-") else 1,
        "kind": scene.kind,
        "expected_state": scene.state,
        "why": scene.why,
        "expected": expected,
        "reads_as": scene.reads_as,
        "unreadable": list(scene.unreadable),
        "is_leftover": scene.is_leftover,
    }


def contents(paper: Paper) -> dict[str, Any]:
    """Return what the paper says, as the manifest tells it."""
    return {
        "doc_type": paper.kind,
        "invoice_number": paper.number,
        "issue_date": paper.issued.isoformat(),
        "due_date": paper.due.isoformat() if paper.due else None,
        "terms": paper.terms,
        "order_number": paper.order_number,
        "currency": paper.currency,
        "seller": _party(paper.seller),
        "buyer": _party(paper.buyer),
        "totals": {
            "line_sum": str(paper.line_sum),
            "allowances": str(paper.allowance_sum),
            "charges": str(paper.charge_sum),
            "net": str(paper.net),
            "tax": str(paper.tax),
            "gross": str(paper.gross),
            "prepaid": str(paper.rounded(paper.prepaid)),
            "payable": str(paper.payable),
        },
        "tax_breakdown": [
            {"category": t.category, "rate": str(t.rate), "taxable": str(t.taxable), "tax": str(t.tax)}
            for t in paper.taxes
        ],
        "lines": [
            {
                "line_number": number,
                "name": line.name,
                "quantity": str(line.quantity),
                "unit": line.unit,
                "price": str(line.price),
                "per": str(line.per),
                "net": str(paper.net_of(line)),
                "category": line.category,
                "rate": str(line.rate),
            }
            for number, line in enumerate(paper.lines, 1)
        ],
    }


def _party(company: Company) -> dict[str, str]:
    return {
        "name": company.name,
        "vat_id": company.vat_id,
        "country": company.country,
        "address": company.address,
        "iban": company.iban,
    }
