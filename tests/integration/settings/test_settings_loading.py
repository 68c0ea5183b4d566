"""Settings: the order of file, environment and secret files, what is refused, and that no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from invoices.errors import ConfigurationError
from invoices.settings import EXTRACTORS, Settings

SECRET = "sk-live-0123456789"


def write_config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "invoices.toml"
    path.write_text(text, encoding="utf-8")
    return path


def get_error_message(file: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as error_info:
        Settings.load(file)
    return str(error_info.value)


def test_without_a_file_the_defaults_apply_and_a_run_is_a_rehearsal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.load()
    assert settings.home == tmp_path / "data"
    assert settings.extractors == EXTRACTORS
    assert settings.inbox_directory == tmp_path / "data" / "inbox"
    assert settings.effective_ledger_url == f"sqlite:///{tmp_path}/data/ledger.sqlite"
    assert settings.is_rehearsal


def test_the_file_in_the_working_directory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(tmp_path, 'batch_size = 7\n[inbox]\nname = "scans"\n')
    monkeypatch.chdir(tmp_path)
    settings = Settings.load()
    assert (settings.batch_size, settings.inbox.name) == (7, "scans")


def test_the_environment_overrides_the_file_name_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_config(tmp_path, '[smartbills_io]\ncustomer_email = "a@example.org"\ntenant_id = "t-file"\n')
    monkeypatch.setenv("INVOICES_SMARTBILLS_IO__CUSTOMER_EMAIL", "b@example.org")
    part = Settings.load(file).smartbills_io
    assert (part.customer_email, part.tenant_id) == ("b@example.org", "t-file")


def test_a_secret_can_come_from_a_file_without_its_line_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(SECRET + "\n")
    monkeypatch.setenv("INVOICES_SMARTBILLS_COM__API_KEY_FILE", str(tmp_path / "key"))
    settings = Settings.load(write_config(tmp_path, '[smartbills_com]\napi_key = "old"\nplan = "pro"\n'))
    assert settings.smartbills_com.api_key is not None
    assert settings.smartbills_com.api_key.get_secret_value() == SECRET
    assert settings.smartbills_com.plan == "pro"
    assert not settings.is_rehearsal


def test_a_secret_in_a_variable_overrides_one_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("from-file")
    monkeypatch.setenv("INVOICES_SMARTBILLS_IO__API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("INVOICES_SMARTBILLS_IO__API_KEY", "outright")
    key = Settings.load(write_config(tmp_path, "")).smartbills_io.api_key
    assert key is not None
    assert key.get_secret_value() == "outright"


def test_the_ledger_url_can_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("sqlite:///elsewhere.sqlite\n")
    monkeypatch.setenv("INVOICES_LEDGER_URL_FILE", str(tmp_path / "url"))
    assert Settings.load(write_config(tmp_path, "")).effective_ledger_url == "sqlite:///elsewhere.sqlite"


def test_a_missing_secret_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOICES_SMARTBILLS_COM__API_KEY_FILE", str(tmp_path / "absent"))
    text = get_error_message(write_config(tmp_path, ""))
    assert "INVOICES_SMARTBILLS_COM__API_KEY_FILE" in text
    assert "absent" in text


@pytest.mark.parametrize("text", ["batchsize = 5", "[smartbills_com]\napi_keey = 'x'", "[inbx]\nname = 'a'"])
def test_an_unknown_name_in_the_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    message = get_error_message(write_config(tmp_path, text))
    assert any(name in message for name in ("batchsize", "api_keey", "inbx"))


@pytest.mark.parametrize("name", ["INVOICES_SMARTBILLS_COM__API_KEEY", "INVOICES_HOEM", "INVOICES_SMARTBILS_COM__PLAN"])
def test_an_unknown_name_in_the_environment_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, SECRET)
    message = get_error_message(write_config(tmp_path, ""))
    assert name in message or name.removeprefix("INVOICES_").lower().replace("__", ".") in message
    assert SECRET not in message


def test_the_variable_of_the_tests_is_no_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOICES_CORPUS", str(tmp_path))
    assert Settings.load(write_config(tmp_path, "")).is_rehearsal


def test_every_mistake_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOICES_READING__WORKERS", "0")
    message = get_error_message(
        write_config(tmp_path, 'batch_size = "many"\n[smartbills_com]\nplan = "gold"\n[inbox]\nname = "My Box"\n')
    )
    for name in ("batch_size", "smartbills_com.plan", "inbox.name", "reading.workers"):
        assert name in message
    assert "nothing was touched" in message


@pytest.mark.parametrize(
    "text",
    [
        f"[smartbills_com]\napi_key = [{SECRET!r}]",
        f"[smartbills_com]\napi_key = {SECRET!r}\nplan = 'gold'",
        f"[smartbills_com]\napi_key = {SECRET!r}\napi_key = {SECRET!r}",
        f"ledger_url = ['postgresql://me:{SECRET}@db/x']",
    ],
)
def test_no_complaint_repeats_a_secret(tmp_path: Path, text: str) -> None:
    assert SECRET not in get_error_message(write_config(tmp_path, text))


def test_a_table_given_as_broken_json_in_the_environment_is_refused_without_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOICES_SMARTBILLS_COM", '{"api_key": "' + SECRET)
    message = get_error_message(write_config(tmp_path, ""))
    assert "smartbills_com" in message
    assert SECRET not in message


def test_a_secret_file_for_a_whole_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(SECRET)
    monkeypatch.setenv("INVOICES_SMARTBILLS_COM_FILE", str(tmp_path / "key"))
    message = get_error_message(write_config(tmp_path, ""))
    assert "smartbills_com" in message.lower()
    assert SECRET not in message


def test_extractors_are_a_list_with_commas_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOICES_EXTRACTORS", " smartbills_com , einvoice,")
    assert Settings.load(write_config(tmp_path, "")).extractors == ("smartbills_com", "einvoice")


def test_extractors_are_a_list_in_the_file(tmp_path: Path) -> None:
    assert Settings.load(write_config(tmp_path, 'extractors = ["einvoice"]')).extractors == ("einvoice",)


@pytest.mark.parametrize("value", ["smartbils_com", ",", "einvoice,gold"])
def test_an_unknown_extractor_and_an_empty_list_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("INVOICES_EXTRACTORS", value)
    message = get_error_message(write_config(tmp_path, ""))
    assert "extractors" in message
    assert "choose from einvoice, invoicedataextraction_com, smartbills_com, billflowai" in message


@pytest.mark.parametrize("content", [b"batch_size = ", b"\xff\xfe", b'a = 1\na = "2"'])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    assert "broken.toml" in get_error_message(path)


def test_a_file_named_on_the_command_line_must_exist(tmp_path: Path) -> None:
    assert "absent.toml" in get_error_message(tmp_path / "absent.toml")


def test_a_vendors_minute_can_be_shortened_but_not_lengthened(tmp_path: Path) -> None:
    assert Settings.load(write_config(tmp_path, "vendor_minute_seconds = 0.5")).vendor_minute_seconds == 0.5
    assert "vendor_minute_seconds" in get_error_message(write_config(tmp_path, "vendor_minute_seconds = 61"))


def test_the_home_can_start_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("INVOICES_HOME", "~/books")
    assert Settings.load(write_config(tmp_path, "")).home == tmp_path / "books"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[[folders]]\nname = "scans"\nurl = "/in"\npaht = "x"', "folders.'scans'.paht: there is no such setting"),
        ('[[folders]]\nname = "scans"\nurl = "/in"\npattern = "*.pdf"', "folders.'scans'.pattern: must be a list"),
        ('[[folders]]\nname = "Scans"\nurl = "/in"', "folders.'Scans'.name: must match"),
        (
            '[[mailboxes]]\nname = "ap"\nhost = "imap.example.org"\nusername = "u"\npassword = "p"\nsecurity = "none"',
            "mailboxes.'ap': security 'none' is only for this machine",
        ),
        (
            '[[folders]]\nname = "a"\nurl = "/in"\n[[folders]]\nname = "a"\nurl = "/on"',
            "  several sources have the name 'a'",
        ),
    ],
)
def test_a_mistake_in_a_source_is_reported_with_the_name_of_the_source(
    tmp_path: Path, content: str, message: str
) -> None:
    assert message in get_error_message(write_config(tmp_path, content))


def test_a_missing_source_is_reported_with_the_existing_ones(tmp_path: Path) -> None:
    settings = Settings.load(write_config(tmp_path, '[[folders]]\nname = "scans"\nurl = "/in"'))
    assert [source.name for source in settings.with_only_source("scans").sources] == ["scans"]
    with pytest.raises(ConfigurationError, match="no source 'scan'; choose from 'scans'"):
        settings.with_only_source("scan")
