"""FatturaPA (Italy): ordinary (FPA12, FPR12, 1.0, 1.1) and simplified (FSM10) invoices as payloads.

Elements and codes follow the "Specifiche tecniche" of the Agenzia delle Entrate (version 1.2.x of the format). One
file has one header and any number of bodies; each body is an invoice. Attachments
(``FatturaElettronicaBody/Allegati``) are not read here. Only what is stated is returned: totals that the format does
not have are computed in ``transforms/staging``.
"""

from __future__ import annotations

from invoices.documents.einvoice import xml_tree
from invoices.documents.einvoice.fatturapa_payments import extract_payable, extract_payments
from invoices.documents.einvoice.payload_values import Record, find_single_distinct_value
from invoices.documents.einvoice.xml_tree import Element, drop_absent_values, find_text

ROOT_NAMES = frozenset({"FatturaElettronica", "FatturaElettronicaSemplificata"})

_CREDIT_NOTE_CODES = frozenset({"TD04", "TD08"})
_DISCOUNT_TYPE, _SURCHARGE_TYPE = "SC", "MG"
_RECIPIENT_CODE_OF_CERTIFIED_MAIL = "0000000"


def find_specification_id(root: Element) -> str | None:
    """Return the transmission format: ``FPA12``, ``FPR12``, ``FSM10``, or of old versions ``SDI10``, ``SDI11``."""
    stated_format = find_text(root, "FatturaElettronicaHeader/DatiTrasmissione/FormatoTrasmissione")
    return stated_format or (root.get("versione") or "").strip() or None


def classify_fatturapa_profile(root: Element) -> str:
    """Return ``simplified`` or ``ordinary``."""
    return "simplified" if root.tag == "FatturaElettronicaSemplificata" else "ordinary"


def extract_invoices(root: Element) -> list[Record]:
    """Return one invoice for each body of a tree without namespaces; see the package for the keys."""
    header = root.find("FatturaElettronicaHeader")
    parties = _extract_parties(header)
    extract_contents = (
        _extract_simplified_contents if classify_fatturapa_profile(root) == "simplified" else _extract_ordinary_contents
    )
    return [
        drop_absent_values({**_extract_header_fields(body), **parties, **extract_contents(body)})
        for body in root.iterfind("FatturaElettronicaBody")
    ] or [{**parties}]


def _extract_header_fields(body: Element) -> Record:
    general_data = body.find("DatiGenerali")
    document = body.find("DatiGenerali/DatiGeneraliDocumento")
    type_code = find_text(document, "TipoDocumento")
    return {
        "invoice_number": find_text(document, "Numero"),
        "issue_date": xml_tree.find_date(document, "Data"),
        "type_code": type_code,
        "kind": "credit_note" if type_code in _CREDIT_NOTE_CODES else "invoice",
        "currency": find_text(document, "Divisa"),
        "note": _join_texts(document, "Causale", "\n"),
        "order_number": _join_texts(general_data, "DatiOrdineAcquisto/IdDocumento", ", "),
        "contract_number": _join_texts(general_data, "DatiContratto/IdDocumento", ", "),
        "tender_ids": _list_distinct_texts(body, ".//CodiceCIG"),
        "project_ids": _list_distinct_texts(body, ".//CodiceCUP"),
        "preceding_invoices": _extract_preceding_invoices(body),
        "delivery_notes": [
            drop_absent_values({"number": find_text(note, "NumeroDDT"), "date": xml_tree.find_date(note, "DataDDT")})
            for note in body.iterfind("DatiGenerali/DatiDDT")
        ],
        "delivery_date": xml_tree.find_date(general_data, "DatiTrasporto/DataOraConsegna")
        or find_single_distinct_value(_list_distinct_texts(general_data, "DatiDDT/DataDDT")),
    }


def _extract_preceding_invoices(body: Element) -> list[Record]:
    """Return the invoices that this one corrects (BG-3): the simplified format names the first of them otherwise."""
    ordinary = [
        {"number": find_text(reference, "IdDocumento"), "issue_date": xml_tree.find_date(reference, "Data")}
        for reference in body.iterfind("DatiGenerali/DatiFattureCollegate")
    ]
    simplified = [
        {"number": find_text(reference, "NumeroFR"), "issue_date": xml_tree.find_date(reference, "DataFR")}
        for reference in body.iterfind("DatiGenerali/DatiFatturaRettificata")
    ]
    return [drop_absent_values(reference) for reference in [*ordinary, *simplified]]


def _extract_parties(header: Element | None) -> Record:
    if header is None:
        return {}
    seller = header.find("CedentePrestatore")
    buyer = header.find("CessionarioCommittente")
    recipient_code = find_text(header, "DatiTrasmissione/CodiceDestinatario")
    certified_mail = find_text(header, "DatiTrasmissione/PECDestinatario")
    is_code_of_mail = recipient_code == _RECIPIENT_CODE_OF_CERTIFIED_MAIL
    return {
        "seller": _extract_party(seller),
        "buyer": drop_absent_values({
            **_extract_party(buyer),
            "endpoint": certified_mail if is_code_of_mail and certified_mail else recipient_code,
        }),
        "buyer_reference": find_text(seller, "RiferimentoAmministrazione"),
        "tax_representative": _extract_party(header.find("RappresentanteFiscale")),
        "issued_by": find_text(header, "SoggettoEmittente"),  # CC: the buyer issues it, TZ: a third party does
    }  # fmt: skip


def _extract_party(party: Element | None) -> Record:
    """Return a party of either format: the simplified one has no DatiAnagrafici, and names its parts otherwise."""
    if party is None:
        return {}
    identity = party.find("DatiAnagrafici")
    if identity is None:
        identity = party.find("IdentificativiFiscali")
    tax_identity = party if identity is None else identity
    names = [party.find(path) for path in ("DatiAnagrafici/Anagrafica", "AltriDatiIdentificativi", ".")]
    address = party.find("Sede")
    if address is None:
        address = party.find("AltriDatiIdentificativi/Sede")
    registration = [find_text(party, f"IscrizioneREA/{name}") for name in ("Ufficio", "NumeroREA")]
    street = [find_text(address, name) for name in ("Indirizzo", "NumeroCivico")]
    return drop_absent_values({
        "name": next((name for element in names if (name := _find_name(element))), None),
        "vat_id": _find_vat_id(tax_identity),
        "tax_number": find_text(tax_identity, "CodiceFiscale"),
        "legal_id": "-".join(part for part in registration if part) or None,
        "tax_regime": find_text(party, "DatiAnagrafici/RegimeFiscale") or find_text(party, "RegimeFiscale"),
        "country": find_text(address, "Nazione"),
        "city": find_text(address, "Comune"),
        "region": find_text(address, "Provincia"),
        "postcode": find_text(address, "CAP"),
        "line1": " ".join(part for part in street if part) or None,
        "email": find_text(party, "Contatti/Email"),
    })  # fmt: skip


def _find_name(element: Element | None) -> str | None:
    """Return the name of a company, or of a person: title, first name, family name."""
    parts = [find_text(element, name) for name in ("Titolo", "Nome", "Cognome")]
    return find_text(element, "Denominazione") or " ".join(part for part in parts if part) or None


def _find_vat_id(identity: Element) -> str | None:
    """Return country and code as one id; some programs repeat the country in the code."""
    country, code = find_text(identity, "IdFiscaleIVA/IdPaese") or "", find_text(identity, "IdFiscaleIVA/IdCodice")
    if code is None:
        return None
    return code if country and code.upper().startswith(country.upper()) else country + code


def _extract_ordinary_contents(body: Element) -> Record:
    document = body.find("DatiGenerali/DatiGeneraliDocumento")
    goods = body.find("DatiBeniServizi")
    adjustments = _extract_price_adjustments(document)
    return {
        **extract_payments(body),
        "totals": drop_absent_values({
            "tax_inclusive": find_text(document, "ImportoTotaleDocumento"),
            "rounding": find_text(document, "Arrotondamento"),
            **extract_payable(body),
        }),
        "taxes": [] if goods is None else [_extract_tax(summary) for summary in goods.iterfind("DatiRiepilogo")],
        "allowances": [{**a, "reason_code": a["type"]} for a in adjustments if a.get("type") == _DISCOUNT_TYPE],
        "charges": [{**a, "reason_code": a["type"]} for a in adjustments if a.get("type") == _SURCHARGE_TYPE]
        + _extract_pension_contributions(document),
        "withholdings": _extract_withholdings(document),
        "stamp_duty": find_text(document, "DatiBollo/ImportoBollo"),
        "lines": [] if goods is None else [_extract_line(line) for line in goods.iterfind("DettaglioLinee")],
    }  # fmt: skip


def _extract_withholdings(document: Element | None) -> list[Record]:
    """Return what the customer withholds and pays to the state (income tax, contributions)."""
    return [] if document is None else [
        drop_absent_values({
            "amount": find_text(withholding, "ImportoRitenuta"),
            "rate": find_text(withholding, "AliquotaRitenuta"),
            "category": find_text(withholding, "TipoRitenuta"),
        })
        for withholding in document.iterfind("DatiRitenuta")
    ]  # fmt: skip


def _extract_pension_contributions(document: Element | None) -> list[Record]:
    """Return contributions to a pension fund that the invoice adds: charges that are taxed themselves."""
    return [] if document is None else [
        drop_absent_values({
            "amount": find_text(fund, "ImportoContributoCassa"),
            "base_amount": find_text(fund, "ImponibileCassa"),
            "percentage": find_text(fund, "AlCassa"),
            "reason_code": find_text(fund, "TipoCassa"),
            "tax_rate": find_text(fund, "AliquotaIVA"),
            "exemption_code": find_text(fund, "Natura"),
        })
        for fund in document.iterfind("DatiCassaPrevidenziale")
    ]  # fmt: skip


def _extract_price_adjustments(parent: Element | None) -> list[Record]:
    """Return discounts and surcharges. Those of a line are for one unit, and each applies to what the last has left."""
    return [] if parent is None else [
        drop_absent_values({
            "type": find_text(adjustment, "Tipo"),
            "percentage": find_text(adjustment, "Percentuale"),
            "amount": find_text(adjustment, "Importo"),
        })
        for adjustment in parent.iterfind("ScontoMaggiorazione")
    ]  # fmt: skip


def _extract_tax(summary: Element) -> Record:
    return drop_absent_values({
        "rate": find_text(summary, "AliquotaIVA"),
        "taxable_amount": find_text(summary, "ImponibileImporto"),
        "tax_amount": find_text(summary, "Imposta"),
        "exemption_reason": find_text(summary, "RiferimentoNormativo"),
        "exemption_code": find_text(summary, "Natura"),
        "tax_due": find_text(summary, "EsigibilitaIVA"),  # I at once, D deferred, S paid by the customer
        "rounding": find_text(summary, "Arrotondamento"),
        "incidental_expenses": find_text(summary, "SpeseAccessorie"),
    })  # fmt: skip


def _extract_line(line: Element) -> Record:
    item_ids = [find_text(code, "CodiceValore") or find_text(code, ".") for code in line.iterfind("CodiceArticolo")]
    return drop_absent_values({
        "line_id": find_text(line, "NumeroLinea"),
        "description": find_text(line, "Descrizione"),
        "details": "\n".join(_format_management_data(data) for data in line.iterfind("AltriDatiGestionali")) or None,
        "item_id": next((item_id for item_id in item_ids if item_id), None),
        "charge_type": find_text(line, "TipoCessionePrestazione"),  # SC discount, PR prize, AB rebate, AC expense
        "quantity": find_text(line, "Quantita"),
        "unit": find_text(line, "UnitaMisura"),
        "unit_price": find_text(line, "PrezzoUnitario"),
        "price_adjustments": _extract_price_adjustments(line),
        "net_amount": find_text(line, "PrezzoTotale"),
        "tax_rate": find_text(line, "AliquotaIVA"),
        "exemption_code": find_text(line, "Natura"),
        "is_withheld": find_text(line, "Ritenuta"),
        "period_start": xml_tree.find_date(line, "DataInizioPeriodo"),
        "period_end": xml_tree.find_date(line, "DataFinePeriodo"),
    })  # fmt: skip


def _format_management_data(data: Element) -> str:
    names = ("TipoDato", "RiferimentoTesto", "RiferimentoNumero", "RiferimentoData")
    return " ".join(text for name in names if (text := find_text(data, name)))


def _extract_simplified_contents(body: Element) -> Record:
    """Return the lines of the simplified format: each amount includes its tax, and there is no summary of taxes."""
    return {
        "lines": [
            drop_absent_values({
                "line_id": str(number),
                "description": find_text(line, "Descrizione"),
                "gross_amount": find_text(line, "Importo"),
                "tax_rate": find_text(line, "DatiIVA/Aliquota"),
                "tax_amount": find_text(line, "DatiIVA/Imposta"),
                "exemption_code": find_text(line, "Natura"),
                "exemption_reason": find_text(line, "RiferimentoNormativo"),
            })
            for number, line in enumerate(body.iterfind("DatiBeniServizi"), start=1)
        ]
    }  # fmt: skip


def _list_distinct_texts(parent: Element | None, path: str) -> list[str]:
    return [] if parent is None else list(dict.fromkeys(xml_tree.iter_texts(parent, path)))


def _join_texts(parent: Element | None, path: str, separator: str) -> str | None:
    return separator.join(_list_distinct_texts(parent, path)) or None
