"""ZIP archives: their files, and every kind of false statement in them (row B-41 of docs/bad-inputs.md)."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.documents.containers.unpack_budget import UnpackBudget
from invoices.documents.containers.zip_archive import open_zip_archive
from invoices.errors import DocumentError
from tests.unit.documents.containers.container_builder import (
    INVOICE_XML,
    build_encrypted_zip,
    build_nested_zips,
    build_zip,
    build_zip_with_repeated_entry,
    build_zip_with_symlink,
    replace_header_field,
)


def get_refusal_code(content: bytes, budget: UnpackBudget | None = None) -> str:
    with pytest.raises(DocumentError) as error_info:
        open_zip_archive(content, budget=budget)
    return error_info.value.reason_code


def test_files_have_their_names_and_types() -> None:
    opened_container, contents = open_zip_archive(
        build_zip(("a/", b""), ("a/rechnung-ä.xml", INVOICE_XML), ("b.txt", b"hello")), "2"
    )
    assert [(part.section, part.file_name, part.media_type) for part in opened_container.parts] == [
        ("2/1", "a/rechnung-ä.xml", "application/xml"),
        ("2/2", "b.txt", "text/plain"),
    ]
    assert contents == [INVOICE_XML, b"hello"]


def test_an_empty_archive_has_no_parts() -> None:
    assert open_zip_archive(build_zip()) == open_zip_archive(build_zip(("folder/", b"")))


@pytest.mark.parametrize(
    "name", ["../../../../etc/cron.d/x", "a/../../b", "/etc/passwd", r"C:\Windows\x.pdf", r"\\h\s\x", r"..\x"]
)
def test_a_name_with_a_path_is_only_text_and_flagged(name: str) -> None:
    opened_container, contents = open_zip_archive(build_zip((name, INVOICE_XML)))
    assert opened_container.parts[0].file_name == name
    assert [flag.rule_id for flag in opened_container.parts[0].flags] == ["INTAKE-CONTAINER"]
    assert contents == [INVOICE_XML]


def test_a_name_is_not_longer_than_a_file_name() -> None:
    opened_container, _ = open_zip_archive(build_zip(("x" * 10_000, INVOICE_XML)))
    assert opened_container.parts[0].file_name == "x" * 255


def test_a_file_may_have_no_name() -> None:
    opened_container, contents = open_zip_archive(build_zip(("", INVOICE_XML)))
    assert (opened_container.parts[0].file_name, contents) == (None, [INVOICE_XML])


def test_a_symbolic_link_is_a_text_with_its_target() -> None:
    opened_container, contents = open_zip_archive(build_zip_with_symlink("invoice.pdf", "/etc/passwd"))
    assert contents == [b"/etc/passwd"]
    assert "symbolic link" in opened_container.parts[0].flags[0].message


def test_a_million_entries_are_refused_before_one_is_read() -> None:
    assert get_refusal_code(build_zip_with_repeated_entry(1_000_000)) == "archive_limits"


def test_one_hundred_entries_are_accepted_and_one_more_is_not() -> None:
    opened_container, _ = open_zip_archive(build_zip(*((f"{n}.txt", b"x") for n in range(100))))
    assert len(opened_container.parts) == 100
    assert get_refusal_code(build_zip(*((f"{n}.txt", b"x") for n in range(101)))) == "archive_limits"


def test_a_file_compressed_a_thousand_to_one_is_not_inflated() -> None:
    assert get_refusal_code(build_zip(("zeros", bytes(5_000_000)))) == "archive_limits"


def test_a_small_file_may_be_compressed_at_any_ratio() -> None:
    opened_container, _ = open_zip_archive(build_zip(("zeros", bytes(60_000))))
    assert len(opened_container.parts) == 1


@pytest.mark.parametrize("count", [2, 100])
def test_entries_that_share_their_bytes_are_refused(count: int) -> None:
    assert get_refusal_code(build_zip_with_repeated_entry(count)) == "archive_limits"


def test_an_entry_that_runs_into_the_directory_is_refused() -> None:
    container_bytes = build_zip(("a", b"x" * 100), method=zipfile.ZIP_STORED)
    for offset in (20, 24):  # both sizes
        container_bytes = replace_header_field(container_bytes, b"PK\1\2", offset, struct.pack("<L", 101))
    assert get_refusal_code(container_bytes) == "archive_limits"


def test_an_entry_quoted_in_another_one_is_refused() -> None:
    inner = build_zip(("b", b"y" * 50), method=zipfile.ZIP_STORED)
    container_bytes = build_zip(("a", inner), ("b", b"y" * 50), method=zipfile.ZIP_STORED)
    second = container_bytes.rindex(b"PK\1\2")
    quoted = (
        container_bytes[: second + 42]
        + struct.pack("<L", container_bytes.index(inner))
        + container_bytes[second + 46 :]
    )
    assert get_refusal_code(quoted) == "archive_limits"


def test_stated_sizes_count_before_anything_is_inflated() -> None:
    assert (
        get_refusal_code(build_zip(("a", b"x" * 600), ("b", b"x" * 600)), UnpackBudget(remaining_bytes=1000))
        == "archive_limits"
    )
    assert get_refusal_code(build_zip(("a", b""), ("b", b"")), UnpackBudget(remaining_parts=1)) == "archive_limits"


@pytest.mark.parametrize("stated", [0, 10, 5_000])
def test_a_file_with_another_size_than_stated_is_damaged(stated: int) -> None:
    misstated = replace_header_field(build_zip(("a", b"x" * 2000)), b"PK\1\2", 24, struct.pack("<L", stated))
    assert get_refusal_code(misstated) == "damaged_archive"


def test_an_archive_with_a_password_is_encrypted() -> None:
    assert get_refusal_code(build_encrypted_zip()) == "encrypted"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_memory_intensive_compressions_are_unsupported(method: int) -> None:
    assert get_refusal_code(build_zip(("a", INVOICE_XML), method=method)) == "unsupported_type"


def test_unknown_compressions_are_unsupported() -> None:
    assert (
        get_refusal_code(replace_header_field(build_zip(("a", INVOICE_XML)), b"PK\1\2", 10, struct.pack("<H", 97)))
        == "unsupported_type"
    )


@pytest.mark.parametrize("name", ["[Content_Types].xml", "mimetype", "META-INF/MANIFEST.MF"])
def test_an_office_document_is_not_an_archive(name: str) -> None:
    assert get_refusal_code(build_zip((name, b"x"), ("content.xml", INVOICE_XML))) == "unsupported_type"


@pytest.mark.parametrize("damage", ["no end", "no beginning", "flipped", "only a beginning", "far offset"])
def test_damaged_archives_are_reported_as_damaged(damage: str) -> None:
    whole = build_zip(("a", bytes(range(256)) * 8), method=zipfile.ZIP_STORED)
    broken = {
        "no end": whole[:-10],
        "no beginning": whole[40:],
        "flipped": whole[:300] + bytes([whole[300] ^ 1]) + whole[301:],
        "only a beginning": whole[:30],
        "far offset": replace_header_field(whole, b"PK\1\2", 42, b"\xf0\xff\xff\x7f"),
    }
    assert get_refusal_code(broken[damage]) == "damaged_archive"


def test_an_archive_in_an_archive_is_one_part() -> None:
    opened_container, _ = open_zip_archive(build_nested_zips(3))
    assert [part.media_type for part in opened_container.parts] == ["application/zip"]


def assert_opened_or_refused(content: bytes) -> None:
    try:
        opened, contents = open_zip_archive(content, budget=UnpackBudget(remaining_bytes=1_000_000))
        assert len(opened.parts) == len(contents)
    except DocumentError as error:
        assert error.reason_code in {"archive_limits", "damaged_archive", "encrypted", "unsupported_type"}  # noqa: PT017 - either is a result


@given(st.binary(max_size=300))
def test_any_bytes_give_a_result(content: bytes) -> None:
    assert_opened_or_refused(b"PK\x03\x04" + content)


@given(st.data())
def test_any_archive_with_wrong_bytes_gives_a_result(data: st.DataObject) -> None:
    container_bytes = bytearray(build_zip(("a.xml", INVOICE_XML), ("b.txt", b"hello" * 20)))
    for _ in range(data.draw(st.integers(1, 4))):
        container_bytes[data.draw(st.integers(0, len(container_bytes) - 1))] = data.draw(
            st.sampled_from([0, 1, 0x7F, 0x80, 0xFF])
        )
    assert_opened_or_refused(bytes(container_bytes))


@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), st.binary(max_size=200)), max_size=5))
def test_packed_files_are_extracted_unchanged(files: list[tuple[str, bytes]]) -> None:
    target = io.BytesIO()
    names = [f"{n}-{name.encode('utf-8', 'replace').decode()}".replace("\0", "") for n, (name, _) in enumerate(files)]
    with zipfile.ZipFile(target, "w") as zip_file:
        for name, (_, content) in zip(names, files, strict=True):
            zip_file.writestr(zipfile.ZipInfo(name + "."), content, zipfile.ZIP_DEFLATED)
    _, contents = open_zip_archive(target.getvalue())
    assert contents == [content for _, content in files]
