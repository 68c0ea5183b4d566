"""The benchmark of intake can be run; its figures are for people, and for a machine at rest."""

from __future__ import annotations

import pytest

from tests.bench import intake

pytestmark = pytest.mark.unmeasured


@pytest.mark.usefixtures("dovecot_program")
def test_a_quick_benchmark_of_intake_has_every_figure() -> None:
    figures = intake.measured(quick=True)
    assert "beside a bare loop" in intake.table(figures)
    assert [(one.case.messages, one.ratio > 0) for one in figures.beside] == [(20, True)]
    assert [(one.known, one.first_seconds > 0) for one in figures.nothing_new] == [(20, True), (20, True)]
