"""Stages that act outside: one worker on a ledger at a time, whichever home it works in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import update

from flows.runner import run_stages
from flows.stages import export, publish, validate
from invoices.app import App
from invoices.ledger.stage_lease_keeper import StageLeaseLost
from invoices.ledger.tables import stage_leases
from invoices.run_report import RunReport
from invoices.settings import Settings

OpenHome = Callable[[str], App]


@pytest.fixture
def open_home(tmp_path: Path) -> Iterator[OpenHome]:
    """Opens a home of this name; all have the same ledger."""
    with ExitStack() as exit_stack:

        def open_app(name: str) -> App:
            settings = Settings(home=tmp_path / name, ledger_url=f"sqlite:///{tmp_path / 'ledger.sqlite'}")
            return exit_stack.enter_context(App(settings, prepare_vendor_settings=lambda _exit_stack: settings))

        yield open_app


def expire_leases(app: App) -> None:
    with app.ledger.begin_transaction() as tx:
        tx.connection.execute(update(stage_leases).values(expires_at=tx.timestamp - dt.timedelta(seconds=1)))


@pytest.mark.parametrize("stage", [validate, publish, export])
def test_a_stage_that_another_home_works_on_is_left_to_it_with_a_remark(open_home: OpenHome, stage: object) -> None:
    first, second = open_home("first"), open_home("second")
    name = stage.__name__.rpartition(".")[2]  # type: ignore[attr-defined]  a module
    with first.hold_stage_lease(name):
        report = run_stages(second, (stage,), RunReport())  # type: ignore[arg-type]  a module
    assert [first.worker.name in remark and name in remark for remark in report.remarks] == [True]
    assert report.problems == []
    assert run_stages(second, (stage,), RunReport()).remarks == []  # type: ignore[arg-type]  a module


def test_a_worker_whose_stage_was_taken_over_records_and_sends_nothing(open_home: OpenHome) -> None:
    first, second = open_home("first"), open_home("second")
    with first.hold_stage_lease("publish"):
        expire_leases(first)
        with first.begin_leased_transaction("publish"):  # nobody has taken over: the lease is extended
            pass
        expire_leases(first)
        with second.hold_stage_lease("publish") as lease:
            assert lease is not None
            with pytest.raises(StageLeaseLost, match="publish"), first.begin_leased_transaction("publish"):
                pass
            with second.begin_leased_transaction("publish"):
                pass
    with second.hold_stage_lease("publish") as lease:
        assert lease is not None


def test_the_lease_of_a_dead_worker_of_this_home_ends_at_once(open_home: OpenHome) -> None:
    first, second = open_home("same"), open_home("same")
    with first.hold_stage_lease("export"):
        first.worker._lock_file.close()
        with second.hold_stage_lease("export") as lease:
            assert lease is not None


def test_nothing_is_recorded_without_a_lease(open_home: OpenHome) -> None:
    app = open_home("home")
    with pytest.raises(StageLeaseLost, match="does not have the lease"), app.begin_leased_transaction("export"):
        pass
    with pytest.raises(StageLeaseLost, match="does not have the lease"):
        app.require_valid_lease("export")


def test_before_a_request_the_lease_is_checked_even_if_the_process_was_suspended(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "a", ledger_url=f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    other_settings = settings.model_copy(update={"home": tmp_path / "b"})
    with (
        App(settings, prepare_vendor_settings=lambda _: settings) as app,
        App(other_settings, prepare_vendor_settings=lambda _: other_settings) as other,
        app.hold_stage_lease("publish"),
    ):
        app.require_valid_lease("publish")
        expire_leases(app)
        keeper = app.stage_lease_keeper
        keeper._deadlines["publish"] = 0.0
        app.require_valid_lease("publish")  # nobody has taken over
        expire_leases(app)
        keeper._deadlines["publish"] = 0.0
        with other.hold_stage_lease("publish"), pytest.raises(StageLeaseLost, match="suspended"):
            app.require_valid_lease("publish")
