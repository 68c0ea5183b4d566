"""Containers in containers: the order and sections of the parts, and why a container is not opened."""

from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.documents.containers.container_media_types import is_container_type
from invoices.documents.containers.opened_container import ContainerContents, ContainerPart
from invoices.documents.containers.recursive_opener import open_container_recursively
from invoices.documents.containers.unpack_budget import UnpackBudget
from invoices.documents.content_sniffing import detect_media_type
from tests.unit.documents.containers.container_builder import (
    INVOICE_XML,
    build_encrypted_zip,
    build_nested_zips,
    build_signed_data,
    build_tnef,
    build_tnef_attachment,
    build_zip,
    build_zip_with_repeated_entry,
    encode_der_element,
)

SIGNED_INVOICE = build_signed_data(encode_der_element(4, INVOICE_XML))
CONTAINER_MEDIA_TYPES = ["message/rfc822", "application/zip", "application/pkcs7-mime", "application/ms-tnef"]


def open_content(content: bytes, **options: object) -> ContainerContents:
    return open_container_recursively(content, detect_media_type(content), **options)  # type: ignore[arg-type]  # as named by the test


def list_parts(opened_container: ContainerContents) -> list[tuple[str, str | None, str | None]]:
    return [(part.section, part.file_name, part.skip_reason_code) for part in opened_container[0].parts]


def build_mail(text: str | None, *files: tuple[str, bytes], sender: str = "a@example.com") -> bytes:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"], message["Message-ID"] = (
        sender,
        "b@example.com",
        "Hello",
        "<1@example.com>",
    )
    message.set_content(text or "see the attachment")
    for name, content in files:
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return message.as_bytes()


def get_flag_message(part: ContainerPart) -> str:
    assert [flag.rule_id for flag in part.flags] == ["INTAKE-CONTAINER"]
    return part.flags[0].message


@pytest.mark.parametrize("kind", CONTAINER_MEDIA_TYPES)
def test_the_four_container_types_are_containers(kind: str) -> None:
    assert is_container_type(kind)


@pytest.mark.parametrize("kind", ["application/pdf", "application/gzip", "application/vnd.rar", "text/plain"])
def test_other_types_are_not_containers(kind: str) -> None:
    assert not is_container_type(kind)
    assert open_container_recursively(b"x", kind)[0].reason_code == "unsupported_type"


def test_the_parts_of_an_inner_container_follow_it() -> None:
    inner = build_zip(("a.xml", INVOICE_XML), ("b.xml.p7m", SIGNED_INVOICE))
    opened_container = open_content(build_zip(("x.txt", b"hello"), ("inner.zip", inner), ("y.txt", b"you")))
    assert list_parts(opened_container) == [
        ("1", "x.txt", None),
        ("2", "inner.zip", "container"),
        ("2/1", "a.xml", None),
        ("2/2", "b.xml.p7m", "container"),
        ("2/2/1", "b.xml", None),
        ("3", "y.txt", None),
    ]
    assert opened_container[1] == [b"hello", inner, INVOICE_XML, SIGNED_INVOICE, INVOICE_XML, b"you"]


def test_archives_nested_ten_deep_are_opened_two_levels_deep() -> None:
    opened_container = open_content(build_nested_zips(10))
    assert list_parts(opened_container) == [("1", "level8.zip", "container"), ("1/1", "level7.zip", None)]
    assert "more than 2 archives" in get_flag_message(opened_container[0].parts[1])
    assert opened_container[1][1] == build_nested_zips(8)


def test_other_containers_may_be_nested_twenty_deep() -> None:
    content = INVOICE_XML
    for _ in range(25):
        content = build_signed_data(encode_der_element(4, content))
    opened_container = open_content(content)
    assert len(opened_container[0].parts) == 20
    assert opened_container[0].parts[-1].skip_reason_code is None
    assert "more than 20 containers" in get_flag_message(opened_container[0].parts[-1])


@pytest.mark.parametrize(
    ("name", "content", "message_part"),
    [
        ("secret.zip", build_encrypted_zip(), "password"),
        ("bomb.zip", build_zip(("zeros", bytes(5_000_000))), "100 to 1"),
        ("overlap.zip", build_zip_with_repeated_entry(3), "overlap"),
        ("cut.zip", build_zip(("a", INVOICE_XML))[:-9], "damaged"),
        ("cut.p7m", SIGNED_INVOICE[:60], "damaged"),
    ],
)
def test_an_unopened_container_is_a_part_and_the_rest_is_opened(name: str, content: bytes, message_part: str) -> None:
    opened_container = open_content(build_zip((name, content), ("a.xml", INVOICE_XML)))
    assert list_parts(opened_container) == [("1", name, None), ("2", "a.xml", None)]
    assert message_part in get_flag_message(opened_container[0].parts[0])
    assert opened_container[1] == [content, INVOICE_XML]


@pytest.mark.parametrize(
    ("content", "reason_code"),
    [
        (build_encrypted_zip(), "encrypted"),
        (build_zip_with_repeated_entry(1_000_000), "archive_limits"),
        (build_zip(("a", INVOICE_XML))[:-9], "damaged_archive"),
        (SIGNED_INVOICE[:60], "damaged_signed"),
        (build_signed_data(None), "signature"),
    ],
)
def test_a_container_that_cannot_be_opened_has_a_reason(content: bytes, reason_code: str) -> None:
    opened_container, contents = open_content(content)
    assert (opened_container.reason_code, list(opened_container.parts), list(contents)) == (reason_code, [], [])
    assert opened_container.reason


def test_a_damaged_winmail_dat_is_a_part_and_its_whole_attachments_follow_it() -> None:
    broken = build_tnef(build_tnef_attachment(b"a.xml", INVOICE_XML))[:-1] + b"\0\x02"
    opened_container = open_content(build_zip(("winmail.dat", broken)))
    assert list_parts(opened_container) == [("1", "winmail.dat", None), ("1/1", "a.xml", None)]
    assert "damaged" in get_flag_message(opened_container[0].parts[0])
    assert open_content(broken)[0].reason_code == "damaged_tnef"
    assert open_content(broken)[1] == [INVOICE_XML]


def test_a_detached_signature_is_skipped() -> None:
    assert list_parts(open_content(build_zip(("a.p7s", build_signed_data(None))))) == [("1", "a.p7s", "signature")]


def test_one_budget_holds_for_everything_inside() -> None:
    inner = build_zip(("a.xml", INVOICE_XML), ("b.xml", INVOICE_XML))
    content = build_zip(("1.zip", inner), ("2.zip", inner))
    small = UnpackBudget(remaining_bytes=2 * len(inner) + 3 * len(INVOICE_XML))
    assert [part.skip_reason_code for part in open_content(content, budget=small)[0].parts] == [
        "container",
        None,
        None,
        None,
    ]
    few = UnpackBudget(remaining_parts=5)
    assert [part.skip_reason_code for part in open_content(content, budget=few)[0].parts] == [
        "container",
        None,
        None,
        None,
    ]
    assert len(open_content(content)[0].parts) == 6


def test_many_files_share_one_limit_of_elements() -> None:
    flood = build_tnef(build_tnef_attachment(b"a", b""), *[b"\2\2\x90\6\0\0\0\0\0\0\0"] * 900)
    files = [(f"{n}.dat", flood) for n in range(4)]
    opened_container = open_content(build_zip(*files), budget=UnpackBudget(remaining_elements=2000))
    assert [part.skip_reason_code for part in opened_container[0].parts if "/" not in part.section] == [
        "container",
        "container",
        None,
        None,
    ]


def test_archives_are_not_opened_if_that_is_switched_off() -> None:
    container_bytes = build_zip(("a.xml", INVOICE_XML))
    assert open_content(container_bytes, unpack_archives=False)[0].reason_code == "unsupported_type"
    opened_container = open_content(build_tnef(build_tnef_attachment(b"a.zip", container_bytes)), unpack_archives=False)
    assert list_parts(opened_container) == [("1", "a.zip", None)]
    assert opened_container[0].parts[0].flags == ()


def test_an_office_document_inside_is_not_opened() -> None:
    opened_container = open_content(build_zip(("a.odt", build_zip(("mimetype", b"x"), ("content.xml", INVOICE_XML)))))
    assert list_parts(opened_container) == [("1", "a.odt", None)]
    assert "office" in get_flag_message(opened_container[0].parts[0])


def test_a_name_in_a_flag_contains_no_line_end() -> None:
    opened_container = open_content(build_zip(("a\r\nb\u202e.zip", build_encrypted_zip())))
    assert get_flag_message(opened_container[0].parts[0]).isprintable()


def test_a_mail_in_an_archive_is_opened_with_its_sender() -> None:
    opened_container = open_content(
        build_zip(("m.eml", build_mail(None, ("a.xml", INVOICE_XML), sender="x@example.org")))
    )
    assert list_parts(opened_container) == [("1", "m.eml", "container"), ("1/2", "a.xml", None)]
    assert opened_container[0].parts[1].original_sender == "x@example.org"
    assert opened_container[0].skipped_body_count == 1


def test_the_parts_of_an_inner_mail_count_against_the_budget() -> None:
    content = build_zip(("m.eml", build_mail(None, ("a.xml", INVOICE_XML))))
    for budget in (
        UnpackBudget(remaining_parts=1),
        UnpackBudget(remaining_bytes=len(build_mail(None, ("a.xml", INVOICE_XML))) + 1),
    ):
        opened_container = open_content(content, budget=budget)
        assert list_parts(opened_container) == [("1", "m.eml", None)]
        assert "more than" in get_flag_message(opened_container[0].parts[0])


def test_the_flags_of_an_inner_mail_are_flags_of_its_part() -> None:
    opened_container = open_content(build_zip(("m.eml", b"From: a@example.com\r\nSubject: no date\r\n\r\nhello")))
    assert [part.skip_reason_code for part in opened_container[0].parts] == ["container"]
    assert opened_container[0].parts[0].flags


def test_everything_in_a_mail_is_opened() -> None:
    winmail = build_tnef(build_tnef_attachment(b"w.xml", INVOICE_XML))
    content = build_mail(
        None, ("a.zip", build_zip(("z.xml", INVOICE_XML))), ("b.xml.p7m", SIGNED_INVOICE), ("winmail.dat", winmail)
    )
    assert list_parts(open_content(content)) == [
        ("2", "a.zip", "container"),
        ("2/1", "z.xml", None),
        ("3", "b.xml.p7m", "container"),
        ("3/1", "b.xml", None),
        ("4", "winmail.dat", "container"),
        ("4/1", "w.xml", None),
    ]


def test_the_text_of_a_mail_is_skipped_if_a_container_holds_a_document() -> None:
    opened_container = open_content(
        build_mail("Invoice 17, total 12.00 EUR", ("a.zip", build_zip(("z.xml", INVOICE_XML))))
    )
    assert list_parts(opened_container) == [("2", "a.zip", "container"), ("2/1", "z.xml", None)]
    assert opened_container[0].skipped_body_count == 1


def test_the_text_of_a_mail_may_be_the_invoice_if_its_container_is_empty() -> None:
    opened_container = open_content(build_mail("Invoice 17, total 12.00 EUR", ("winmail.dat", build_tnef())))
    assert ("1", None, None) in list_parts(opened_container)


def test_a_signed_mail_gives_its_signed_content() -> None:
    inner = EmailMessage()
    inner.set_content("see the attachment")
    inner.add_attachment(INVOICE_XML, maintype="application", subtype="xml", filename="a.xml")
    outer = EmailMessage()
    outer["From"], outer["Subject"] = "a@example.com", "signed"
    outer.set_content(
        build_signed_data(encode_der_element(4, inner.as_bytes())), "application", "pkcs7-mime", filename="smime.p7m"
    )
    assert list_parts(open_content(outer.as_bytes())) == [
        ("1", "smime.p7m", "container"),
        ("1/1", None, "container"),
        ("1/1/2", "a.xml", None),
    ]


def test_an_encrypted_file_is_a_part_with_a_flag() -> None:
    secret = encode_der_element(
        0x30,
        encode_der_element(6, bytes.fromhex("2a864886f70d010703")),
        encode_der_element(0xA0, encode_der_element(0x30)),
    )
    opened_container = open_content(build_mail(None, ("secret.p7m", secret), ("a.xml", INVOICE_XML)))
    assert list_parts(opened_container) == [("2", "secret.p7m", None), ("3", "a.xml", None)]
    assert "encrypted" in get_flag_message(opened_container[0].parts[0])


@given(st.sampled_from(CONTAINER_MEDIA_TYPES), st.binary(max_size=300))
def test_any_bytes_give_a_result(kind: str, content: bytes) -> None:
    opened_container, contents = open_container_recursively(content, kind)
    assert len(opened_container.parts) == len(contents)
    archive = build_zip(("a", content), ("b", SIGNED_INVOICE))
    opened_container, contents = open_container_recursively(archive, "application/zip")
    assert len(opened_container.parts) == len(contents) >= 3
