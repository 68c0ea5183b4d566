"""FatturaPA: what each part of the format becomes in the payload."""

from __future__ import annotations

from typing import Any

import pytest

from invoices.documents.xml_reader import read_xml_document
from tests.fatturapa_documents import HEADER, LINE, SUMMARY, build_body, build_fatturapa, build_simplified_fatturapa


def read_invoices(content: bytes) -> list[dict[str, Any]]:
    reading = read_xml_document(content)
    assert reading.payload is not None, reading
    assert reading.payload["syntax"] == "fatturapa"
    invoices: list[dict[str, Any]] = reading.payload["invoices"]
    return invoices


def test_an_ordinary_invoice_gives_its_header_its_parties_and_its_lines() -> None:
    reading = read_xml_document(build_fatturapa())
    assert reading.payload is not None
    assert {key: reading.payload[key] for key in ("specification", "profile", "source")} == {
        "specification": "FPR12", "profile": "ordinary", "source": "xml"}  # fmt: skip
    (invoice,) = reading.payload["invoices"]
    assert (invoice["invoice_number"], invoice["issue_date"], invoice["type_code"], invoice["currency"]) == (
        "7/A", "2026-01-31", "TD01", "EUR")  # fmt: skip
    assert invoice["seller"] == {
        "name": "Officina Però Srl", "vat_id": "IT01234567890", "tax_number": "01234567890", "legal_id": "MI-55",
        "tax_regime": "RF01", "country": "IT", "city": "Milano", "region": "MI", "postcode": "20100",
        "line1": "Via Uno 7",
    }  # fmt: skip
    assert invoice["buyer"]["name"] == "Mario Rossi"
    assert invoice["buyer"]["tax_number"] == "RSSMRA80A01F205X"
    assert "vat_id" not in invoice["buyer"]
    assert invoice["buyer"]["endpoint"] == "ABC1234"
    assert invoice["lines"] == [
        {
            "line_id": "1",
            "description": "Consulenza",
            "unit_price": "100.00000000",
            "net_amount": "100.00000000",
            "tax_rate": "22.00",
        }
    ]
    assert invoice["taxes"] == [{"rate": "22.00", "taxable_amount": "100.00", "tax_amount": "22.00"}]
    assert "totals" not in invoice, "what is not stated is never made up here"


@pytest.mark.parametrize(
    ("prefix", "namespace"),
    [
        ("", "http://www.fatturapa.gov.it/sdi/fatturapa/v1.1"),
        ("ns3", "http://www.fatturapa.gov.it/sdi/fatturapa/v1.0"),
        ("x", "http://vendor.example/schema"),
    ],
)
def test_any_namespace_and_prefix_is_read_alike(prefix: str, namespace: str) -> None:
    assert read_invoices(build_fatturapa(prefix=prefix, namespace=namespace)) == read_invoices(build_fatturapa())


def test_another_encoding_and_a_byte_order_mark_are_read_alike() -> None:
    assert read_invoices(build_fatturapa(encoding="windows-1252")) == read_invoices(build_fatturapa())
    assert read_invoices(b"\xef\xbb\xbf" + build_fatturapa()) == read_invoices(build_fatturapa())


def test_each_body_is_an_invoice_with_the_parties_of_the_header() -> None:
    first, second = read_invoices(build_fatturapa(build_body("1"), build_body("2", kind="TD04")))
    assert (first["invoice_number"], first["kind"]) == ("1", "invoice")
    assert (second["invoice_number"], second["kind"]) == ("2", "credit_note")
    assert first["seller"] == second["seller"]


def test_a_file_without_a_body_is_an_invoice_that_states_only_its_parties() -> None:
    (invoice,) = read_invoices(build_fatturapa(""))
    assert invoice["seller"]["name"] == "Officina Però Srl"
    assert "lines" not in invoice


def test_withholding_pension_fund_stamp_and_discounts_are_kept_apart() -> None:
    (invoice,) = read_invoices(build_fatturapa(build_body(document="""
        <DatiRitenuta><TipoRitenuta>RT02</TipoRitenuta><ImportoRitenuta>20.00</ImportoRitenuta>
        <AliquotaRitenuta>20.00</AliquotaRitenuta></DatiRitenuta>
        <DatiBollo><ImportoBollo>2.00</ImportoBollo></DatiBollo>
        <DatiCassaPrevidenziale><TipoCassa>TC03</TipoCassa><AlCassa>4.00</AlCassa>
        <ImportoContributoCassa>4.00</ImportoContributoCassa><ImponibileCassa>100.00</ImponibileCassa>
        <AliquotaIVA>0.00</AliquotaIVA><Natura>N4</Natura></DatiCassaPrevidenziale>
        <ScontoMaggiorazione><Tipo>SC</Tipo><Importo>7.00</Importo></ScontoMaggiorazione>
        <ScontoMaggiorazione><Tipo>MG</Tipo><Percentuale>1.50</Percentuale></ScontoMaggiorazione>
        <ImportoTotaleDocumento>117.00</ImportoTotaleDocumento><Arrotondamento>-0.01</Arrotondamento>
        <Causale>prima</Causale><Causale>seconda</Causale>""")))  # fmt: skip
    assert invoice["withholdings"] == [{"amount": "20.00", "rate": "20.00", "category": "RT02"}]
    assert invoice["stamp_duty"] == "2.00"
    assert invoice["allowances"] == [{"type": "SC", "amount": "7.00", "reason_code": "SC"}]
    assert invoice["charges"] == [
        {"type": "MG", "percentage": "1.50", "reason_code": "MG"},
        {"amount": "4.00", "base_amount": "100.00", "percentage": "4.00", "reason_code": "TC03",
         "tax_rate": "0.00", "exemption_code": "N4"},
    ]  # fmt: skip
    assert invoice["totals"] == {"tax_inclusive": "117.00", "rounding": "-0.01"}
    assert invoice["note"] == "prima\nseconda"


def test_instalments_are_kept_and_only_what_they_share_is_the_invoices() -> None:
    detail = (
        "<DettaglioPagamento><ModalitaPagamento>MP05</ModalitaPagamento>"
        "<DataScadenzaPagamento>{}</DataScadenzaPagamento><ImportoPagamento>{}</ImportoPagamento>"
        "<IBAN>IT60X0542811101000000123456</IBAN></DettaglioPagamento>"
    )
    details = detail.format("2026-02-28", "61.00") + detail.format("2026-03-31", "61.00")
    rest = f"<DatiPagamento><CondizioniPagamento>TP01</CondizioniPagamento>{details}</DatiPagamento>"
    (invoice,) = read_invoices(build_fatturapa(build_body(rest=rest)))
    assert [payment["due_date"] for payment in invoice["payments"]] == ["2026-02-28", "2026-03-31"]
    assert "due_date" not in invoice
    assert "totals" not in invoice
    assert invoice["iban"] == "IT60X0542811101000000123456"
    assert invoice["payment_terms"] == "TP01 MP05 2026-02-28 61.00; TP01 MP05 2026-03-31 61.00"


def test_references_to_orders_contracts_deliveries_and_corrected_invoices_are_read() -> None:
    general = """<DatiOrdineAcquisto><IdDocumento>PO-1</IdDocumento><CodiceCUP>C1</CodiceCUP><CodiceCIG>G1</CodiceCIG>
        </DatiOrdineAcquisto><DatiOrdineAcquisto><IdDocumento>PO-2</IdDocumento></DatiOrdineAcquisto>
        <DatiContratto><IdDocumento>K-1</IdDocumento></DatiContratto>
        <DatiFattureCollegate><IdDocumento>6/A</IdDocumento><Data>2025-12-31</Data></DatiFattureCollegate>
        <DatiDDT><NumeroDDT>D-1</NumeroDDT><DataDDT>2026-01-15</DataDDT></DatiDDT>"""
    (invoice,) = read_invoices(build_fatturapa(build_body(general=general)))
    assert (invoice["order_number"], invoice["contract_number"]) == ("PO-1, PO-2", "K-1")
    assert (invoice["project_ids"], invoice["tender_ids"]) == (["C1"], ["G1"])
    assert invoice["preceding_invoices"] == [{"number": "6/A", "issue_date": "2025-12-31"}]
    assert invoice["delivery_notes"] == [{"number": "D-1", "date": "2026-01-15"}]
    assert invoice["delivery_date"] == "2026-01-15"


def test_a_line_keeps_its_discounts_its_nature_and_its_signs() -> None:
    line = LINE.replace("100.00000000</PrezzoUnitario>", """-0.12345678</PrezzoUnitario><ScontoMaggiorazione>
        <Tipo>SC</Tipo><Percentuale>10.00</Percentuale></ScontoMaggiorazione>""").replace(
        "<AliquotaIVA>22.00</AliquotaIVA>", "<AliquotaIVA>0.00</AliquotaIVA><Natura>N2.2</Natura>")  # fmt: skip
    (invoice,) = read_invoices(build_fatturapa(build_body(goods=line + SUMMARY)))
    assert invoice["lines"][0]["unit_price"] == "-0.12345678"
    assert invoice["lines"][0]["price_adjustments"] == [{"type": "SC", "percentage": "10.00"}]
    assert invoice["lines"][0]["exemption_code"] == "N2.2"


def test_a_country_that_the_code_repeats_is_in_the_id_once() -> None:
    header = HEADER.replace("<IdCodice>01234567890", "<IdCodice>IT01234567890")
    assert read_invoices(build_fatturapa(header=header))[0]["seller"]["vat_id"] == "IT01234567890"


def test_the_simplified_format_states_amounts_with_tax() -> None:
    reading = read_xml_document(build_simplified_fatturapa())
    assert reading.payload is not None
    assert reading.payload["profile"] == "simplified"
    (invoice,) = reading.payload["invoices"]
    assert (invoice["seller"]["name"], invoice["seller"]["vat_id"]) == ("Bar Uno", "IT01234567890")
    assert invoice["buyer"] == {"vat_id": "IT09876543210", "endpoint": "cliente@pec.example"}
    assert invoice["lines"] == [
        {"line_id": "1", "description": "Pranzo", "gross_amount": "25.00", "tax_rate": "22.00"},
        {"line_id": "2", "description": "Vino", "gross_amount": "11.00", "tax_rate": "10.00", "tax_amount": "1.00"},
    ]
    assert "taxes" not in invoice


@pytest.mark.parametrize("root", ["NotificaScarto", "RicevutaConsegna", "FileMetadati"])
def test_a_notice_of_the_exchange_is_no_invoice(root: str) -> None:
    content = (
        f"<n:{root} xmlns:n='http://www.fatturapa.gov.it/sdi/messaggi/v1.0'><NomeFile>IT01_1.xml</NomeFile></n:{root}>"
    )
    reading = read_xml_document(content.encode())
    assert reading.payload is None
    assert reading.reason_code == "application_response"
