"""The official rules run in a limited process, and the rule set follows from syntax and specification id."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pikepdf
import pytest

from invoices.documents.child_process import ProcessLimits
from invoices.documents.official_rules import rule_checker_pool
from invoices.documents.official_rules.results import RuleRun
from invoices.documents.official_rules.rule_checker_pool import RULE_CHECKER_LIMITS, RuleCheckerPool
from invoices.documents.official_rules.rule_sets import RuleSet
from sandbox.sample_data.cii import render_cii_invoice
from sandbox.sample_data.invoices import DRILLS, STATIONERY
from sandbox.sample_data.ubl import render_ubl_invoice

EXTENSION = (
    b"urn:cen.eu:en16931:2017#compliant#urn:xeinkauf.de:kosit:xrechnung_3.0"
    b"#conformant#urn:xeinkauf.de:kosit:extension:xrechnung_3.0"
)
PEPPOL = b"urn:cen.eu:en16931:2017#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0"
UBL = render_ubl_invoice(DRILLS)
STYLESHEET = """<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="2.0"
  xmlns:svrl="http://purl.oclc.org/dsdl/svrl">
 <xsl:template match="/"><svrl:schematron-output><svrl:fired-rule context="/"/>%s</svrl:schematron-output>
 </xsl:template></xsl:stylesheet>"""
FAILED = '<svrl:failed-assert id="OWN-1" flag="fatal" location="/*"><svrl:text>%s</svrl:text></svrl:failed-assert>'


@pytest.fixture(scope="module")
def pool() -> Iterator[RuleCheckerPool]:
    with RuleCheckerPool() as rule_checker_pool:
        yield rule_checker_pool


def check(pool: RuleCheckerPool, directory: Path, content: bytes) -> RuleRun:
    path = directory / "invoice"
    path.write_bytes(content)
    [run] = pool.check(path)
    return run


def list_failed_ids(run: RuleRun) -> set[str]:
    return {rule.rule_id for rules in run.failed_rules for rule in rules if rule.is_error}


@pytest.mark.parametrize(
    ("content", "rule_set"),
    [
        (render_cii_invoice(STATIONERY, "MINIMUM"), "factur-x-minimum"),
        (render_cii_invoice(STATIONERY, "BASIC WL"), "factur-x-basic-wl"),
        (render_cii_invoice(STATIONERY, "BASIC"), "factur-x-basic"),
        (render_cii_invoice(STATIONERY, "ZUGFERD 2.0 BASIC"), "factur-x-basic"),
        (render_cii_invoice(STATIONERY, "EN 16931"), "factur-x-en16931"),
        (render_cii_invoice(STATIONERY, "XRECHNUNG"), "factur-x-en16931"),
        (render_cii_invoice(STATIONERY, "EXTENDED"), "factur-x-extended"),
        (UBL, "cen-ubl"),
        (render_ubl_invoice(STATIONERY, "XRECHNUNG"), "cen-ubl"),
        (UBL.replace(PEPPOL, EXTENSION), "cen-ubl"),
    ],
)
def test_a_sound_invoice_is_valid_by_the_rules_of_its_profile(
    pool: RuleCheckerPool, tmp_path: Path, content: bytes, rule_set: str
) -> None:
    run = check(pool, tmp_path, content)
    assert (run.status, run.rule_set, list_failed_ids(run)) == ("valid", rule_set, set())


@pytest.mark.parametrize(
    "specification",
    [b"urn:peppol:pint:billing-1@jp-1", b"OIOUBL-2.02", b"", b"urn:cen.eu:en16931:2026",
     b"urn:cen.eu:en16931:2017#conformant#urn:fdc:peppol.eu:2017:poacc:billing:international:sg:3.0"],
)  # fmt: skip
def test_an_invoice_that_states_no_profile_of_the_standard_is_not_held_to_it(
    pool: RuleCheckerPool, tmp_path: Path, specification: bytes
) -> None:
    run = check(pool, tmp_path, UBL.replace(PEPPOL, specification))
    assert (run.status, run.rule_set) == ("not_applicable", "")


def test_a_wrong_sum_fails_the_official_rule_at_its_place(pool: RuleCheckerPool, tmp_path: Path) -> None:
    run = check(pool, tmp_path, UBL.replace(b'PayableAmount currencyID="EUR">1', b'PayableAmount currencyID="EUR">2'))
    assert (run.status, run.version, run.standard) == ("invalid", "1.3.16", "EN 16931:2017")
    [rule] = [rule for rule in run.failed_rules[0] if rule.is_error]
    assert (rule.rule_id, rule.location, rule.count) == ("BR-CO-16", "/Invoice/LegalMonetaryTotal", 1)
    assert "Amount due for payment (BT-115)" in rule.text


def test_the_xml_inside_a_pdf_is_checked(pool: RuleCheckerPool, tmp_path: Path) -> None:
    path = tmp_path / "invoice.pdf"
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        xml = render_cii_invoice(DRILLS, "EN 16931").replace(b"<ram:CategoryCode>S<", b"<ram:CategoryCode>Z<", 1)
        pdf.attachments["factur-x.xml"] = pikepdf.AttachedFileSpec(pdf, xml, filename="factur-x.xml")
        pdf.save(path)
    [run] = pool.check(path)
    assert run.rule_set == "factur-x-en16931"
    assert "BR-Z-05" in list_failed_ids(run)


def test_an_unknown_profile_id_alone_does_not_make_a_cius_invalid(pool: RuleCheckerPool, tmp_path: Path) -> None:
    xml = render_cii_invoice(STATIONERY, "XRECHNUNG").replace(b"xrechnung_3.0", b"made-up_1.0")
    assert check(pool, tmp_path, xml).status == "valid"


@pytest.mark.parametrize(("due", "failed"), [(b"1316.47", {"BR-CO-16"}), (b"1326.47", set())])
def test_third_party_payments_of_xrechnungs_extension_are_part_of_the_amount_due(
    pool: RuleCheckerPool, tmp_path: Path, due: bytes, failed: set[str]
) -> None:
    payment = (
        b"<cac:PrepaidPayment><cbc:ID>1</cbc:ID>"
        b'<cbc:PaidAmount currencyID="EUR">12.00</cbc:PaidAmount></cac:PrepaidPayment><cac:TaxTotal>'
    )
    xml = UBL.replace(PEPPOL, EXTENSION).replace(b"<cac:TaxTotal>", payment, 1)
    assert xml.count(b">1314.47</cbc:PayableAmount>") == 1
    run = check(pool, tmp_path, xml.replace(b">1314.47</cbc:PayableAmount>", b">" + due + b"</cbc:PayableAmount>"))
    assert list_failed_ids(run) == failed


def test_a_document_type_never_reaches_the_engine(pool: RuleCheckerPool, tmp_path: Path) -> None:
    run = check(pool, tmp_path, b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>' + UBL)
    assert (run.status, "document type" in run.reason) == ("not_applicable", True)


def test_no_address_is_opened_while_rules_run(tmp_path: Path) -> None:
    """The user's stylesheet asks for one; what the document states must not even be tried."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/secret.xml"
        stylesheet = tmp_path / "rules.xslt"
        stylesheet.write_text(STYLESHEET % (FAILED % f"<xsl:copy-of select=\"doc('{url}')\"/>"))
        own = RuleSet("own", "1", "own", "any", str(stylesheet), ("*",))
        document = tmp_path / "invoice.xml"
        document.write_bytes(
            UBL.replace(b"<Invoice ", f'<?xml-stylesheet href="{url}"?><Invoice xml:base="{url}" '.encode(), 1)
        )
        with RuleCheckerPool(rule_sets=[own]) as pool:
            runs = {run.rule_set: run for run in pool.check(document)}
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert (runs["own"].status, runs["cen-ubl"].status) == ("not_run", "valid")


def test_a_users_rule_set_is_used_for_its_specification_only(tmp_path: Path) -> None:
    stylesheet, document = tmp_path / "rules.xslt", tmp_path / "invoice.xml"
    stylesheet.write_text(STYLESHEET % (FAILED % "a rule of our own"))
    own = RuleSet("peppol", "2026.5", "peppol", "ubl", str(stylesheet), ("*poacc:billing:3.0",))
    with RuleCheckerPool(rule_sets=[own]) as pool:
        document.write_bytes(UBL)
        assert [(run.rule_set, run.version, list_failed_ids(run)) for run in pool.check(document)] == [
            ("cen-ubl", "1.3.16", set()), ("peppol", "2026.5", {"OWN-1"}),
        ]  # fmt: skip
        document.write_bytes(render_ubl_invoice(DRILLS, "XRECHNUNG"))
        assert [run.rule_set for run in pool.check(document)] == ["cen-ubl"]


def test_rules_that_concern_nothing_in_a_document_do_not_make_it_valid(tmp_path: Path) -> None:
    stylesheet, document = tmp_path / "rules.xslt", tmp_path / "invoice.xml"
    stylesheet.write_text(STYLESHEET.replace('<svrl:fired-rule context="/"/>', "") % "")
    document.write_bytes(UBL.replace(PEPPOL, b"own"))
    with RuleCheckerPool(rule_sets=[RuleSet("own", "1", "own", "any", str(stylesheet), ("own",))]) as pool:
        assert [run.status for run in pool.check(document)] == ["not_run"]


def test_a_run_that_takes_too_long_is_stopped_and_the_next_document_is_checked(tmp_path: Path) -> None:
    endless = '<xsl:value-of select="sum(for $a in 1 to 100000, $b in 1 to 100000 return $a mod $b)"/>'
    stylesheet = tmp_path / "rules.xslt"
    stylesheet.write_text(STYLESHEET % (FAILED % endless))
    own = RuleSet("slow", "1", "slow", "any", str(stylesheet), ("own",))
    limits = ProcessLimits(memory_bytes=RULE_CHECKER_LIMITS.memory_bytes, seconds=3.0)
    with RuleCheckerPool(limits=limits, rule_sets=[own]) as pool:
        assert check(pool, tmp_path, UBL.replace(PEPPOL, b"own")).status == "not_run"
        assert check(pool, tmp_path, UBL).status == "valid"


def test_without_the_engine_nothing_is_run(
    pool: RuleCheckerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_checker_pool, "is_engine_installed", lambda: False)
    assert check(pool, tmp_path, UBL).reason == rule_checker_pool.ENGINE_MISSING


def test_bytes_that_were_changed_after_they_were_stored_are_not_checked(pool: RuleCheckerPool, tmp_path: Path) -> None:
    path = tmp_path / "invoice.xml"
    path.write_bytes(UBL)
    assert [run.status for run in pool.check(path, "0" * 64)] == ["not_run"]
