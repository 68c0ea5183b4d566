"""Names and types of the parts of a mail: rows B-01 to B-08 of docs/bad-inputs.md."""

from __future__ import annotations

import pytest

from invoices.documents.containers.mail import open_mail
from invoices.documents.containers.opened_container import ContainerPart
from tests.unit.documents.containers.mail_builder import (
    PDF_CONTENT,
    PROGRAM_CONTENT,
    build_mail,
    build_named_attachment,
    build_part,
)


def get_only_part(*parts: bytes) -> ContainerPart:
    opened_mail, contents = open_mail(build_mail(*parts))
    assert len(opened_mail.parts) == len(contents) == 1
    return opened_mail.parts[0]


def get_rule_ids(part: ContainerPart) -> set[str]:
    return {flag.rule_id for flag in part.flags}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        pytest.param(b'"../../../../etc/cron.d/x.pdf"', "../../../../etc/cron.d/x.pdf", id="B-01-path"),
        pytest.param(b'"=?utf-8?q?..=2F..=2Fx.pdf?="', "../../x.pdf", id="B-01-RFC-2047"),
        pytest.param(b'"/etc/passwd"', "/etc/passwd", id="B-02-absolute"),
        pytest.param(b'"C:\\\\Windows\\\\x.pdf"', "C:\\Windows\\x.pdf", id="B-02-Windows"),
        pytest.param(b'"\\\\\\\\host\\\\share\\\\x.pdf"', "\\\\host\\share\\x.pdf", id="B-02-share"),
        pytest.param(b'"-rf"', "-rf", id="B-05-option"),
        pytest.param(b'"CON"', "CON", id="B-05-device"),
        pytest.param(b'"."', ".", id="B-05-dot"),
        pytest.param(b'"x.pdf. "', "x.pdf. ", id="B-05-trailing"),
        pytest.param(b'""', None, id="B-05-empty"),
        pytest.param(b'"' + b"n" * 10_000 + b'"', "n" * 255, id="B-05-long"),
        pytest.param(b'"Rechnung=?utf-8?Q?_M=C3=A4rz?=.pdf"', "Rechnung März.pdf", id="encoded-word-within"),
        pytest.param("Überweisung.pdf".encode(), "Überweisung.pdf", id="raw-UTF-8"),
        pytest.param("Überweisung.pdf".encode("latin-1"), "Überweisung.pdf", id="raw-Latin-1"),
        pytest.param(b"=?x-nowhere?q?a=C3=A9.pdf?=", "aé.pdf", id="unknown-charset"),
        pytest.param(b"=?utf-8?b?YS5wZGY?=", "a.pdf", id="no-padding"),
    ],
)
def test_a_name_is_only_text(written: bytes, name: str | None) -> None:
    mail_part = get_only_part(build_named_attachment(written))
    assert (mail_part.file_name, mail_part.media_type) == (name, "application/pdf")
    assert "INTAKE-TYPE" not in get_rule_ids(mail_part)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        pytest.param(b"filename*=utf-8''..%2F..%2Fx.pdf", "../../x.pdf", id="B-01-RFC-2231"),
        pytest.param(b"filename*0*=utf-8'de'M%C3%A4; filename*1=\"rz.pdf\"", "März.pdf", id="continued"),
        pytest.param(b"filename*1=b.pdf; filename*0=a", "ab.pdf", id="continued-in-disorder"),
        pytest.param(b"filename*=x-nowhere''a%C3%A9.pdf", "aé.pdf", id="unknown-charset"),
        pytest.param(b"filename*=utf\0-8''a.pdf", "a.pdf", id="charset-with-NUL"),
        pytest.param(b"filename*=a.pdf; filename*0=b.pdf", "a.pdf", id="contradictory"),
        pytest.param(b"filename*%s=a.pdf" % (b"9" * 5000), "a.pdf", id="absurd-number"),
        pytest.param(b"filename=a.pdf; x=" + b";" * 200_000, "a.pdf", id="many-semicolons"),
        pytest.param(b"x=y;" * 200 + b"filename=a.pdf", None, id="too-many-parameters"),
    ],
)
def test_parameters_of_rfc_2231_are_decoded_or_ignored(parameters: bytes, name: str | None) -> None:
    mail_part = get_only_part(
        build_part(PDF_CONTENT, b"Content-Type: application/pdf\r\nContent-Disposition: attachment; " + parameters)
    )
    assert mail_part.file_name == name


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("invoice\u202efdp.exe", PROGRAM_CONTENT, id="B-03-right-to-left"),
        pytest.param("inv\u200boice.pdf", PDF_CONTENT, id="B-03-zero-width"),
        pytest.param("inv\u043eice.pdf", PDF_CONTENT, id="B-03-homoglyph"),
        pytest.param("a\x1b[31m.pdf", PDF_CONTENT, id="B-04-escape"),
        pytest.param("a.pdf\x00", PDF_CONTENT, id="B-04-NUL"),
        pytest.param("invoice.pdf.exe", PROGRAM_CONTENT, id="double-extension"),
        pytest.param("invoice.pdf", PROGRAM_CONTENT, id="program-as-pdf"),
        pytest.param("invoice.png", PDF_CONTENT, id="pdf-as-png"),
    ],
)
def test_a_deceptive_name_is_flagged(name: str, content: bytes) -> None:
    mail_part = get_only_part(build_named_attachment(b'"' + name.encode() + b'"', content, b"application/octet-stream"))
    assert mail_part.file_name == name
    assert get_rule_ids(mail_part) == {"INTAKE-NAME"}


def test_b_04_line_ends_in_a_name_do_not_start_a_header() -> None:
    mail_part = get_only_part(build_named_attachment(b'"=?utf-8?q?a=0D=0ABcc:_x=40y.example.pdf?="'))
    assert mail_part.file_name == "a\r\nBcc: x@y.example.pdf"
    assert get_rule_ids(mail_part) == {"INTAKE-NAME"}


def test_b_06_the_first_of_two_names_counts_and_different_types_are_flagged() -> None:
    first, second = (
        get_only_part(build_named_attachment(b"a.pdf; filename=b.pdf")),
        get_only_part(build_named_attachment(b"a.pdf; filename=b.exe")),
    )
    assert (first.file_name, get_rule_ids(first)) == ("a.pdf", set())
    assert (second.file_name, get_rule_ids(second)) == ("a.pdf", {"INTAKE-NAME"})


def test_b_06_the_name_of_the_content_type_is_used() -> None:
    mail_part = get_only_part(build_part(PDF_CONTENT, b'Content-Type: application/pdf; name="only here.pdf"'))
    assert (mail_part.file_name, get_rule_ids(mail_part)) == ("only here.pdf", set())


@pytest.mark.parametrize(
    ("declared", "content", "content_type"),
    [
        pytest.param(b"image/png", PDF_CONTENT, "application/pdf", id="B-07-pdf-as-picture"),
        pytest.param(b"application/pdf", b"<html><body>x</body></html>", "text/html", id="B-07-html-as-pdf"),
    ],
)
def test_the_content_decides_and_a_false_declared_type_is_flagged(
    declared: bytes, content: bytes, content_type: str
) -> None:
    mail_part = get_only_part(build_named_attachment(b"x", content, declared))
    assert (mail_part.media_type, mail_part.declared_type) == (content_type, declared.decode())
    assert get_rule_ids(mail_part) == {"INTAKE-TYPE"}


def test_b_08_octet_stream_is_not_a_false_type() -> None:
    mail_part = get_only_part(build_named_attachment(b"x.pdf", PDF_CONTENT, b"application/octet-stream"))
    assert (mail_part.media_type, get_rule_ids(mail_part)) == ("application/pdf", set())
