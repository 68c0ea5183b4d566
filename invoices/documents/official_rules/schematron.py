"""Runs compiled Schematron files with Saxon and reads their reports (SVRL); used only in the limited process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from lxml import etree

from invoices.documents.einvoice.xml_tree import Element
from invoices.documents.official_rules.results import FailedRule
from invoices.documents.official_rules.rule_sets import ENGINE_PACKAGE, GENERATED_ID_PREFIX, get_rule_id

SVRL = "{http://purl.oclc.org/dsdl/svrl}"
MAX_RULES = 300  # that one document can fail
MAX_TEXT_CHARS = 400
MAX_LOCATION_CHARS = 200
WARNING_FLAGS = frozenset({"warning", "info", "information"})  # any other, also none, is an error

UNNAMED_RULE_ID = "RULE-WITHOUT-ID"
# Factur-X's files know only the profiles' own ids, but a CIUS is held to the profile that it complies with.
_SPECIFICATION_LOCATION = "GuidelineSpecifiedDocumentContextParameter/ID"

_NAMESPACE_PREDICATE = re.compile(r"\[namespace-uri\(\)='[^']*'\]")
_FIRST_INDEX = re.compile(r"\[1\](?=/|$)")


class SchematronError(Exception):
    """A rule set could not be compiled or run, or gave no usable report."""


class SchematronEngine:
    """Saxon, with every stylesheet compiled once."""

    def __init__(self) -> None:
        from importlib import import_module  # the package has no types

        saxon: Any = import_module(ENGINE_PACKAGE)
        self._saxon_error: type[Exception] = saxon.PySaxonApiError
        self._processor = saxon.PySaxonProcessor(license=False)
        self._processor.set_configuration_property("http://saxon.sf.net/feature/allowedProtocols", "file")
        self._compiler = self._processor.new_xslt30_processor()
        self._executables: dict[Path, Any] = {}

    def list_failed_rules(self, stylesheet: Path, root: Element) -> list[FailedRule]:
        """Return the rules that the tree fails, each once, in the order of the report.

        ``root`` is serialised without what surrounds it, so no document type, comment or entity reaches Saxon.
        Raises SchematronError if the stylesheet cannot be compiled or run, or if no rule of it concerns the document.
        """
        text = etree.tostring(root, encoding="unicode", with_tail=False)
        try:
            executable = self._executables.get(stylesheet)
            if executable is None:
                executable = self._compiler.compile_stylesheet(stylesheet_file=str(stylesheet))
                self._executables[stylesheet] = executable
            report = executable.transform_to_string(xdm_node=self._processor.parse_xml(xml_text=text))
        except self._saxon_error as error:
            raise SchematronError(str(error)) from error
        if not report:
            raise SchematronError("the rules gave no report")
        return parse_report(report)


def parse_report(report: str) -> list[FailedRule]:
    """Return the failed rules of a report in SVRL. Raises SchematronError if it is none, or if no rule was tried."""
    try:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
        root = etree.fromstring(report.encode(), parser)
    except etree.XMLSyntaxError as error:
        raise SchematronError("the report of the rules is not XML") from error
    if next(root.iter(f"{SVRL}fired-rule"), None) is None:
        raise SchematronError("no rule concerns this document")
    failed_rules: dict[str, FailedRule] = {}
    for element in root.iter(f"{SVRL}failed-assert", f"{SVRL}successful-report"):
        text = " ".join("".join(map(str, element.itertext())).split())
        rule_id = get_rule_id((element.get("id") or "").strip(), text)[:60] or UNNAMED_RULE_ID
        location = shorten_location(element.get("location") or "")
        if location.endswith(_SPECIFICATION_LOCATION) and rule_id.startswith(GENERATED_ID_PREFIX):
            continue
        earlier = failed_rules.get(rule_id)
        is_error = (element.get("flag") or element.get("role") or "").strip().casefold() not in WARNING_FLAGS
        if earlier is None and len(failed_rules) < MAX_RULES:
            failed_rules[rule_id] = FailedRule(rule_id, text[:MAX_TEXT_CHARS], location, 1, is_error)
        elif earlier is not None:
            failed_rules[rule_id] = FailedRule(
                rule_id, earlier.text, earlier.location, earlier.count + 1, earlier.is_error or is_error
            )
    return list(failed_rules.values())


def shorten_location(location: str) -> str:
    """Return an XPath without namespaces and without the index of what is first: ``/Invoice/InvoiceLine[2]/ID``."""
    short = _NAMESPACE_PREDICATE.sub("", location[:20_000]).replace("*:", "")
    short = _FIRST_INDEX.sub("", short)
    return short if len(short) <= MAX_LOCATION_CHARS else f"…{short[1 - MAX_LOCATION_CHARS :]}"


# Where each syntax states what BR-CO-16 needs, and the third party payments of XRechnung's extension (BT-DEX-002).
_CII_TOTALS = ".//{*}SpecifiedTradeSettlementHeaderMonetarySummation"
_AMOUNT_PATHS: Mapping[str, Mapping[str, str]] = {
    "ubl": {
        "total": "{*}LegalMonetaryTotal/{*}TaxInclusiveAmount", "prepaid": "{*}LegalMonetaryTotal/{*}PrepaidAmount",
        "rounding": "{*}LegalMonetaryTotal/{*}PayableRoundingAmount", "due": "{*}LegalMonetaryTotal/{*}PayableAmount",
        "third_party": "{*}PrepaidPayment/{*}PaidAmount",
    },
    "cii": {
        "total": f"{_CII_TOTALS}/{{*}}GrandTotalAmount", "prepaid": f"{_CII_TOTALS}/{{*}}TotalPrepaidAmount",
        "rounding": f"{_CII_TOTALS}/{{*}}RoundingAmount", "due": f"{_CII_TOTALS}/{{*}}DuePayableAmount",
        "third_party": ".//{*}ApplicableHeaderTradeSettlement/{*}SpecifiedAdvancePayment/{*}PaidAmount",
    },
}  # fmt: skip


def is_due_with_third_party_payments(syntax: str, root: Element) -> bool:
    """Return whether third party payments are stated and the amount due includes them (XRechnung, BR-DEX-09)."""
    sums: dict[str, Decimal] = {}
    try:
        for name, path in _AMOUNT_PATHS[syntax].items():
            texts = [(element.text or "").strip() for element in root.iterfind(path)]
            if name == "third_party" and not texts:
                return False
            sums[name] = sum((Decimal(text) for text in texts), Decimal())
    except InvalidOperation:
        return False
    return sums["due"] == sums["total"] - sums["prepaid"] + sums["rounding"] + sums["third_party"]
