"""The scenarios of the fault matrix: each fault at the first call of each route, and combinations of faults."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.e2e.faults import (
    FAULTS_AFTER_WORK,
    FAULTS_BEFORE_WORK,
    LARGE_BODY_FAULTS,
    RATE_LIMIT_FAULTS,
    build_error_fault,
    build_replacement_fault,
)
from tests.servers.fault_proxy import Fault, PlannedFault

ROUTES = {
    "smartbills_com": {
        "submit": r"POST /v1/invoices/extract", "poll": r"GET /v1/invoices/[^/]+", "list": r"GET /v1/invoices",
        "file": r"GET /files/.*",
    },
    "invoicedataextraction_com": {
        "balance": r"GET /v1/credits/balance", "session": r"POST /v1/uploads/sessions",
        "parts": r"POST /v1/uploads/sessions/[^/]+/parts", "put": r"PUT /storage/.*",
        "complete": r"POST /v1/uploads/sessions/[^/]+/complete", "submit": r"POST /v1/extractions",
        "poll": r"GET /v1/extractions/[^/]+", "results": r"GET /v1/extractions/[^/]+/results",
        "output": r"GET /v1/extractions/[^/]+/output", "download": r"GET /storage/.*", "list": r"GET /v1/extractions",
    },
    "billflowai": {"read": r"POST /api/extract-invoice-file"},
}  # fmt: skip
READ_ROUTES = {  # reads that cost nothing
    "smartbills_com": ("poll", "list", "file"),
    "invoicedataextraction_com": ("balance", "poll", "results", "output", "download"),
}
ALL_CALLS = range(1, 10_000)


def _replace_job_id(body: bytes) -> bytes:
    """Return a response body with the id of another job."""
    return re.sub(rb'("(?:extraction_)?id": ?"(?:inv_)?)(.)', rb"\g<1>9", body)


LOST_RESPONSE = FAULTS_AFTER_WORK["response lost"]
OTHER_JOB_FAULT = Fault(
    "another one", alter_response=lambda response: replace(response, body=_replace_job_id(response.body))
)
WRONG_ETAG_FAULT = Fault(
    "a wrong ETag", alter_response=lambda response: replace(response, headers={**response.headers, "ETag": '"wrong"'})
)


@dataclass(frozen=True, slots=True)
class FaultScenario:
    """The faults at a vendor's routes, the sandbox settings, and the allowed results beyond the usual ones."""

    vendor: str
    name: str
    planned_faults: Mapping[str, PlannedFault]
    sandbox_settings: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    allowed_quarantine_codes: Container[str] = ()  # of documents that may be quarantined
    may_repeat: bool = False  # unanswered documents may be charged twice if flagged

    def __str__(self) -> str:
        return f"{self.vendor}: {self.name}"


def get_preconditions(vendor: str, route: str) -> tuple[dict[str, PlannedFault], dict[str, object]]:
    """Return the faults and sandbox settings without which a route is not called at all."""
    if (vendor, route) in (("smartbills_com", "list"), ("smartbills_com", "file")):
        return {"submit": PlannedFault(LOST_RESPONSE)}, {}
    if route in ("output", "download"):
        return {}, {"missing_outputs": "results"}
    return {}, {}


def generate_single_faults() -> Iterator[FaultScenario]:
    """Yield each fault at the first call of each route."""
    for vendor, routes in ROUTES.items():
        for route in routes:
            if (vendor, route) == ("invoicedataextraction_com", "list"):
                continue
            faults: dict[str, Fault] = {**FAULTS_BEFORE_WORK, **FAULTS_AFTER_WORK}
            faults |= RATE_LIMIT_FAULTS if route in ("submit", "poll", "read", "put") else {}
            faults |= LARGE_BODY_FAULTS if route in ("poll", "read") else {}
            if route in ("file", "put", "download", "results"):
                del faults["slow"]  # takes too long for large bodies
            preconditions, sandbox_settings = get_preconditions(vendor, route)
            for name, fault in faults.items():
                yield FaultScenario(
                    vendor, f"{route}: {name}", {**preconditions, route: PlannedFault(fault)}, sandbox_settings,
                    may_repeat=vendor == "billflowai" or route in ("list", "file"),
                )  # fmt: skip


def generate_garbled_read_scenarios() -> Iterator[FaultScenario]:
    """Yield garbled responses with status 200 to three of four calls: of each read route, and of all at once."""
    garbled_calls = [call for call in range(1, 100) if call % 4]
    for vendor, routes in READ_ROUTES.items():
        for name in ("login page", "response cut", "response cut, without a length", "empty object", "a list", "NaN"):
            fault = PlannedFault(FAULTS_AFTER_WORK[name], garbled_calls)
            for route in routes:
                preconditions, sandbox_settings = get_preconditions(vendor, route)
                yield FaultScenario(
                    vendor, f"garbled {route}: {name}", {**preconditions, route: fault}, sandbox_settings
                )
            yield FaultScenario(vendor, f"all garbled: {name}", dict.fromkeys(routes[:3], fault))


def generate_special_scenarios() -> Iterator[FaultScenario]:
    """Yield scenarios with faults at several calls, and those of a single vendor."""
    entry_routes = {"smartbills_com": "submit", "invoicedataextraction_com": "submit", "billflowai": "read"}
    for vendor, route in entry_routes.items():
        for name in ("503, nothing done", "500, nothing done", "response lost", "429 without a wait"):
            fault = {**FAULTS_BEFORE_WORK, **FAULTS_AFTER_WORK, **RATE_LIMIT_FAULTS}[name]
            # A lost submission is repeated once; if that is lost as well, the document is quarantined.
            quarantine_codes = (
                {"outcome_unknown"} if "429" not in name and vendor != "invoicedataextraction_com" else set()
            )
            may_repeat = vendor == "billflowai" or "nothing done" in name
            yield FaultScenario(
                vendor, f"every second {route}: {name}", {route: PlannedFault(fault, range(1, 100, 2))},
                may_repeat=may_repeat, allowed_quarantine_codes=quarantine_codes,
            )  # fmt: skip
        for status in ("401", "402", "403"):
            yield FaultScenario(
                vendor, f"second {route}: {status}", {route: PlannedFault(FAULTS_BEFORE_WORK[status], (2,))}
            )
    for vendor in ("smartbills_com", "invoicedataextraction_com"):
        replacement_statuses = {"an unknown status": b'"archiving"', "processing after completed": b'"processing"'}
        for name, status_text in replacement_statuses.items():
            yield FaultScenario(
                vendor,
                f"poll: {name}",
                {"poll": PlannedFault(build_replacement_fault(name, b'"completed"', status_text), (1, 3, 4))},
            )
        never_ending = PlannedFault(build_replacement_fault("never ends", b'"completed"', b'"processing"'), ALL_CALLS)
        yield FaultScenario(
            vendor, "poll: never ends", {"poll": never_ending},
            settings={"deadline_minutes": 0.5}, allowed_quarantine_codes={"extraction_stuck"},
        )  # fmt: skip
        not_found = PlannedFault(
            build_error_fault("404", 404, b'{"error": {"code": "NOT_FOUND"}}', "application/json"), (1,)
        )
        yield FaultScenario(
            vendor, "poll: 404 for a known id", {"poll": not_found}, allowed_quarantine_codes={"extraction_lost"}
        )
        yield FaultScenario(
            vendor, "poll: the response about another one", {"poll": PlannedFault(OTHER_JOB_FAULT, (1, 2))}
        )
    yield from _generate_upload_scenarios()
    yield from _generate_unknown_outcome_scenarios()


def _generate_upload_scenarios() -> Iterator[FaultScenario]:
    """Yield faults of presigned URLs and downloads."""
    vendor = "invoicedataextraction_com"
    expired = build_error_fault(
        "expired", 403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    )
    skewed = build_error_fault("skewed", 403, b"<Error><Code>RequestTimeTooSkewed</Code></Error>")
    error_with_status_200 = build_error_fault("200 and an error", 200, b"<Error><Code>InternalError</Code></Error>")
    failed = build_error_fault(
        "failed", 502, b'{"success": false, "error": {"code": "UPLOAD_COMPLETE_FAILED"}}', "application/json"
    )
    for route, fault, calls in (
        ("put", expired, (1, 3)), ("put", skewed, (1,)), ("put", error_with_status_200, (1,)),
        ("put", error_with_status_200, ALL_CALLS[:8]), ("put", WRONG_ETAG_FAULT, (1, 2)),
        ("complete", failed, (1, 2, 3)), ("download", expired, (1,)),
    ):  # fmt: skip
        _, sandbox_settings = get_preconditions(vendor, route)
        yield FaultScenario(
            vendor,
            f"{route}: {fault.name} at {len(calls)} calls",
            {route: PlannedFault(fault, calls)},
            sandbox_settings,
        )


def _generate_unknown_outcome_scenarios() -> Iterator[FaultScenario]:
    """Yield lost responses that cannot be looked up."""
    lost_once, lost_always = PlannedFault(LOST_RESPONSE), PlannedFault(LOST_RESPONSE, (1, 2, 3, 4, 5, 6))
    yield FaultScenario(
        "smartbills_com", "lost, and no list", {"submit": lost_once}, {"list_route": "off"}, may_repeat=True
    )
    yield FaultScenario(
        "smartbills_com", "all lost, and no list", {"submit": lost_always}, {"list_route": "off"},
        may_repeat=True, allowed_quarantine_codes={"outcome_unknown"},
    )  # fmt: skip
    for vendor, route, sandbox_settings in (
        ("smartbills_com", "submit", {"list_route": "off"}), ("billflowai", "read", {"source": "extracted"}),
    ):  # fmt: skip
        yield FaultScenario(
            vendor, "lost, and repeats are off", {route: lost_once}, sandbox_settings,
            settings={"repeat_after_unknown": False}, allowed_quarantine_codes={"outcome_unknown"},
        )  # fmt: skip
    for source in ("auto", "extracted"):
        yield FaultScenario(
            "billflowai", f"all lost, source {source}", {"read": lost_always}, {"source": source},
            may_repeat=True, allowed_quarantine_codes={"outcome_unknown"},
        )  # fmt: skip
