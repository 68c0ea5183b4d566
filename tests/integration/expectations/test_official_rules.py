"""Failed official rules are findings with their own ids, and decide the verdict by our table of severities."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from expectations.validation import CRITICAL_RULE_IDS, RULES, validate_candidates
from flows.official_outcomes import build_official_outcomes, list_decided_rule_ids
from invoices.documents.official_rules.results import FailedRule, RuleRun
from invoices.documents.official_rules.rule_sets import RULE_SETS, list_tested_rule_ids
from invoices.documents.official_rules.severities import get_severity
from invoices.errors import ContractError
from invoices.extraction.official_checks import build_official_results
from tests.integration.extraction_payloads import build_einvoice_payload, build_einvoice_table
from transforms.candidate_batch import KNOWN_KEYS_SCHEMA, CandidateBatch, build_candidate_batch

WRONG_DUE = build_einvoice_payload({"totals": {"payable": "1.00"}})


def build_batch(payload: str, *runs: RuleRun) -> CandidateBatch:
    results = build_official_results("d1", runs, "1")
    return build_candidate_batch(
        build_einvoice_table(payload), KNOWN_KEYS_SCHEMA.empty_table(), [], CRITICAL_RULE_IDS,
        official=build_official_outcomes(results, {"d1"}),
    )  # fmt: skip


def validate(payload: str, *runs: RuleRun) -> tuple[str, list[tuple[str, str, str]]]:
    """Return the verdict, and the findings of official rules and of BR-CO-16 with severity and message."""
    result = validate_candidates(build_batch(payload, *runs))
    findings = [(row["rule_id"], row["severity"], row["message"]) for row in result.findings.to_pylist()]
    return result.verdicts["verdict"][0].as_py(), findings


def fail(*rules: FailedRule, status: str = "invalid") -> RuleRun:
    return RuleRun(status, "cen-ubl", "1.3.16", "EN 16931:2017", failed_rules=[rules])  # type: ignore[arg-type]  # a status


def test_a_failed_rule_is_a_finding_with_its_id_text_place_and_version() -> None:
    rule = FailedRule("BR-S-02", "[BR-S-02]-The Seller has an id.", "/Invoice/InvoiceLine[2]", count=3)
    verdict, findings = validate(build_einvoice_payload(), fail(rule))
    message = "The Seller has an id. (at /Invoice/InvoiceLine[2] and 2 more places); cen-ubl 1.3.16"
    assert (verdict, findings) == ("review", [("BR-S-02", "warning", message)])


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        (FailedRule("BR-CO-13", "sums"), "quarantined"), (FailedRule("BR-FXEXT-CO-13", "sums"), "quarantined"),
        (FailedRule("BR-02", "number"), "quarantined"), (FailedRule("BR-AE-05", "rate"), "review"),
        (FailedRule("BR-CL-17", "code"), "review"), (FailedRule("FX-SCH-A-1", "Value 'x' is not allowed."), "review"),
        (FailedRule("UBL-SR-12", "structure"), "accepted"), (FailedRule("BR-DEC-09", "decimals"), "accepted"),
        (FailedRule("BR-DE-15", "Leitweg-ID"), "accepted"),
        (FailedRule("BR-CO-13", "sums", is_error=False), "accepted"),
    ],
    ids=lambda value: value.rule_id if isinstance(value, FailedRule) else value,
)  # fmt: skip
def test_our_table_of_severities_decides_the_verdict(rule: FailedRule, verdict: str) -> None:
    assert validate(build_einvoice_payload(), fail(rule))[0] == verdict


def test_our_rule_of_the_same_id_is_not_reported_in_addition() -> None:
    verdict, findings = validate(WRONG_DUE, fail(FailedRule("BR-CO-16", "the amount due")))
    assert (verdict, [rule_id for rule_id, _, _ in findings]) == ("quarantined", ["BR-CO-16"])
    assert findings[0][2] == "the amount due; cen-ubl 1.3.16"


def test_the_official_result_decides_where_ours_differs() -> None:
    assert validate(WRONG_DUE, fail(status="valid")) == ("accepted", [])


def test_our_rules_decide_where_the_run_was_stopped_and_a_finding_says_so() -> None:
    verdict, findings = validate(WRONG_DUE, RuleRun("not_run", "cen-ubl", "1.3.16", reason="took too long"))
    assert verdict == "quarantined"
    assert {rule_id: severity for rule_id, severity, _ in findings} == {
        "BR-CO-16": "critical", "OFFICIAL-RULES-NOT-RUN": "info",
    }  # fmt: skip


def test_a_rule_set_without_the_rule_leaves_it_to_ours() -> None:
    run = RuleRun("valid", "factur-x-minimum", "1", failed_rules=[[]])
    assert validate(WRONG_DUE, run)[0] == "quarantined"


def test_a_rule_that_two_rule_sets_have_is_one_finding() -> None:
    own = RuleRun("invalid", "zz-own", "1", "own", failed_rules=[[FailedRule("BR-S-02", "again")]])
    _, findings = validate(build_einvoice_payload(), fail(FailedRule("BR-S-02", "first")), own)
    assert [message for _, _, message in findings] == ["first; cen-ubl 1.3.16"]


def test_failures_that_no_check_counts_stop_the_validation() -> None:
    batch = build_batch(build_einvoice_payload(), fail(FailedRule("BR-S-02", "text")))
    lost = pa.Table.from_pylist([], schema=batch.official_failures.schema)
    with pytest.raises(ContractError, match="OFFICIAL-WARNING"):
        validate_candidates(replace(batch, official_failures=lost))


def test_every_rule_set_states_its_arithmetic_as_critical_and_decides_ours() -> None:
    for rule_set in RULE_SETS:
        tested = list_tested_rule_ids(rule_set.rule_set_id)
        assert len(tested) > 90, rule_set.rule_set_id
        sums = [rule_id for rule_id in tested if "CO-1" in rule_id and rule_id[-1] in "01234567"]
        assert {get_severity(rule_id) for rule_id in sums} <= {"critical"}, rule_set.rule_set_id
        if rule_set.rule_set_id not in ("factur-x-minimum", "factur-x-basic-wl"):
            assert {"BR-CO-10", "BR-CO-13", "BR-CO-16", "BR-02"} <= list_decided_rule_ids(rule_set.rule_set_id)


def test_a_rule_of_ours_and_its_official_twin_are_equally_severe_unless_listed() -> None:
    stricter = {
        "BR-06": "an e-invoice without a seller has no sender to ask",
        "BR-CO-18": "tax without a breakdown",
        "BR-E-10": "family",
    }
    twins = {rule_id for rule_set in RULE_SETS for rule_id in list_tested_rule_ids(rule_set.rule_set_id)} & set(RULES)
    different = {rule_id for rule_id in twins if get_severity(rule_id) != RULES[rule_id].severity}
    assert different - set(stricter) == set()
