"""The process that checks e-invoices against the official rules: limited, without secrets or network.

Run as ``python -I -m invoices.documents.official_rules.rule_checker_process <limits as JSON>``. A request is
``{"path": …, "sha256": …, "rule_sets": […]}``, with the user's rule sets as fields of ``RuleSet``; the response is
``{"runs": […], "is_last": …}`` with the fields of ``RuleRun``. A document whose bytes do not have the hash is not
opened; the hash may be null. Each stylesheet is compiled once per process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from invoices.documents.child_process import (
    ChildResponse,
    ProcessLimits,
    drop_process_privileges,
    move_stdout_to_private_descriptor,
    serve_requests,
)
from invoices.documents.content_sniffing import MAX_SNIFFED_BYTES, detect_media_type
from invoices.documents.document_reader_process import has_other_hash
from invoices.documents.einvoice import find_einvoice_syntax
from invoices.documents.einvoice.xml_tree import Element
from invoices.documents.official_rules import rule_sets
from invoices.documents.official_rules.results import RuleRun
from invoices.documents.official_rules.rule_sets import RuleSet
from invoices.documents.official_rules.schematron import (
    SchematronEngine,
    SchematronError,
    is_due_with_third_party_payments,
)
from invoices.documents.outcomes import sanitise_for_display
from invoices.documents.xml_reader import list_invoice_elements, parse_received_xml
from invoices.errors import DocumentError

_MAX_DOCUMENTS_PER_PROCESS = 5000
_SPECIFICATION_PATHS = {
    "ubl": "{*}CustomizationID",
    "cii": "{*}ExchangedDocumentContext/{*}GuidelineSpecifiedDocumentContextParameter/{*}ID",
}


def main() -> None:
    """Answer requests until the input ends."""
    limits = ProcessLimits(**json.loads(sys.argv[1]))
    response_descriptor = move_stdout_to_private_descriptor()
    drop_process_privileges(limits)
    engine = SchematronEngine()

    def handle_request(request: dict[str, Any]) -> ChildResponse:
        path = Path(request["path"])
        if request["sha256"] is not None and has_other_hash(path, request["sha256"]):
            runs = [RuleRun("not_run", reason="its bytes were changed after it was stored")]
            return ChildResponse({"runs": [asdict(run) for run in runs]})
        user_rule_sets = [RuleSet(**{**row, "patterns": tuple(row["patterns"])}) for row in request["rule_sets"]]
        runs, must_exit = check_catching_errors(engine, path, limits.max_bytes, user_rule_sets)
        return ChildResponse({"runs": [asdict(run) for run in runs]}, is_last=must_exit)

    serve_requests(handle_request, response_descriptor, limits, _MAX_DOCUMENTS_PER_PROCESS)


def check_catching_errors(
    engine: SchematronEngine, path: Path, max_bytes: int, user_rule_sets: Sequence[RuleSet]
) -> tuple[list[RuleRun], bool]:
    """Return the runs about one file, and whether this process should end after it."""
    try:
        return check_document_file(engine, path, max_bytes, user_rule_sets), False
    except MemoryError:
        return [RuleRun("not_run", reason="checking took too much memory and was stopped")], True
    except Exception as error:  # noqa: BLE001 - whatever a parser raises about hostile bytes is a result for this file
        reason = sanitise_for_display(f"the check failed with {type(error).__name__}: {error}", 300)
        return [RuleRun("not_run", reason=reason)], True


def check_document_file(
    engine: SchematronEngine, path: Path, max_bytes: int, user_rule_sets: Sequence[RuleSet] = ()
) -> list[RuleRun]:
    """Return a run per rule set that is for the e-invoice in a file; one that is not applicable if there is none."""
    try:
        if path.stat().st_size > max_bytes:
            raise DocumentError(f"the file has more than {max_bytes} bytes", reason_code="too_large")
        roots = list_einvoice_roots(path)
    except DocumentError as error:
        return [RuleRun("not_applicable", reason=sanitise_for_display(str(error), 300))]
    syntax = find_einvoice_syntax(roots[0]) if roots else None
    if syntax not in _SPECIFICATION_PATHS:
        reason = "it is an invoice in a format that is not held to EN 16931" if syntax else "it is not an e-invoice"
        return [RuleRun("not_applicable", reason=reason)]
    specification = (roots[0].findtext(_SPECIFICATION_PATHS[syntax]) or "").strip()
    official_rule_set = rule_sets.choose_rule_set(syntax, specification)
    chosen = [official_rule_set] if official_rule_set else []
    chosen += [rule_set for rule_set in user_rule_sets if rule_set.has_pattern_for(syntax, specification)]
    if not chosen:
        stated = f"its specification {sanitise_for_display(specification)!r}" if specification else "no specification"
        return [RuleRun("not_applicable", reason=f"no rule set is for {stated}")]
    return [_run_rule_set(engine, rule_set, syntax, specification, roots) for rule_set in chosen]


def list_einvoice_roots(path: Path) -> list[Element]:
    """Return the root of each e-invoice in an XML file, or of the one in a PDF that the document reader takes.

    Raises DocumentError where the XML is hostile, malformed or too large.
    """
    with path.open("rb") as file:
        media_type = detect_media_type(file.read(MAX_SNIFFED_BYTES))
    if media_type == "application/xml":
        return list_invoice_elements(parse_received_xml(path.read_bytes()))
    if media_type != "application/pdf":
        return []
    import pikepdf

    from invoices.documents.pdf.attachments import extract_xml_attachments
    from invoices.documents.pdf.pdf_reader import rank_attachment_name

    ranked_roots: list[tuple[int, Element]] = []
    try:
        with pikepdf.open(path, suppress_warnings=True) as pdf:
            for name, content in extract_xml_attachments(pdf):
                try:
                    root = parse_received_xml(content)
                except DocumentError:  # the reader has taken another attachment
                    continue
                if find_einvoice_syntax(root):
                    ranked_roots.append((rank_attachment_name(name), root))
    except (pikepdf.PdfError, ValueError) as error:  # ValueError: a number beyond 64 bits
        raise DocumentError("the PDF cannot be opened", reason_code="damaged_pdf") from error
    return [min(ranked_roots, key=lambda pair: pair[0])[1]] if ranked_roots else []


def _run_rule_set(
    engine: SchematronEngine, rule_set: RuleSet, syntax: str, specification: str, roots: Sequence[Element]
) -> RuleRun:
    identity = (rule_set.rule_set_id, rule_set.version, rule_set.standard)
    path = rule_set.path
    if path is None or not path.is_file():
        return RuleRun("not_run", *identity, reason=f"the file {rule_set.stylesheet!r} is missing")
    failed_rules = []
    for root in roots:
        try:
            failed = engine.list_failed_rules(path, root)
        except SchematronError as error:
            reason = sanitise_for_display(f"the rules could not be run: {error}", 300)
            return RuleRun("not_run", *identity, reason=reason)
        replaced = rule_sets.list_replaced_rule_ids(specification)
        if not is_due_with_third_party_payments(syntax, root):
            replaced -= {"BR-CO-16"}
        failed_rules.append([rule for rule in failed if rule.rule_id not in replaced])
    is_valid = not any(rule.is_error for failed in failed_rules for rule in failed)
    return RuleRun("valid" if is_valid else "invalid", *identity, failed_rules=failed_rules)


if __name__ == "__main__":
    main()
