"""The house: rehearsal and real life never mix, one run at a time, and a home that cannot be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.checking import examine
from invoices.errors import ConfigurationError
from invoices.house import AlreadyRunning, House
from invoices.settings import Settings

HOLD = """
import sys
from pathlib import Path
from invoices.house import House
from invoices.settings import Settings

with House(Settings(home=Path(sys.argv[1])), vendors=lambda closing: None) as house, house.exclusively():
    print("inside", flush=True)
    sys.stdin.read()
"""


def opened(settings: Settings) -> House:
    return House(settings, vendors=lambda _closing: settings)


def real(home: Settings) -> Settings:
    return Settings(home=home.home, smartbills_com={"api_key": "sk-live"}, smartbills_io={"api_key": "sk-io"})  # type: ignore[arg-type]  # pydantic converts


def hold(settings: Settings) -> subprocess.Popen[str]:
    """Return a process that is inside the house."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(settings.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    return process


def work(settings: Settings) -> None:
    """Do as a run does: work in the house, alone."""
    with opened(settings) as house, house.exclusively():
        house.claim()


def test_looking_into_a_house_does_not_decide_what_it_is_for(home: Settings) -> None:
    opened(home).close()
    work(real(home))


def test_a_rehearsed_house_refuses_real_settings_and_keeps_its_rows(home: Settings) -> None:
    work(home)
    with pytest.raises(ConfigurationError, match=r"holds a rehearsal.*keys are set.*INVOICES_HOME"):
        work(real(home))
    opened(real(home)).close()


def test_a_real_house_refuses_to_rehearse(home: Settings) -> None:
    work(real(home))
    with pytest.raises(ConfigurationError, match=r"holds real books, and no vendor key is set"):
        work(home)


def test_a_house_of_the_other_kind_is_not_planned_for_and_the_doctor_says_so(home: Settings) -> None:
    work(real(home))
    with opened(home) as house, pytest.raises(ConfigurationError, match="set the keys"):
        house.check_kind()
    (kind,) = (check for check in examine(home) if check["name"] == "kind")
    assert not kind["ok"]
    assert "no vendor key is set" in kind["detail"]


def test_a_house_of_its_own_kind_or_of_none_yet_is_planned_for(home: Settings) -> None:
    with opened(home) as house:
        house.check_kind()
    work(home)
    with opened(home) as house:
        house.check_kind()
    assert "kind" not in {check["name"] for check in examine(home)}


def test_one_real_key_makes_a_house_real(home: Settings) -> None:
    half = Settings(home=home.home, smartbills_io={"api_key": "sk-io"})  # type: ignore[arg-type]  # pydantic converts
    with opened(half) as house, house.exclusively():
        house.claim()
        assert house.smartbills_io is not None
        assert house.asking.order == []
    with pytest.raises(ConfigurationError):
        work(home)


def test_clients_and_budgets_follow_the_settings_and_show_no_key(home: Settings) -> None:
    settings = real(home).model_copy(update={"vendor_minute_seconds": 6.0})
    with opened(settings) as house:
        assert "sk-" not in f"{house.smartbills_io!r} {house.asking!r} {house.buckets!r}"
        assert house.asking.order == ["smartbills_com"]
        assert house.smartbills_io_budget.scale == 0.1
        assert house.smartbills_io_budget is house.smartbills_io_budget


def test_without_a_key_there_is_no_client(house: House) -> None:
    assert house.asking.order == []
    assert house.smartbills_io is None
    assert house.smartbills_io_budget.scale == 1.0


def test_what_the_vendors_need_is_closed_with_the_house(home: Settings) -> None:
    closed: list[str] = []

    def vendors(closing: object) -> Settings:
        closing.callback(closed.append, "sandbox")  # type: ignore[attr-defined]  # an ExitStack
        return home

    with House(home, vendors) as house:
        assert house.vendor_settings is home
        assert house.readers is house.readers
        assert closed == []
    assert closed == ["sandbox"]


def test_a_second_process_is_told_who_is_at_work_and_since_when(home: Settings, house: House) -> None:
    process = hold(home)
    try:
        with pytest.raises(AlreadyRunning, match=rf"process {process.pid} since 20\d\d-\d\d-\d\d"), house.exclusively():
            pytest.fail("two are inside")
    finally:
        process.communicate("", timeout=30)
    with house.exclusively():
        pass


def test_the_lock_ends_with_a_killed_process(home: Settings, house: House) -> None:
    process = hold(home)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    with house.exclusively():
        assert str(os.getpid()) in (home.home / "run.lock").read_text()


def test_the_same_process_does_not_enter_twice(house: House) -> None:
    with house.exclusively(), pytest.raises(AlreadyRunning), house.exclusively():
        pytest.fail("twice inside")
    with house.exclusively():
        pass


def test_a_failure_inside_lets_go_of_the_lock(house: House) -> None:
    with pytest.raises(ZeroDivisionError), house.exclusively():
        _ = 1 / 0
    with house.exclusively():
        pass


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "home", Path("/proc/nothing/home")):
        with pytest.raises(ConfigurationError) as caught:
            opened(Settings(home=place))
        assert repr(str(place)) in str(caught.value)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_home_without_the_right_to_write_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        opened(Settings(home=tmp_path / "home"))
    tmp_path.chmod(0o700)


def test_what_is_made_is_for_its_owner_only(home: Settings, house: House) -> None:
    with house.exclusively():
        house.store.put(b"secret")
    for place in (home.home, home.documents_directory):
        assert place.stat().st_mode & 0o077 == 0
