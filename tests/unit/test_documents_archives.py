"""Archives: what is in a ZIP, and every way in which one lies about it (reliability B-41)."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.documents.unwrapping.archives import open_archive
from invoices.documents.unwrapping.budget import Budget
from invoices.errors import DocumentError
from tests.unit.container_bytes import (
    INVOICE,
    archive,
    encrypted_archive,
    linked_archive,
    nested_archives,
    patched,
    repeated_entry,
)


def refusal(content: bytes, budget: Budget | None = None) -> str:
    with pytest.raises(DocumentError) as refused:
        open_archive(content, budget=budget)
    return refused.value.reason_code


def test_files_come_out_with_their_names_and_types() -> None:
    found, contents = open_archive(archive(("a/", b""), ("a/rechnung-ä.xml", INVOICE), ("b.txt", b"hello")), "2")
    assert [(part.section, part.file_name, part.media_type) for part in found.parts] == [
        ("2/1", "a/rechnung-ä.xml", "application/xml"),
        ("2/2", "b.txt", "text/plain"),
    ]
    assert contents == [INVOICE, b"hello"]


def test_an_empty_archive_has_no_parts() -> None:
    assert open_archive(archive()) == open_archive(archive(("folder/", b"")))


@pytest.mark.parametrize(
    "name", ["../../../../etc/cron.d/x", "a/../../b", "/etc/passwd", r"C:\Windows\x.pdf", r"\\h\s\x", r"..\x"]
)
def test_a_name_that_spells_a_path_is_a_text_with_a_flag(name: str) -> None:
    found, contents = open_archive(archive((name, INVOICE)))
    assert found.parts[0].file_name == name
    assert [flag.rule_id for flag in found.parts[0].flags] == ["INTAKE-CONTAINER"]
    assert contents == [INVOICE]


def test_a_name_is_not_longer_than_a_file_name() -> None:
    found, _ = open_archive(archive(("x" * 10_000, INVOICE)))
    assert found.parts[0].file_name == "x" * 255


def test_a_file_may_have_no_name() -> None:
    found, contents = open_archive(archive(("", INVOICE)))
    assert (found.parts[0].file_name, contents) == (None, [INVOICE])


def test_a_symbolic_link_is_the_text_it_holds() -> None:
    found, contents = open_archive(linked_archive("invoice.pdf", "/etc/passwd"))
    assert contents == [b"/etc/passwd"]
    assert "symbolic link" in found.parts[0].flags[0].message


def test_a_million_entries_are_refused_before_one_is_looked_at() -> None:
    assert refusal(repeated_entry(1_000_000)) == "archive_limits"


def test_one_hundred_entries_are_taken_and_one_more_is_not() -> None:
    found, _ = open_archive(archive(*((f"{n}.txt", b"x") for n in range(100))))
    assert len(found.parts) == 100
    assert refusal(archive(*((f"{n}.txt", b"x") for n in range(101)))) == "archive_limits"


def test_a_file_that_is_compressed_a_thousand_to_one_is_not_inflated() -> None:
    assert refusal(archive(("zeros", bytes(5_000_000)))) == "archive_limits"


def test_a_small_file_may_be_as_dense_as_it_likes() -> None:
    found, _ = open_archive(archive(("zeros", bytes(60_000))))
    assert len(found.parts) == 1


@pytest.mark.parametrize("count", [2, 100])
def test_entries_that_share_their_bytes_are_refused(count: int) -> None:
    assert refusal(repeated_entry(count)) == "archive_limits"


def test_an_entry_that_runs_into_the_directory_is_refused() -> None:
    made = archive(("a", b"x" * 100), method=zipfile.ZIP_STORED)
    for offset in (20, 24):  # both sizes
        made = patched(made, b"PK\1\2", offset, struct.pack("<L", 101))
    assert refusal(made) == "archive_limits"


def test_an_entry_quoted_in_another_one_is_refused() -> None:
    inner = archive(("b", b"y" * 50), method=zipfile.ZIP_STORED)
    made = archive(("a", inner), ("b", b"y" * 50), method=zipfile.ZIP_STORED)
    second = made.rindex(b"PK\1\2")
    quoted = made[: second + 42] + struct.pack("<L", made.index(inner)) + made[second + 46 :]
    assert refusal(quoted) == "archive_limits"


def test_what_is_stated_counts_before_anything_is_inflated() -> None:
    assert refusal(archive(("a", b"x" * 600), ("b", b"x" * 600)), Budget(unpacked_bytes=1000)) == "archive_limits"
    assert refusal(archive(("a", b""), ("b", b"")), Budget(parts=1)) == "archive_limits"


@pytest.mark.parametrize("stated", [0, 10, 5_000])
def test_a_file_of_another_size_than_it_states_is_damage(stated: int) -> None:
    lying = patched(archive(("a", b"x" * 2000)), b"PK\1\2", 24, struct.pack("<L", stated))
    assert refusal(lying) == "damaged_archive"


def test_a_password_is_said_to_be_missing() -> None:
    assert refusal(encrypted_archive()) == "encrypted"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_asks_for_memory_first_is_not_read(method: int) -> None:
    assert refusal(archive(("a", INVOICE), method=method)) == "unsupported_type"


def test_a_compression_that_nobody_knows_is_not_read() -> None:
    assert refusal(patched(archive(("a", INVOICE)), b"PK\1\2", 10, struct.pack("<H", 97))) == "unsupported_type"


@pytest.mark.parametrize("name", ["[Content_Types].xml", "mimetype", "META-INF/MANIFEST.MF"])
def test_the_file_of_an_office_program_is_no_archive(name: str) -> None:
    assert refusal(archive((name, b"x"), ("content.xml", INVOICE))) == "unsupported_type"


@pytest.mark.parametrize("damage", ["no end", "no beginning", "flipped", "only a beginning", "far offset"])
def test_broken_archives_are_said_to_be_broken(damage: str) -> None:
    whole = archive(("a", bytes(range(256)) * 8), method=zipfile.ZIP_STORED)
    broken = {
        "no end": whole[:-10],
        "no beginning": whole[40:],
        "flipped": whole[:300] + bytes([whole[300] ^ 1]) + whole[301:],
        "only a beginning": whole[:30],
        "far offset": patched(whole, b"PK\1\2", 42, b"\xf0\xff\xff\x7f"),
    }
    assert refusal(broken[damage]) == "damaged_archive"


def test_an_archive_in_an_archive_is_one_part() -> None:
    found, _ = open_archive(nested_archives(3))
    assert [part.media_type for part in found.parts] == ["application/zip"]


def answered(content: bytes) -> None:
    try:
        found, contents = open_archive(content, budget=Budget(unpacked_bytes=1_000_000))
        assert len(found.parts) == len(contents)
    except DocumentError as error:
        assert error.reason_code in {"archive_limits", "damaged_archive", "encrypted", "unsupported_type"}  # noqa: PT017 - either is an answer


@given(st.binary(max_size=300))
def test_any_bytes_are_answered(content: bytes) -> None:
    answered(b"PK\x03\x04" + content)


@given(st.data())
def test_any_archive_with_wrong_bytes_is_answered(data: st.DataObject) -> None:
    made = bytearray(archive(("a.xml", INVOICE), ("b.txt", b"hello" * 20)))
    for _ in range(data.draw(st.integers(1, 4))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    answered(bytes(made))


@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), st.binary(max_size=200)), max_size=5))
def test_what_was_packed_comes_out(files: list[tuple[str, bytes]]) -> None:
    target = io.BytesIO()
    names = [f"{n}-{name.encode('utf-8', 'replace').decode()}".replace("\0", "") for n, (name, _) in enumerate(files)]
    with zipfile.ZipFile(target, "w") as made:
        for name, (_, content) in zip(names, files, strict=True):
            made.writestr(zipfile.ZipInfo(name + "."), content, zipfile.ZIP_DEFLATED)
    _, contents = open_archive(target.getvalue())
    assert contents == [content for _, content in files]
