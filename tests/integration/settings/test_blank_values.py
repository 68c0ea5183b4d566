"""An empty variable, a blank key and an empty secret file count as not set, so that no home becomes a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from invoices.errors import ConfigurationError
from invoices.settings import EXTRACTORS, PAID_EXTRACTORS, Settings

VENDORS = (*PAID_EXTRACTORS, "smartbills_io")


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("blank", ["", "  ", "\t\r\n"])
def test_a_blank_key_is_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: str, blank: str) -> None:
    (tmp_path / "blank").write_text(blank)
    empty_file, key_file = tmp_path / "empty.toml", tmp_path / "key.toml"
    empty_file.write_text("")
    key_file.write_text(f"[{vendor}]\napi_key = {blank!r}\n".replace("'", '"'))
    assert Settings.load(key_file).is_rehearsal
    monkeypatch.setenv(f"INVOICES_{vendor.upper()}__API_KEY", blank)
    assert Settings.load(empty_file).is_rehearsal
    monkeypatch.setenv(f"INVOICES_{vendor.upper()}__API_KEY_FILE", str(tmp_path / "blank"))
    assert Settings.load(empty_file).is_rehearsal
    monkeypatch.setenv(f"INVOICES_{vendor.upper()}__API_KEY_FILE", blank)
    assert Settings.load(empty_file).is_rehearsal


def test_an_empty_variable_hides_neither_a_secret_file_nor_the_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("from-file\n")
    file = tmp_path / "invoices.toml"
    file.write_text('home = "books"\nextractors = ["einvoice"]\n[smartbills_io]\ntenant_id = "7"\n')
    monkeypatch.setenv("INVOICES_SMARTBILLS_IO__API_KEY", "")
    monkeypatch.setenv("INVOICES_SMARTBILLS_IO__API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("INVOICES_SMARTBILLS_IO__TENANT_ID", " ")
    monkeypatch.setenv("INVOICES_HOME", "")
    settings = Settings.load(file)
    assert settings.smartbills_io.api_key is not None
    assert settings.smartbills_io.api_key.get_secret_value() == "from-file"
    assert (settings.smartbills_io.tenant_id, settings.home.name) == ("7", "books")


def test_an_empty_variable_leaves_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "LEDGER_URL", "EXTRACTORS", "BATCH_SIZE", "COMPANY__TAX_IDS", "MAILBOXES", "BILLFLOWAI"):
        monkeypatch.setenv(f"INVOICES_{name}", "")
    settings = Settings.load()
    assert settings == Settings()
    assert (settings.home, settings.extractors) == (tmp_path / "data", EXTRACTORS)


def test_an_empty_variable_of_an_unknown_name_is_still_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOICES_HOEM", "")
    with pytest.raises(ConfigurationError, match="INVOICES_HOEM"):
        Settings.load()


def test_white_space_around_a_key_is_no_part_of_it(tmp_path: Path) -> None:
    file = tmp_path / "invoices.toml"
    file.write_text('[smartbills_com]\napi_key = " sk_live_1\\n"\n')
    api_key = Settings.load(file).smartbills_com.api_key
    assert api_key is not None
    assert api_key.get_secret_value() == "sk_live_1"


def test_a_blank_password_is_no_password(tmp_path: Path) -> None:
    file = tmp_path / "invoices.toml"
    file.write_text('[[mailboxes]]\nname = "ap"\nhost = "imap.example.org"\nusername = "u"\npassword = " "\n')
    with pytest.raises(ConfigurationError, match="exactly one of password"):
        Settings.load(file)
