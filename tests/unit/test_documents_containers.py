"""Containers in containers: what comes out, in which order, under which numbers, and what stays closed and why."""

from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.documents.sniffing import media_type
from invoices.documents.unwrapping.budget import Budget
from invoices.documents.unwrapping.containers import unwrap
from invoices.documents.unwrapping.kinds import is_container
from invoices.documents.unwrapping.parts import Found, Part
from tests.unit.container_bytes import (
    INVOICE,
    archive,
    attachment,
    element,
    encrypted_archive,
    nested_archives,
    repeated_entry,
    signed,
    tnef,
)

SIGNED = signed(element(4, INVOICE))
CONTAINERS = ["message/rfc822", "application/zip", "application/pkcs7-mime", "application/ms-tnef"]


def opened(content: bytes, **more: object) -> Found:
    return unwrap(content, media_type(content), **more)  # type: ignore[arg-type]  # as the test names them


def outline(found: Found) -> list[tuple[str, str | None, str | None]]:
    return [(part.section, part.file_name, part.left_out) for part in found[0].parts]


def mail(text: str | None, *files: tuple[str, bytes], sender: str = "a@example.com") -> bytes:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"], made["Message-ID"] = sender, "b@example.com", "Hello", "<1@example.com>"
    made.set_content(text or "see the attachment")
    for name, content in files:
        made.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return made.as_bytes()


def flag_of(part: Part) -> str:
    assert [flag.rule_id for flag in part.flags] == ["INTAKE-CONTAINER"]
    return part.flags[0].message


@pytest.mark.parametrize("kind", CONTAINERS)
def test_these_types_are_containers(kind: str) -> None:
    assert is_container(kind)


@pytest.mark.parametrize("kind", ["application/pdf", "application/gzip", "application/vnd.rar", "text/plain"])
def test_other_types_are_not(kind: str) -> None:
    assert not is_container(kind)
    assert unwrap(b"x", kind)[0].reason_code == "unsupported_type"


def test_what_is_in_a_container_within_follows_it() -> None:
    inner = archive(("a.xml", INVOICE), ("b.xml.p7m", SIGNED))
    found = opened(archive(("x.txt", b"hello"), ("inner.zip", inner), ("y.txt", b"you")))
    assert outline(found) == [
        ("1", "x.txt", None),
        ("2", "inner.zip", "container"),
        ("2/1", "a.xml", None),
        ("2/2", "b.xml.p7m", "container"),
        ("2/2/1", "b.xml", None),
        ("3", "y.txt", None),
    ]
    assert found[1] == [b"hello", inner, INVOICE, SIGNED, INVOICE, b"you"]


def test_an_archive_ten_deep_is_opened_twice() -> None:
    found = opened(nested_archives(10))
    assert outline(found) == [("1", "level8.zip", "container"), ("1/1", "level7.zip", None)]
    assert "more than 2 archives" in flag_of(found[0].parts[1])
    assert found[1][1] == nested_archives(8)


def test_other_containers_may_be_twenty_deep() -> None:
    content = INVOICE
    for _ in range(25):
        content = signed(element(4, content))
    found = opened(content)
    assert len(found[0].parts) == 20
    assert found[0].parts[-1].left_out is None
    assert "more than 20 containers" in flag_of(found[0].parts[-1])


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("secret.zip", encrypted_archive(), "password"),
        ("bomb.zip", archive(("zeros", bytes(5_000_000))), "100 to 1"),
        ("overlap.zip", repeated_entry(3), "overlap"),
        ("cut.zip", archive(("a", INVOICE))[:-9], "broken"),
        ("cut.p7m", SIGNED[:60], "broken"),
    ],
)
def test_a_container_that_stays_closed_is_a_part_and_the_rest_goes_on(name: str, content: bytes, why: str) -> None:
    found = opened(archive((name, content), ("a.xml", INVOICE)))
    assert outline(found) == [("1", name, None), ("2", "a.xml", None)]
    assert why in flag_of(found[0].parts[0])
    assert found[1] == [content, INVOICE]


@pytest.mark.parametrize(
    ("content", "reason_code"),
    [
        (encrypted_archive(), "encrypted"),
        (repeated_entry(1_000_000), "archive_limits"),
        (archive(("a", INVOICE))[:-9], "damaged_archive"),
        (SIGNED[:60], "damaged_signed"),
        (signed(None), "signature"),
    ],
)
def test_a_container_that_cannot_be_opened_says_why(content: bytes, reason_code: str) -> None:
    found, contents = opened(content)
    assert (found.reason_code, list(found.parts), list(contents)) == (reason_code, [], [])
    assert found.reason


def test_a_broken_winmail_dat_keeps_what_was_whole_and_is_judged_itself() -> None:
    broken = tnef(attachment(b"a.xml", INVOICE))[:-1] + b"\0\x02"
    found = opened(archive(("winmail.dat", broken)))
    assert outline(found) == [("1", "winmail.dat", None), ("1/1", "a.xml", None)]
    assert "broken" in flag_of(found[0].parts[0])
    assert opened(broken)[0].reason_code == "damaged_tnef"
    assert opened(broken)[1] == [INVOICE]


def test_a_signature_by_itself_is_left_out() -> None:
    assert outline(opened(archive(("a.p7s", signed(None))))) == [("1", "a.p7s", "signature")]


def test_one_budget_holds_over_all_that_is_inside() -> None:
    inner = archive(("a.xml", INVOICE), ("b.xml", INVOICE))
    content = archive(("1.zip", inner), ("2.zip", inner))
    small = Budget(unpacked_bytes=2 * len(inner) + 3 * len(INVOICE))
    assert [part.left_out for part in opened(content, budget=small)[0].parts] == ["container", None, None, None]
    few = Budget(parts=5)
    assert [part.left_out for part in opened(content, budget=few)[0].parts] == ["container", None, None, None]
    assert len(opened(content)[0].parts) == 6


def test_many_files_full_of_structures_share_one_limit_too() -> None:
    flood = tnef(attachment(b"a", b""), *[b"\2\2\x90\6\0\0\0\0\0\0\0"] * 900)
    files = [(f"{n}.dat", flood) for n in range(4)]
    found = opened(archive(*files), budget=Budget(elements=2000))
    assert [part.left_out for part in found[0].parts if "/" not in part.section] == [
        "container",
        "container",
        None,
        None,
    ]


def test_archives_stay_closed_where_they_are_switched_off() -> None:
    made = archive(("a.xml", INVOICE))
    assert opened(made, unpack_archives=False)[0].reason_code == "unsupported_type"
    found = opened(tnef(attachment(b"a.zip", made)), unpack_archives=False)
    assert outline(found) == [("1", "a.zip", None)]
    assert found[0].parts[0].flags == ()


def test_an_office_document_within_stays_whole() -> None:
    found = opened(archive(("a.odt", archive(("mimetype", b"x"), ("content.xml", INVOICE)))))
    assert outline(found) == [("1", "a.odt", None)]
    assert "office" in flag_of(found[0].parts[0])


def test_a_name_in_a_flag_cannot_break_a_line() -> None:
    found = opened(archive(("a\r\nb\u202e.zip", encrypted_archive())))
    assert flag_of(found[0].parts[0]).isprintable()


def test_a_mail_in_an_archive_is_opened_with_its_sender() -> None:
    found = opened(archive(("m.eml", mail(None, ("a.xml", INVOICE), sender="x@example.org"))))
    assert outline(found) == [("1", "m.eml", "container"), ("1/2", "a.xml", None)]
    assert found[0].parts[1].original_sender == "x@example.org"
    assert found[0].bodies == 1


def test_what_is_in_a_mail_within_counts_too() -> None:
    content = archive(("m.eml", mail(None, ("a.xml", INVOICE))))
    for budget in (Budget(parts=1), Budget(unpacked_bytes=len(mail(None, ("a.xml", INVOICE))) + 1)):
        found = opened(content, budget=budget)
        assert outline(found) == [("1", "m.eml", None)]
        assert "more than" in flag_of(found[0].parts[0])


def test_what_is_odd_about_a_mail_within_is_a_flag_of_its_part() -> None:
    found = opened(archive(("m.eml", b"From: a@example.com\r\nSubject: no date\r\n\r\nhello")))
    assert [part.left_out for part in found[0].parts] == ["container"]
    assert found[0].parts[0].flags


def test_everything_in_a_mail_is_opened() -> None:
    winmail = tnef(attachment(b"w.xml", INVOICE))
    content = mail(None, ("a.zip", archive(("z.xml", INVOICE))), ("b.xml.p7m", SIGNED), ("winmail.dat", winmail))
    assert outline(opened(content)) == [
        ("2", "a.zip", "container"),
        ("2/1", "z.xml", None),
        ("3", "b.xml.p7m", "container"),
        ("3/1", "b.xml", None),
        ("4", "winmail.dat", "container"),
        ("4/1", "w.xml", None),
    ]


def test_the_text_of_a_mail_is_no_invoice_where_a_container_holds_one() -> None:
    found = opened(mail("Invoice 17, total 12.00 EUR", ("a.zip", archive(("z.xml", INVOICE)))))
    assert outline(found) == [("2", "a.zip", "container"), ("2/1", "z.xml", None)]
    assert found[0].bodies == 1


def test_the_text_of_a_mail_may_be_the_invoice_where_its_container_holds_nothing() -> None:
    found = opened(mail("Invoice 17, total 12.00 EUR", ("winmail.dat", tnef())))
    assert ("1", None, None) in outline(found)


def test_a_signed_mail_gives_what_was_signed() -> None:
    inner = EmailMessage()
    inner.set_content("see the attachment")
    inner.add_attachment(INVOICE, maintype="application", subtype="xml", filename="a.xml")
    outer = EmailMessage()
    outer["From"], outer["Subject"] = "a@example.com", "signed"
    outer.set_content(signed(element(4, inner.as_bytes())), "application", "pkcs7-mime", filename="smime.p7m")
    assert outline(opened(outer.as_bytes())) == [
        ("1", "smime.p7m", "container"),
        ("1/1", None, "container"),
        ("1/1/2", "a.xml", None),
    ]


def test_what_only_its_receiver_can_open_is_a_part_with_a_flag() -> None:
    secret = element(0x30, element(6, bytes.fromhex("2a864886f70d010703")), element(0xA0, element(0x30)))
    found = opened(mail(None, ("secret.p7m", secret), ("a.xml", INVOICE)))
    assert outline(found) == [("2", "secret.p7m", None), ("3", "a.xml", None)]
    assert "encrypted" in flag_of(found[0].parts[0])


@given(st.sampled_from(CONTAINERS), st.binary(max_size=300))
def test_any_bytes_are_answered(kind: str, content: bytes) -> None:
    found, contents = unwrap(content, kind)
    assert len(found.parts) == len(contents)
    within, contents = unwrap(archive(("a", content), ("b", SIGNED)), "application/zip")
    assert len(within.parts) == len(contents) >= 3
