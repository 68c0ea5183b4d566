"""The Prefect flows: one per stage and one for the whole. Batches are tasks; the logic is in the stages.

Prefect schedules and displays. The ledger alone records what is done and what is not: you can kill a flow anywhere and
run it again. Flows take no parameters, so nothing secret or personal reaches Prefect's database.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.bootstrap import open_app
from flows.plurals import format_count
from flows.runner import ALL_STAGES, EXTRACT_STAGES, run_stages
from flows.stages import collect, export, load, publish, validate
from invoices.documents.outcomes import sanitise_for_display
from invoices.errors import InvoicesError
from invoices.run_lock import AlreadyRunning
from invoices.run_report import RunReport
from invoices.settings import Settings

MAX_MESSAGE_CHARS = 1_000  # characters of a remark or a problem, which may quote documents and vendors


@flow(name="ingest-invoices")
def ingest_invoices() -> None:
    """Take every new document from its source to the books.

    1. Collect new documents from the sources.
    2. Extract: read e-invoices locally, submit the rest to an extraction API.
    3. Validate the candidates.
    4. Load them and publish the warehouse.
    5. Publish receipts.
    6. Export accounting files.
    7. Load the status of receipts and exports.
    """
    _run_stages_in_flow(ALL_STAGES)


@flow(name="collect-documents")
def collect_documents() -> None:
    """Collect new documents from the sources into the store and the ledger."""
    _run_stages_in_flow((collect,))


@flow(name="extract-invoices")
def extract_invoices() -> None:
    """Extract each new document: locally if it is an e-invoice, otherwise with an extraction API."""
    _run_stages_in_flow(EXTRACT_STAGES)


@flow(name="validate-candidates")
def validate_candidates() -> None:
    """Validate the extracted candidates against the rules."""
    _run_stages_in_flow((validate,))


@flow(name="judge-candidates")
def judge_candidates() -> None:
    """Validate as ``validate_candidates`` does: the old name, for deployments of the previous release."""
    _run_stages_in_flow((validate,))


@flow(name="load-warehouse")
def load_warehouse() -> None:
    """Load what changed into the warehouse and publish the copy for analysts."""
    _run_stages_in_flow((load,))


@flow(name="publish-receipts")
def publish_receipts() -> None:
    """Publish accepted invoices as receipts, then load their status."""
    _run_stages_in_flow((publish, load))


@flow(name="export-batches")
def export_batches() -> None:
    """Write the accounting files, then load which invoice is in which batch."""
    _run_stages_in_flow((export, load))


@task(cache_policy=NO_CACHE, persist_result=False, retries=0)
def process_batch(process: Callable[[], None]) -> None:
    """Process one batch."""
    process()


def _run_stages_in_flow(stages: Sequence[ModuleType]) -> None:
    """Run the stages with each batch as a task; an active run elsewhere is no failure, problems are.

    Remarks and problems go to the worker's terminal and not into Prefect's database.
    """
    logger = get_run_logger()
    report = RunReport()
    with open_app(Settings.load()) as app:
        if app.is_rehearsal:
            logger.warning("Rehearsal: no vendor key is set, so the sandbox stands in for every remote API.")
        try:
            run_stages(
                app, stages, report, lambda name, process: process_batch.with_options(task_run_name=name)(process)
            )
        except AlreadyRunning as already_running:
            logger.info("%s", already_running)
            return
    logger.info(
        "%s, %s, verdicts %s, receipts %s, %s",
        format_count(report.new_documents, "new document"), format_count(report.paid_calls, "paid call"),
        dict(report.verdicts), dict(report.receipt_statuses),
        format_count(report.exported_invoices, "exported invoice"),
    )  # fmt: skip
    for message in (*report.remarks, *report.problems):
        print(sanitise_for_display(message, MAX_MESSAGE_CHARS), file=sys.stderr)  # noqa: T201
    if report.problems:
        raise InvoicesError(
            f"{format_count(len(report.problems), 'problem')}: see the worker's output, or run: invoices status"
        )
