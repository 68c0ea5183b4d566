"""Run the rules as suites of Great Expectations. Importing this module takes seconds: import it where it is needed.

No amount comes here, because pandas would turn a decimal into a binary float: SQL has already decided each rule in
exact decimals, and its outcome is a word.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # importing Great Expectations imports modules that Python has deprecated
    import great_expectations as gx
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )
    from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
    from great_expectations.expectations.metadata_types import FailureSeverity

from expectations.rule import Rule
from invoices.errors import ContractError

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext

PASSING_OUTCOMES = ("holds", "not_applicable")
_COMPLETE_RESULTS = {"result_format": "COMPLETE", "unexpected_index_column_names": ["invoice_id"]}


def create_ephemeral_context() -> EphemeralDataContext:
    """Return a context that writes no file, sends no analytics and draws no progress bar."""
    return gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            analytics_enabled=False,
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )


def build_suite(table_name: str, rules: Sequence[Rule]) -> gx.ExpectationSuite:
    """Return the suite of a table: each rule expects only ``holds`` and ``not_applicable`` in its column."""
    return gx.ExpectationSuite(
        name=table_name,
        expectations=[
            ExpectColumnValuesToBeInSet(
                column=rule.rule_id,
                value_set=list(PASSING_OUTCOMES),
                severity=FailureSeverity(rule.severity),
                notes=rule.wording,
                meta={"rule_id": rule.rule_id},
            )
            for rule in rules
        ],
    )


def run_suite(
    context: EphemeralDataContext, table_name: str, rules: Sequence[Rule], outcomes: pd.DataFrame
) -> dict[str, list[str]]:
    """Return, for each rule id, the invoice ids of the candidates that break it.

    ``outcomes`` has a column ``invoice_id`` and one per rule.

    Raises:
        ContractError: there is nothing to check, or an expectation did not check every row; Great Expectations itself
            reports that as a success or merely as a failure.
    """
    if outcomes.empty or not rules:
        raise ContractError(f"suite {table_name!r} has nothing to check: {len(rules)} rules, {len(outcomes)} rows")
    batch = (
        context.data_sources.add_pandas(table_name)
        .add_dataframe_asset(table_name)
        .add_batch_definition_whole_dataframe(table_name)
        .get_batch({"dataframe": outcomes})
    )
    validation = batch.validate(build_suite(table_name, rules), result_format=_COMPLETE_RESULTS)
    broken_by_rule = {
        _get_rule_id(result): _list_broken_invoice_ids(result, len(outcomes)) for result in validation.results
    }
    if set(broken_by_rule) != {rule.rule_id for rule in rules}:
        raise ContractError(f"suite {table_name!r} has {len(rules)} rules, but {len(broken_by_rule)} were checked")
    return broken_by_rule


def _get_rule_id(result: ExpectationValidationResult) -> str:
    configuration = result.expectation_config
    if configuration is None:
        raise ContractError("Great Expectations returned a result without its expectation")
    return str(configuration.meta["rule_id"])


def _list_broken_invoice_ids(result: ExpectationValidationResult, row_count: int) -> list[str]:
    rule_id, details = _get_rule_id(result), result.result
    if "element_count" not in details or result.exception_info.get("raised_exception"):
        raise ContractError(f"rule {rule_id!r} was not checked: {result.exception_info!r}")
    if details["element_count"] != row_count or details["missing_count"]:
        raise ContractError(
            f"rule {rule_id!r} was checked on {details['element_count']} of {row_count} rows, "
            f"and {details['missing_count']} of them have no outcome"
        )
    broken_ids = [str(row["invoice_id"]) for row in details.get("unexpected_index_list") or []]
    if result.success != (not broken_ids) or len(broken_ids) != details["unexpected_count"]:
        raise ContractError(
            f"rule {rule_id!r}: {details['unexpected_count']} rows break it, but {len(broken_ids)} are listed"
        )
    return broken_ids
