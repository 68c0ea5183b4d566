"""Odd answers: when the vendor is stopped, and when a single job is given up."""

from __future__ import annotations

from invoices.extraction.patience.oddities import MOST, Oddities


def test_as_many_odd_answers_in_a_row_stop_the_vendor_whatever_jobs_they_are_about() -> None:
    oddities = Oddities()
    verdicts = [oddities.odd(f"job {number}", is_overdue=False) for number in range(MOST)]
    assert verdicts == ["look again"] * (MOST - 1) + ["stop the vendor"]


def test_a_job_is_given_up_once_others_are_understood_in_between() -> None:
    oddities = Oddities()
    verdicts = []
    for _ in range(MOST):
        verdicts.append(oddities.odd("poison", is_overdue=False))
        oddities.understood()
    assert verdicts == ["look again"] * (MOST - 1) + ["give up the job"]


def test_overdue_jobs_are_given_up_one_by_one_and_never_stop_the_vendor() -> None:
    oddities = Oddities()
    for job in ("one", "two", "three"):
        verdicts = [oddities.odd(job, is_overdue=True) for _ in range(MOST)]
        assert verdicts == ["look again"] * (MOST - 1) + ["give up the job"]


def test_answers_that_were_understood_are_counted() -> None:
    oddities = Oddities()
    oddities.odd("job", is_overdue=False)
    oddities.understood()
    assert oddities.answers == 1
