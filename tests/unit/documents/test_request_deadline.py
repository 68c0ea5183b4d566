"""A request is stopped for the time that it uses, and not for the time that passes."""

from __future__ import annotations

from dataclasses import dataclass, field

from invoices.documents.request_deadline import ProcessActivity, RequestDeadline


@dataclass(slots=True)
class FakeChild:
    """A child process and a clock, moved by the test."""

    now: float = 1_000.0
    cpu_seconds: float = 50.0  # of earlier requests
    is_runnable: bool = False
    deadline: RequestDeadline = field(init=False)

    def __post_init__(self) -> None:
        self.deadline = RequestDeadline(
            8.0, lambda: ProcessActivity(self.cpu_seconds, self.is_runnable), lambda: self.now
        )

    def pass_ticks(self, count: int, wall_seconds: float = 0.1, cpu_seconds: float = 0.0) -> None:
        for _ in range(count):
            self.deadline.start_tick()
            self.now += wall_seconds
            self.cpu_seconds += cpu_seconds
            self.deadline.count_tick(is_ready=False)


def test_a_child_that_does_nothing_for_the_allowed_seconds_is_stopped() -> None:
    child = FakeChild()
    child.pass_ticks(79)
    assert not child.deadline.is_expired
    child.pass_ticks(2)
    assert child.deadline.is_expired


def test_a_child_that_computes_for_the_allowed_seconds_is_stopped() -> None:
    child = FakeChild(is_runnable=True)
    child.pass_ticks(80, cpu_seconds=0.1)
    assert not child.deadline.is_expired
    child.pass_ticks(2, cpu_seconds=0.1)
    assert child.deadline.is_expired


def test_a_child_that_waits_for_a_processor_on_a_busy_machine_goes_on_but_not_for_ever() -> None:
    child = FakeChild(is_runnable=True)
    child.pass_ticks(800, cpu_seconds=0.005)
    assert not child.deadline.is_expired
    child.pass_ticks(801)
    assert child.deadline.is_expired


def test_hours_of_suspension_do_not_count() -> None:
    child = FakeChild()
    child.pass_ticks(10)
    for _ in range(20):  # the lid is closed and opened twenty times
        child.pass_ticks(1, wall_seconds=3_600)
    assert not child.deadline.is_expired


def test_time_in_which_the_child_keeps_sending_is_bounded_too() -> None:
    child, started = FakeChild(), 1_000.0
    while not child.deadline.is_expired:
        child.deadline.start_tick()
        child.now += 0.09
        child.deadline.count_tick(is_ready=True)
    assert 159 < child.now - started < 161
