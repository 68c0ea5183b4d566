"""The sandbox as its callers meet it: real HTTP, limits, lost answers, hostile bodies, per key apart."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator
from decimal import Decimal

import pytest
import requests

from sandbox import get_samples_directory
from sandbox.exact_json import parse_json
from sandbox.process import Sandbox, start_sandbox
from sandbox.sample_manifest import load_manifest

INBOX = get_samples_directory() / "inbox"
SCAN_PATH = INBOX / "scans" / "scan0001.png"
AMOUNT_FIELDS = (
    "totalDiscounts", "totalFees", "subTotal", "totalTip", "totalDuties", "totalShipping", "totalTaxes", "total",
    "totalPayments",
)  # fmt: skip
API_KEYS = (f"sk_test_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all tests; each test comes with a key of its own."""
    with start_sandbox(tmp_path_factory.mktemp("sandbox")) as running_sandbox:
        yield running_sandbox


class ApiClient:
    """Someone with an API key of their own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.api_key = sandbox, next(API_KEYS)
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update({"Authorization": f"Bearer {self.api_key}", "x-tenant-id": "1"})
        self.invoices_url = sandbox.smartbills_com["base_url"] + "/v1/invoices"
        self.receipts_url = sandbox.smartbills_io["base_url"] + "/receipts"
        self.business_receipts_url = sandbox.smartbills_io["base_url"] + "/businesses/1/receipts"

    def update_sandbox_settings(self, **sandbox_settings: object) -> None:
        self.sandbox.update_settings(self.api_key, **sandbox_settings)

    def upload_file(self, content: bytes, **fields: str) -> requests.Response:
        return self.session.post(
            f"{self.invoices_url}/extract", files={"file": ("f", content)}, data=fields, timeout=10
        )

    def poll_job(self, job_id: str) -> requests.Response:
        return self.session.get(f"{self.invoices_url}/{job_id}", timeout=10)

    def extract_sample(self, path: str) -> dict[str, object]:
        """Upload a sample and return its job's first answer, numbers as Decimal."""
        job = self.upload_file((INBOX / path).read_bytes()).json()
        invoice = parse_json(self.poll_job(job["id"]).content)
        assert isinstance(invoice, dict)
        return invoice

    def create_receipt(self, url: str | None = None, **changes: object) -> requests.Response:
        zero_amount = {"amount": 0, "currency": "EUR"}
        body = {**dict.fromkeys(AMOUNT_FIELDS, zero_amount), "type": "OFFICIAL", "taxesIncluded": False, **changes}
        return self.session.post(url or self.receipts_url, json=body, timeout=10)

    def count_charges(self) -> int:
        return len(self.sandbox.read_journal(self.api_key)["charges"])

    def count_receipts(self) -> int:
        return len(self.sandbox.read_journal(self.api_key)["receipts"])


@pytest.fixture
def api_client(sandbox: Sandbox) -> Iterator[ApiClient]:
    """A caller with a key that nobody used before."""
    new_client = ApiClient(sandbox)
    yield new_client
    new_client.session.close()


def test_a_known_document_is_read_as_the_manifest_says(api_client: ApiClient) -> None:
    answer = api_client.extract_sample("scans/scan0001.png")
    data = answer["extracted_data"]
    assert isinstance(data, dict)
    assert (answer["status"], data["invoice_number"], data["date"]) == ("completed", "EV-20299", "2026-06-11")
    assert (data["total_amount"], data["currency"]) == (Decimal("2400.00"), "SEK")
    assert data["vendor"] == {"name": "Exempel Verkstad AB", "address": "Provgatan 6, 411 03 Göteborg, SE"}
    assert data["line_items"][0]["amount"] == Decimal("1920.00")


def test_what_is_no_invoice_completes_with_nothing_in_it(api_client: ApiClient) -> None:
    for path in ("tools/logo.png", "orders/PO-7060.pdf"):
        answer = api_client.extract_sample(path)
        data = answer["extracted_data"]
        assert isinstance(data, dict)
        assert answer["status"] == "completed"
        assert set(data.values()) == {None}


def test_a_smudged_number_is_null_and_the_rest_is_read(api_client: ApiClient) -> None:
    data = api_client.extract_sample("scans/batch/scan0005.pdf")["extracted_data"]
    assert isinstance(data, dict)
    assert data["invoice_number"] is None
    assert data["total_amount"] == Decimal("213.96")


def test_a_strange_document_fails_and_says_that_this_is_a_rehearsal(api_client: ApiClient) -> None:
    job = api_client.upload_file(b"%PDF-1.7 of somebody else").json()
    answer = api_client.poll_job(job["id"]).json()
    assert (answer["status"], answer["error"]["code"]) == ("failed", "UNREADABLE_DOCUMENT")
    assert "rehearsal" in answer["error"]["message"]


def test_where_strangers_are_read_each_is_an_invoice_of_its_own_whose_line_makes_the_total(
    api_client: ApiClient,
) -> None:
    api_client.update_sandbox_settings(smartbills_com__read_strangers="on")
    jobs = [api_client.upload_file(content).json() for content in (b"%PDF-1.7 one", b"%PDF-1.7 two", b"%PDF-1.7 one")]
    one, two, again = (api_client.poll_job(job["id"]).json()["extracted_data"] for job in jobs)
    assert one == again
    assert one["invoice_number"] != two["invoice_number"]
    assert one["total_amount"] == one["line_items"][0]["amount"]


def test_each_accepted_upload_is_one_charge_even_of_the_same_bytes(api_client: ApiClient) -> None:
    ids = {api_client.upload_file(SCAN_PATH.read_bytes()).json()["id"] for _ in range(3)}
    charges = api_client.sandbox.read_journal(api_client.api_key)["charges"]
    assert {charge["job_id"] for charge in charges} == ids
    assert {charge["document_sha256"] for charge in charges} == {
        row["sha256"] for row in load_manifest() if row["path"] == "inbox/scans/scan0001.png"
    }


def test_an_uploaded_file_is_served_without_a_key_at_an_address_nobody_guesses(api_client: ApiClient) -> None:
    address = api_client.upload_file(SCAN_PATH.read_bytes()).json()["file_url"]
    assert requests.get(address, timeout=10).content == SCAN_PATH.read_bytes()
    guess = address.replace(address.split("/")[-2], "guess")
    assert requests.get(guess, timeout=10).status_code == 404


def test_the_eleventh_call_of_a_free_minute_is_refused_and_one_of_another_key_is_not(api_client: ApiClient) -> None:
    answers = [api_client.poll_job("inv_none") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [404] * 10 + [429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers[:3]] == ["9", "8", "7"]
    assert "Retry-After" not in answers[-1].headers
    assert ApiClient(api_client.sandbox).poll_job("inv_none").status_code == 404


def test_a_refused_upload_is_neither_done_nor_charged(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_com__retry_after_on_429="seconds")
    for _ in range(10):
        api_client.poll_job("inv_none")
    refused = api_client.upload_file(SCAN_PATH.read_bytes())
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert api_client.count_charges() == 0


def test_the_plan_is_a_setting(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_com__plan="pro")
    assert api_client.poll_job("inv_none").headers["X-RateLimit-Limit"] == "100"


def test_without_a_key_of_ours_nobody_comes_in(api_client: ApiClient) -> None:
    for url in (
        f"{api_client.invoices_url}/inv_1",
        api_client.receipts_url,
        api_client.sandbox.smartbills_io["base_url"] + "/nothing",
    ):
        for header in ({}, {"Authorization": "Bearer sk_live_secret"}):
            assert requests.get(url, headers=header, timeout=10).status_code == 401
    assert b"sk_live_secret" not in b"".join(p.read_bytes() for p in api_client.sandbox.state_directory.iterdir())


def test_one_key_does_not_see_the_jobs_and_receipts_of_another(api_client: ApiClient) -> None:
    job, receipt = api_client.upload_file(SCAN_PATH.read_bytes()).json(), api_client.create_receipt().json()
    other = ApiClient(api_client.sandbox)
    assert other.poll_job(job["id"]).status_code == 404
    assert other.session.get(f"{other.receipts_url}/{receipt['id']}", timeout=10).status_code == 404
    assert other.session.get(other.invoices_url, timeout=10).json() == {"data": []}


def test_an_answer_lost_after_an_upload_leaves_one_charge_and_a_job_in_the_list(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_com__post_lost_response=1)
    with pytest.raises(requests.ConnectionError):
        api_client.upload_file(SCAN_PATH.read_bytes())
    assert api_client.count_charges() == 1
    jobs = api_client.session.get(api_client.invoices_url, timeout=10).json()["data"]
    assert [set(job) for job in jobs] == [{"id", "status", "created_at", "file_url"}]
    assert api_client.upload_file(SCAN_PATH.read_bytes()).status_code == 200
    newest_first = [job["id"] for job in api_client.session.get(api_client.invoices_url, timeout=10).json()["data"]]
    assert newest_first == sorted(newest_first, reverse=True)


def test_a_500_after_the_work_is_charged_and_one_without_is_not(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_com__http_500_after_work=1)
    assert api_client.upload_file(SCAN_PATH.read_bytes()).status_code == 500
    assert api_client.count_charges() == 1
    api_client.update_sandbox_settings(smartbills_com__http_500_every=2)
    assert [api_client.upload_file(SCAN_PATH.read_bytes()).status_code for _ in range(2)] == [500, 200]
    assert api_client.count_charges() == 2


def test_polls_say_processing_or_a_word_nobody_knows_before_they_say_completed(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_com__processing_polls=1)
    job = api_client.upload_file(SCAN_PATH.read_bytes()).json()["id"]
    assert [api_client.poll_job(job).json()["status"] for _ in range(2)] == ["processing", "completed"]
    api_client.update_sandbox_settings(smartbills_com__unknown_status="queued")
    job = api_client.upload_file(SCAN_PATH.read_bytes()).json()["id"]
    assert [api_client.poll_job(job).json()["status"] for _ in range(2)] == ["queued", "completed"]


def test_the_shapes_of_older_versions_are_settings(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_com__envelope="wrapped", smartbills_com__vendor_info_shape="on")
    api_client.update_sandbox_settings(
        smartbills_com__missing_fields="date,line_items", smartbills_com__reset_encoding="iso8601"
    )
    answer = api_client.upload_file(SCAN_PATH.read_bytes())
    assert answer.headers["X-RateLimit-Reset"].endswith("Z")
    data = api_client.poll_job(answer.json()["data"]["id"]).json()["data"]["extracted_data"]
    assert set(data) == {"invoice_number", "total_amount", "currency", "vendor_info"}


def test_chosen_documents_fail(api_client: ApiClient) -> None:
    job = api_client.upload_file(SCAN_PATH.read_bytes()).json()["id"]
    api_client.update_sandbox_settings(smartbills_com__fail_ids=job, smartbills_com__list_route="off")
    assert api_client.poll_job(job).json()["status"] == "failed"
    assert api_client.session.get(api_client.invoices_url, timeout=10).status_code == 404


def test_only_pdf_jpg_and_png_are_taken_and_only_up_to_the_limit(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_com__max_file_bytes=1_000)
    refused = api_client.upload_file(b"<Invoice/>")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "INVALID_FILE_FORMAT")
    assert api_client.upload_file(b"").status_code == 400
    assert api_client.upload_file(b"%PDF-" + bytes(1_000)).status_code == 413
    assert api_client.upload_file(b"%PDF-" + bytes(500_000)).status_code == 413
    assert api_client.upload_file(b"%PDF-" + bytes(995)).status_code == 200
    assert api_client.count_charges() == 1


def test_a_body_without_end_is_cut_off(api_client: ApiClient) -> None:
    piece = bytes(1_000_000)
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    pieces = itertools.chain([form], itertools.repeat(piece, 80))
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    with contextlib.suppress(requests.ConnectionError):  # it may hang up before its answer is read
        answer = api_client.session.post(f"{api_client.invoices_url}/extract", data=pieces, headers=kind, timeout=30)
        assert answer.status_code == 413
    assert api_client.count_charges() == 0
    assert api_client.poll_job("inv_none").status_code == 404


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n"), ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"no boundary at all"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x; charset=none", b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\n"),
        ("multipart/form-data; boundary=" + "x" * 5_000, b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=\xff\r\n\r\n1\r\n--x--\r\n"),
        ("application/x-www-form-urlencoded", b"file=%PDF-"), ("application/json", b"{}"), ("", b"%PDF-"),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 20_000),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 100 + b"--x--\r\n",
        ),
    ],
)  # fmt: skip
def test_a_hostile_form_is_a_400_and_no_charge(api_client: ApiClient, content_type: str, body: bytes) -> None:
    answer = api_client.session.post(
        f"{api_client.invoices_url}/extract", data=body, headers={"Content-Type": content_type}, timeout=10
    )
    assert answer.status_code == 400
    assert answer.json()["success"] is False
    assert "X-RateLimit-Reset" in answer.headers
    assert api_client.count_charges() == 0


def test_a_caller_who_hangs_up_midway_harms_nobody(api_client: ApiClient, capfd: pytest.CaptureFixture[str]) -> None:
    head = f"POST /smartbills_com/v1/invoices/extract HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api_client.api_key}\r\n"
    form = "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000\r\n\r\n--x\r\n"
    with socket.create_connection(("127.0.0.1", api_client.sandbox.port)) as connection:
        connection.sendall((head + form).encode())
    assert api_client.poll_job("inv_none").status_code == 404
    assert api_client.count_charges() == 0
    assert "Traceback" not in capfd.readouterr().err


def test_a_receipt_is_created_read_listed_updated_and_deleted(api_client: ApiClient) -> None:
    created = api_client.create_receipt(
        receiptId="r-1", total={"amount": 12.34, "currency": "EUR"}, customer={"email": "a@b.example"}
    )
    assert created.status_code == 201
    receipt = created.json()
    assert "customer" not in receipt
    url = f"{api_client.receipts_url}/{receipt['id']}"
    assert api_client.session.get(url, timeout=10).json() == receipt
    changes = {
        "merchantId": 1,
        "totalAmount": 9.5,
        "currency": "EUR",
        "items": [],
        "paymentMethod": "x",
        "date": "2026-01-01",
    }
    assert api_client.session.put(url, json={**changes, "date": None}, timeout=10).status_code == 400
    assert api_client.session.put(url, json=changes, timeout=10).json()["total"] == {"amount": 9.5, "currency": "EUR"}
    assert api_client.session.delete(url, timeout=10).json()["receiptId"] == "r-1"
    assert api_client.session.delete(url, timeout=10).status_code == 404
    journal = api_client.sandbox.read_journal(api_client.api_key)["receipts"]
    assert [(row["receiptId"], row["body"]["total"]["amount"]) for row in journal] == [("r-1", Decimal("12.34"))]


def test_the_list_has_pages_newest_first(api_client: ApiClient) -> None:
    ids = [api_client.create_receipt(receiptId=f"r-{n}").json()["id"] for n in range(5)]
    first = api_client.session.get(api_client.receipts_url, params={"page": 1, "pageSize": 2}, timeout=10).json()
    assert [row["id"] for row in first["data"]] == [ids[4], ids[3]]
    assert first["metadata"] == {"page": 1, "pageSize": 2, "totalPages": 3, "count": 5}
    query: dict[str, str | int] = {"page": 3, "pageSize": 2, "orderBy": "receiptId", "sortOrder": "asc"}
    assert [
        row["receiptId"]
        for row in api_client.session.get(api_client.receipts_url, params=query, timeout=10).json()["data"]
    ] == ["r-4"]
    assert (
        api_client.session.get(api_client.receipts_url, params={"page": 9, "pageSize": 2}, timeout=10).json()["data"]
        == []
    )
    for wrong in ({"page": 0}, {"pageSize": 101}, {"sortOrder": "x"}, {"orderBy": "id; drop table receipts"}):
        assert api_client.session.get(api_client.receipts_url, params=wrong, timeout=10).status_code == 400


def test_the_business_route_speaks_the_dialect_of_the_sdk(api_client: ApiClient) -> None:
    receipt = api_client.create_receipt(
        api_client.business_receipts_url, lineItems=[{"name": "Service", "description": "text"}]
    ).json()
    assert [item["name"] for item in receipt["lineItems"]] == ["Service"]
    assert "pagination" in api_client.session.get(api_client.business_receipts_url, timeout=10).json()
    assert (
        api_client.session.delete(f"{api_client.business_receipts_url}/{receipt['id']}", timeout=10).status_code == 204
    )
    elsewhere = api_client.business_receipts_url.replace("businesses/1/", "businesses/2/")
    assert api_client.session.get(elsewhere, timeout=10).status_code == 403


def test_a_lost_answer_leaves_the_receipt_and_repeating_makes_a_second_one(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_io__lost_response=1)
    with pytest.raises(requests.ConnectionError):
        api_client.create_receipt(receiptId="r-1")
    assert api_client.count_receipts() == 1
    assert api_client.create_receipt(receiptId="r-1").status_code == 201
    assert api_client.count_receipts() == 2


def test_uniqueness_and_idempotency_are_settings(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_io__unique_receipt_id="on", smartbills_io__http_500_after_work=1)
    assert api_client.create_receipt(receiptId="r-1").status_code == 500
    assert api_client.create_receipt(receiptId="r-1").json()["error"]["code"] == "DUPLICATE_RECEIPT"
    api_client.update_sandbox_settings(smartbills_io__unique_receipt_id="off", smartbills_io__idempotency_key="on")
    api_client.session.headers["Idempotency-Key"] = "k"
    assert (
        api_client.create_receipt(receiptId="r-2").json()["id"]
        == api_client.create_receipt(receiptId="r-2").json()["id"]
    )
    assert api_client.create_receipt(receiptId="r-3").status_code == 409
    assert api_client.count_receipts() == 2


def test_pages_shift_while_a_stranger_writes(api_client: ApiClient) -> None:
    ids = [api_client.create_receipt().json()["id"] for _ in range(4)]
    api_client.update_sandbox_settings(smartbills_io__page_shift=1)
    pages = [
        api_client.session.get(api_client.receipts_url, params={"page": n, "pageSize": 2}, timeout=10).json()
        for n in (1, 2)
    ]
    assert [row["id"] for page in pages for row in page["data"]] == [ids[3], ids[2], ids[2], ids[1]]
    assert api_client.count_receipts() == 4


def test_a_receipt_with_faults_is_refused_with_details_in_each_envelope(api_client: ApiClient) -> None:
    refused = api_client.create_receipt(total=12, subTotal=None)
    assert refused.status_code == 400
    assert {row["field"] for row in refused.json()["error"]["details"]} == {"total", "subTotal"}
    for envelope, member in (("2", "title"), ("3", "message"), ("4", "errors")):
        api_client.update_sandbox_settings(smartbills_io__error_envelope=envelope)
        assert member in api_client.create_receipt(total=12).json()
    api_client.update_sandbox_settings(smartbills_io__error_envelope="5")
    assert api_client.create_receipt(total=12).headers["Content-Type"].startswith("text/html")
    assert api_client.count_receipts() == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"[" * 200_000, b'{"total": NaN}', b"\xff\xfe"])
def test_a_hostile_body_is_a_400(api_client: ApiClient, body: bytes) -> None:
    assert api_client.session.post(api_client.receipts_url, data=body, timeout=10).status_code == 400
    assert api_client.count_receipts() == 0


def test_a_body_over_a_megabyte_is_refused(api_client: ApiClient) -> None:
    assert api_client.session.post(api_client.receipts_url, data=b" " * 1_100_000, timeout=10).status_code == 413


def test_tenant_and_scope_are_demanded(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_io__scopes="receipts.read")
    assert api_client.create_receipt().status_code == 403
    assert api_client.session.get(api_client.receipts_url, timeout=10).status_code == 200
    del api_client.session.headers["x-tenant-id"]
    assert api_client.session.get(api_client.receipts_url, timeout=10).status_code == 400


def test_a_leaky_bucket_answers_429_and_says_when_to_come_back(api_client: ApiClient) -> None:
    api_client.update_sandbox_settings(smartbills_io__rate_model="leaky_bucket", smartbills_io__retry_after="60")
    answers = [api_client.session.get(f"{api_client.receipts_url}/1", timeout=10) for _ in range(110)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert refused[0].headers["Retry-After"] == "60"


def test_a_wrong_setting_is_refused_by_the_admin_api(api_client: ApiClient) -> None:
    address = f"http://127.0.0.1:{api_client.sandbox.port}/_sandbox/settings"
    for body in (b'{"smartbills_com.nothing": 1}', b"[]", b"{"):
        assert requests.post(address, data=body, timeout=10).status_code == 400
    assert "smartbills_com.plan" in requests.get(address, timeout=10).json()
