"""Presigned URLs of documents: only we can build them, and any change to one makes it invalid."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import hashlib
import hmac
import string
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from invoices.clients.presigned_urls import PresignedUrl, build_presigned_url, is_valid_presigned_request
from invoices.errors import ConfigurationError

SECRET = "a secret of more than 32 characters"
BASE_URL = "https://documents.example.com"
NOW = dt.datetime(2026, 1, 15, 10, 30, tzinfo=dt.UTC)
EXPIRES_AT = NOW + dt.timedelta(minutes=10)
SHA256 = "0123456789abcdef" * 4

hashes = st.binary(max_size=9).map(lambda content: hashlib.sha256(content).hexdigest())
suffixes = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
timestamps = st.floats(0, 2**34).map(lambda seconds: dt.datetime.fromtimestamp(seconds, dt.UTC))
secrets = st.text(string.printable, min_size=32, max_size=60)


def split_url(url: PresignedUrl) -> tuple[str, str]:
    url_parts = urlsplit(url.signed_url)
    return url_parts.path, url_parts.query


def test_a_url_names_the_expiry_and_the_document_and_is_signed() -> None:
    signed = f"1768473600/{SHA256}.pdf"
    signature = hmac.new(SECRET.encode(), signed.encode(), "sha256").hexdigest()
    assert (
        build_presigned_url(BASE_URL, SECRET, SHA256, "pdf", EXPIRES_AT).signed_url
        == f"{BASE_URL}/{signed}?signature={signature}"
    )


@given(hashes, suffixes, timestamps, secrets)
def test_a_presigned_request_is_valid_until_its_last_second(
    sha256: str, suffix: str, expires_at: dt.datetime, secret: str
) -> None:
    path, query = split_url(build_presigned_url(BASE_URL, secret, sha256, suffix, expires_at))
    last_second = expires_at.replace(microsecond=0)
    assert is_valid_presigned_request(path, query, secret, last_second)
    assert not is_valid_presigned_request(path, query, secret, last_second + dt.timedelta(seconds=1))


@given(st.integers(0), st.sampled_from(string.printable), st.sampled_from(["change", "insert", "cut"]))
def test_any_change_to_path_or_signature_makes_the_request_invalid(position: int, character: str, change: str) -> None:
    path, query = split_url(build_presigned_url(BASE_URL, SECRET, SHA256, "pdf", EXPIRES_AT))
    signed_request = f"{path}?{query}"
    index = position % len(signed_request)
    rest = signed_request[index:] if change == "insert" else signed_request[index + 1 :]
    tampered = signed_request[:index] + ("" if change == "cut" else character) + rest
    assume(tampered != signed_request)
    path, _, query = tampered.partition("?")
    assert not is_valid_presigned_request(path, query, SECRET, NOW)


@given(hashes, suffixes, timestamps, hashes, suffixes, timestamps)
def test_another_document_or_expiry_has_another_signature(
    sha256: str,
    suffix: str,
    expires_at: dt.datetime,
    other_sha256: str,
    other_suffix: str,
    other_expires_at: dt.datetime,
) -> None:
    assume(
        (sha256, suffix, int(expires_at.timestamp())) != (other_sha256, other_suffix, int(other_expires_at.timestamp()))
    )
    first, second = (
        build_presigned_url(BASE_URL, SECRET, sha256, suffix, expires_at),
        build_presigned_url(BASE_URL, SECRET, other_sha256, other_suffix, other_expires_at),
    )
    assert first.signature != second.signature
    assert not is_valid_presigned_request(
        split_url(second)[0], split_url(first)[1], SECRET, dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    )


@given(secrets, secrets)
def test_another_secret_makes_another_signature(secret: str, other_secret: str) -> None:
    assume(secret != other_secret)
    path, query = split_url(build_presigned_url(BASE_URL, secret, SHA256, "pdf", EXPIRES_AT))
    assert not is_valid_presigned_request(path, query, other_secret, NOW)


@given(st.text(), st.text())
def test_a_request_without_a_signature_of_ours_is_invalid(path: str, query: str) -> None:
    assert not is_valid_presigned_request(path, query, SECRET, NOW)


def test_the_signature_is_not_shown() -> None:
    url = build_presigned_url(BASE_URL, SECRET, SHA256, "pdf", EXPIRES_AT)
    assert SHA256 in repr(url)
    assert url.signature not in f"{url!r} {url}"


@pytest.mark.parametrize("token", [None, object(), "mint"])
def test_a_presigned_url_cannot_be_constructed_directly(token: Any) -> None:
    with pytest.raises(TypeError):
        PresignedUrl("https://evil.example.com/a.pdf", "00" * 32, token)


def test_a_presigned_url_cannot_be_changed() -> None:
    url = build_presigned_url(BASE_URL, SECRET, SHA256, "pdf", EXPIRES_AT)
    with pytest.raises(dataclasses.FrozenInstanceError):
        url.unsigned_url = "https://evil.example.com/a.pdf"  # type: ignore[misc]
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(url, unsigned_url="https://evil.example.com/a.pdf")
    assert copy.copy(url) == url


PUBLIC_BASE_URLS = [
    "https://documents.example.com/",
    "https://DOCUMENTS.example.com",
    "https://documents.example.com:8443",
    "https://a.co",
]


@pytest.mark.parametrize("base_url", PUBLIC_BASE_URLS)
def test_a_public_host_is_accepted(base_url: str) -> None:
    assert build_presigned_url(base_url, SECRET, SHA256, "pdf", EXPIRES_AT).unsigned_url.startswith(
        base_url.lower().rstrip("/") + "/1768473600/"
    )


REFUSED_BASE_URLS = [
    "http://documents.example.com", "documents.example.com", "//documents.example.com", "ftp://documents.example.com",
    "",
    "https://localhost", "https://documents.localhost", "https://documents.local", "https://documents",
    "https://host.internal",
    "https://router.home.arpa", "https://documents.lan", "https://127.0.0.1", "https://10.0.0.1", "https://192.168.1.1",
    "https://169.254.169.254", "https://8.8.8.8", "https://2130706433", "https://0x7f.0.0.1", "https://127.1",
    "https://[::1]", "https://[fe80::1]", "https://[::ffff:10.0.0.1]", "https://user@documents.example.com",
    "https://user:p4ss@documents.example.com", "https://documents.example.com/path",
    "https://documents.example.com?a=b",
    "https://documents.example.com#a", "https://documents.example.com.", "https://docu\nments.example.com",
    "https://[::1",
    "https://documents.example.com:0", "https://documents.example.com:99999", "https://documents..example.com",
    "https://döcuments.example.com", "https://documents.example.com\\@evil.example.org",
    "https://documents.example.com/..",
    " https://documents.example.com", "https://-documents.example.com", "https://documents.local:443",
]  # fmt: skip


@pytest.mark.parametrize("base_url", REFUSED_BASE_URLS)
def test_any_other_base_url_is_a_configuration_error(base_url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build_presigned_url(base_url, SECRET, SHA256, "pdf", EXPIRES_AT)
    assert "p4ss" not in str(caught.value)


@pytest.mark.parametrize("secret", ["", "x" * 31])
def test_a_short_secret_is_a_configuration_error(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="32"):
        build_presigned_url(BASE_URL, secret, SHA256, "pdf", EXPIRES_AT)


@pytest.mark.parametrize(
    ("sha256", "suffix", "expires_at"),
    [
        (SHA256.upper(), "pdf", EXPIRES_AT), (SHA256[1:], "pdf", EXPIRES_AT), ("../" + SHA256[3:], "pdf", EXPIRES_AT),
        (SHA256, "", EXPIRES_AT),
        (SHA256, ".pdf", EXPIRES_AT), (SHA256, "p/f", EXPIRES_AT), (SHA256, "pdf?", EXPIRES_AT),
        (SHA256 + "\n", "pdf", EXPIRES_AT),
        (SHA256, "pdf", EXPIRES_AT.replace(tzinfo=None)), (SHA256, "pdf", dt.datetime(1969, 1, 1, tzinfo=dt.UTC)),
    ],
)  # fmt: skip
def test_a_malformed_hash_suffix_or_expiry_is_a_value_error(sha256: str, suffix: str, expires_at: dt.datetime) -> None:
    with pytest.raises(ValueError, match=r"not a (lower-case SHA-256|time)"):
        build_presigned_url(BASE_URL, SECRET, sha256, suffix, expires_at)
