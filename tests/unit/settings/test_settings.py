"""The settings object: it shows no secret and cannot be changed."""

from __future__ import annotations

import pytest

from invoices.settings import Settings

SECRET = "sk-live-0123456789"


def test_neither_repr_nor_str_shows_a_secret() -> None:
    settings = Settings(
        smartbills_com={"api_key": SECRET}, smartbills_io={"api_key": SECRET}, ledger_url=f"postgresql://me:{SECRET}@db/x"
    )  # fmt: skip
    displayed = f"{settings!r} {settings} {settings.smartbills_com!r} {settings.smartbills_io} {settings.model_dump()}"
    assert SECRET not in displayed
    assert SECRET not in settings.model_dump_json()


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().batch_size = 2


@pytest.mark.parametrize("home", ["/in/a?b=c", "/in/100%", "/in/year=2026", "/in/O'Brien", "/in/a\nb", "/in/\udcff"])
def test_a_home_that_a_database_would_misread_is_refused(home: str) -> None:
    with pytest.raises(ValueError, match="home"):
        Settings(home=home)


def test_a_home_can_have_spaces_accents_and_punctuation() -> None:
    assert str(Settings(home='/in/Büro #1 & "Söhne" [x] {y}').home).startswith("/in/Büro #1")
