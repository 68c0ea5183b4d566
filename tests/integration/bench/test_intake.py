"""The intake benchmark runs; its figures mean something only on a machine at rest."""

from __future__ import annotations

import pytest

from tests.bench import intake

pytestmark = pytest.mark.soak


@pytest.mark.usefixtures("dovecot_program")
def test_a_quick_intake_benchmark_has_every_figure() -> None:
    figures = intake.run_benchmark(quick=True)
    assert "compared with a bare loop" in intake.render_table(figures)
    assert [(measurement.case.messages, measurement.ratio > 0) for measurement in figures.beside] == [(20, True)]
    assert [(measurement.known, measurement.first_seconds > 0) for measurement in figures.nothing_new] == [
        (20, True),
        (20, True),
    ]
