"""Mexico's CFDI 3.2, 3.3 and 4.0 as a payload (SAT, Anexo 20: cfdv32.xsd, cfdv33.xsd, cfdv40.xsd).

Its values are attributes; those of 3.2 begin with a small letter. ``Total`` is what the buyer pays: the taxes that the
buyer withholds (``Retenciones``) are deducted. ``SubTotal`` and ``Importe`` are before discounts, so the net amount is
``SubTotal`` − ``Descuento``. The legal identity is the UUID of its stamp (``TimbreFiscalDigital``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from invoices.documents.einvoice.country_codes import find_alpha2_code
from invoices.documents.einvoice.decimal_texts import (
    convert_fraction_to_percent,
    is_zero_text,
    subtract_decimal_texts,
    sum_decimal_texts,
)
from invoices.documents.einvoice.payload_values import Record, normalise_iso_date
from invoices.documents.einvoice.xml_tree import Element, drop_absent_values, get_local_name

KIND_BY_TYPE = {"i": "invoice", "ingreso": "invoice", "e": "credit_note", "egreso": "credit_note"}
READ_COMPLEMENTS = frozenset({"TimbreFiscalDigital", "ImpuestosLocales"})
MAX_UNREAD_PARTS = 20

TaxGroup = tuple[str, bool, bool, str | None]

_TAX_NAME_BY_CODE = {"001": "ISR", "002": "IVA", "003": "IEPS"}  # SAT, catalogue c_Impuesto
_GENERIC_TAX_IDS = frozenset({"XAXX010101000", "XEXX010101000"})  # anybody in Mexico, anybody abroad
_REPLACEMENT = "04"  # SAT, catalogue c_TipoRelacion: instead of an earlier CFDI
_COUNTRY_BY_NAME = {"mexico": "MX", "méxico": "MX"}  # 3.2: a country is free text


@dataclass(frozen=True)
class TransferredTax:
    """A ``Traslado``: ``rate`` is in percent; a fixed amount per unit (``Cuota``) and an exemption have none."""

    name: str
    rate: str | None
    is_exempt: bool
    is_per_unit: bool
    base: str | None
    amount: str | None

    @property
    def category(self) -> str:
        """The category of UNTDID 5305 for VAT (IVA), the tax's own name for any other."""
        if self.is_exempt:
            return "E"
        if self.name != "IVA":
            return self.name
        return "Z" if is_zero_text(self.rate) else "S"

    @property
    def group(self) -> TaxGroup:
        """What the document sums by; rates of 0.16 and 0.160000 are the same."""
        return (self.name, self.is_exempt, self.is_per_unit, self.rate)


def is_cfdi_invoice(root: Element) -> bool:
    """Return whether a ``Comprobante`` is income or its refund, and not a payslip (which 3.2 calls ``egreso``)."""
    has_payroll = any(get_local_name(complement) == "Nomina" for complement in root.iterfind("{*}Complemento/*"))
    return (get_attribute(root, "TipoDeComprobante") or "").casefold() in KIND_BY_TYPE and not has_payroll


def find_specification_id(root: Element) -> str | None:
    """Return the version: ``3.2``, ``3.3`` or ``4.0``."""
    return get_attribute(root, "Version")


def get_attribute(element: Element | None, name: str) -> str | None:
    """Return a trimmed attribute, also if its first letter is small as in 3.2; None if it is absent or empty."""
    if element is None:
        return None
    value = element.get(name)
    if value is None:
        value = element.get(name[0].lower() + name[1:], "")
    return value.strip() or None


def extract_invoices(root: Element) -> list[Record]:
    """Return the one invoice of a tree without namespaces; see the package for the keys."""
    document_type = get_attribute(root, "TipoDeComprobante") or ""
    uuid = get_attribute(root.find("Complemento/TimbreFiscalDigital"), "UUID")
    issuer, preceding_invoices = root.find("Emisor"), _extract_preceding_invoices(root)
    is_replacement = any(item.get("relation") == _REPLACEMENT for item in preceding_invoices)
    return [
        drop_absent_values({
            "invoice_number": get_attribute(root, "Folio") or uuid,
            "invoice_series": get_attribute(root, "Serie"),
            "fiscal_id": uuid.upper() if uuid else None,
            "is_unstamped": None if uuid else "true",
            "issue_date": normalise_iso_date(get_attribute(root, "Fecha") or "") or None,
            "type_code": document_type,
            "kind": KIND_BY_TYPE.get(document_type.casefold(), "invoice"),
            "currency": get_attribute(root, "Moneda") or ("MXN" if find_specification_id(root) == "3.2" else None),
            "payment_terms": _join_payment_terms(root),
            "seller": _extract_issuer(issuer),
            "buyer": _extract_recipient(root.find("Receptor")),
            "preceding_invoices": preceding_invoices,
            "replaces_earlier": "true" if is_replacement else None,
            "totals": _extract_totals(root),
            "taxes": _extract_taxes(root),
            "withholdings": _extract_withholdings(root),
            "allowances": _extract_document_discount(root),
            "lines": [
                _extract_line(line, number) for number, line in enumerate(root.iterfind("Conceptos/Concepto"), 1)
            ],
            "unread_parts": _list_unread_parts(root),
        })
    ]  # fmt: skip


def _join_payment_terms(root: Element) -> str | None:
    """Return the terms, the method (PUE: at once, PPD: later or in parts) and the form of payment as one text."""
    if find_specification_id(root) == "3.2":
        names = ("CondicionesDePago", "FormaDePago", "MetodoDePago")
    else:
        names = ("CondicionesDePago", "MetodoPago", "FormaPago")
    return "; ".join(value for name in names if (value := get_attribute(root, name))) or None


def _extract_issuer(issuer: Element | None) -> Record:
    """Return the seller. Only a taxpayer of Mexico can issue a CFDI; 3.3 and 4.0 state no address."""
    if issuer is None:
        return {}
    tax_id = get_attribute(issuer, "Rfc")
    address = _extract_address(issuer.find("DomicilioFiscal"))
    return drop_absent_values(
        {"name": get_attribute(issuer, "Nombre"), "tax_number": tax_id, "country": "MX" if tax_id else None, **address}
    )


def _extract_recipient(recipient: Element | None) -> Record:
    """Return the buyer; a generic RFC identifies nobody, so the tax id of another country replaces it."""
    if recipient is None:
        return {}
    tax_id, foreign_id = get_attribute(recipient, "Rfc"), get_attribute(recipient, "NumRegIdTrib")
    is_generic = (tax_id or "").upper() in _GENERIC_TAX_IDS
    residence = get_attribute(recipient, "ResidenciaFiscal")
    country = find_alpha2_code(residence) if residence else (None if is_generic or not tax_id else "MX")
    postcode = get_attribute(recipient, "DomicilioFiscalReceptor")
    return drop_absent_values({
        "name": get_attribute(recipient, "Nombre"),
        "tax_number": (foreign_id or tax_id) if is_generic else tax_id,
        "country": country,
        "postcode": postcode,
        **_extract_address(recipient.find("Domicilio")),
    })  # fmt: skip


def _extract_address(address: Element | None) -> Record:
    if address is None:
        return {}
    street = " ".join(value for name in ("Calle", "NoExterior") if (value := get_attribute(address, name)))
    country = get_attribute(address, "Pais") or ""
    return drop_absent_values({
        "line1": street,
        "city": get_attribute(address, "Municipio") or get_attribute(address, "Localidad"),
        "postcode": get_attribute(address, "CodigoPostal"),
        "country": _COUNTRY_BY_NAME.get(country.casefold()) or find_alpha2_code(country),
    })  # fmt: skip


def _extract_preceding_invoices(root: Element) -> list[Record]:
    return [
        drop_absent_values({
            "fiscal_id": (get_attribute(related, "UUID") or "").upper(),
            "relation": get_attribute(group, "TipoRelacion"),
        })
        for group in root.iterfind("CfdiRelacionados")
        for related in group.iterfind("CfdiRelacionado")
    ]  # fmt: skip


def _extract_totals(root: Element) -> Record:
    """Return the totals: 3.2 has a discount on the document, 3.3 and 4.0 have the sum of the lines' discounts."""
    subtotal, discount = get_attribute(root, "SubTotal"), get_attribute(root, "Descuento")
    net = subtotal if is_zero_text(discount) else subtract_decimal_texts(subtotal, discount)
    is_on_document = find_specification_id(root) == "3.2"
    taxes, local_taxes = root.find("Impuestos"), root.find("Complemento/ImpuestosLocales")
    withheld = sum_decimal_texts([_find_withheld_total(taxes), get_attribute(local_taxes, "TotaldeRetenciones")])
    return drop_absent_values({
        "line_total": subtotal if is_on_document else net,
        "allowance_total": discount if is_on_document else None,
        "tax_exclusive": net,
        "tax_total": get_attribute(taxes, "TotalImpuestosTrasladados")
        or sum_decimal_texts(tax.amount for tax in _iter_transferred_taxes(taxes)),
        "other_taxes": get_attribute(local_taxes, "TotaldeTraslados"),
        "withheld": withheld,
        "withheld_in_total": withheld,
        "tax_inclusive": get_attribute(root, "Total"),
    })  # fmt: skip


def _find_withheld_total(taxes: Element | None) -> str | None:
    if taxes is None:
        return None
    return get_attribute(taxes, "TotalImpuestosRetenidos") or sum_decimal_texts(
        get_attribute(tax, "Importe") for tax in taxes.iterfind("Retenciones/Retencion")
    )


def _extract_document_discount(root: Element) -> list[Record]:
    discount = get_attribute(root, "Descuento")
    if find_specification_id(root) != "3.2" or discount is None or is_zero_text(discount):
        return []
    return [drop_absent_values({"amount": discount, "reason": get_attribute(root, "MotivoDescuento")})]


def _iter_transferred_taxes(taxes: Element | None) -> Iterator[TransferredTax]:
    """Yield the taxes of the document or of a line. 3.2 states its rate in percent, later versions as a fraction."""
    for tax in [] if taxes is None else taxes.iterfind("Traslados/Traslado"):
        code, factor = get_attribute(tax, "Impuesto") or "", get_attribute(tax, "TipoFactor")
        rate = get_attribute(tax, "Tasa") or convert_fraction_to_percent(get_attribute(tax, "TasaOCuota"))
        yield TransferredTax(
            name=_TAX_NAME_BY_CODE.get(code, code),
            rate=rate if factor in (None, "Tasa") else None,
            is_exempt=factor == "Exento",
            is_per_unit=factor == "Cuota",
            base=get_attribute(tax, "Base"),
            amount=get_attribute(tax, "Importe"),
        )


def _extract_taxes(root: Element) -> list[Record]:
    """Return the taxes of the document. 3.3 states no base there, and no exemption: they follow from the lines."""
    bases: dict[TaxGroup, list[str | None]] = {}
    unlisted_exemptions: dict[TaxGroup, TransferredTax] = {}
    document_taxes = list(_iter_transferred_taxes(root.find("Impuestos")))
    listed_groups = {tax.group for tax in document_taxes}
    for line in root.iterfind("Conceptos/Concepto"):
        for tax in _iter_transferred_taxes(line.find("Impuestos")):
            bases.setdefault(tax.group, []).append(tax.base)
            if tax.is_exempt and tax.group not in listed_groups:
                unlisted_exemptions[tax.group] = replace(tax, base=None)
    return [
        drop_absent_values({
            "category": tax.category,
            "rate": "0" if tax.is_exempt else tax.rate,
            "is_without_rate": "true" if tax.is_per_unit else None,
            "taxable_amount": None if tax.is_per_unit else tax.base or sum_decimal_texts(bases.get(tax.group, [])),
            "tax_amount": tax.amount or ("0" if tax.is_exempt else None),
            "exemption_reason": "Exento" if tax.is_exempt else None,
        })
        for tax in [*document_taxes, *unlisted_exemptions.values()]
    ]  # fmt: skip


def _extract_withholdings(root: Element) -> list[Record]:
    local_taxes = root.iterfind("Complemento/ImpuestosLocales/RetencionesLocales")
    return [
        *(
            drop_absent_values({
                "category": _TAX_NAME_BY_CODE.get(code := get_attribute(tax, "Impuesto") or "", code),
                "amount": get_attribute(tax, "Importe"),
            })
            for tax in root.iterfind("Impuestos/Retenciones/Retencion")
        ),
        *(
            drop_absent_values({
                "category": get_attribute(tax, "ImpLocRetenido"),
                "rate": get_attribute(tax, "TasadeRetencion"),
                "amount": get_attribute(tax, "Importe"),
            })
            for tax in local_taxes
        ),
    ]  # fmt: skip


def _extract_line(line: Element, number: int) -> Record:
    """Return a line; its number is its position, because CFDI states none."""
    amount, discount = get_attribute(line, "Importe"), get_attribute(line, "Descuento")
    has_discount = discount is not None and not is_zero_text(discount)
    taxes = list(_iter_transferred_taxes(line.find("Impuestos")))
    value_tax = next((tax for tax in taxes if tax.name == "IVA"), None)
    return drop_absent_values({
        "line_id": str(number),
        "item_id": get_attribute(line, "NoIdentificacion"),
        "description": get_attribute(line, "Descripcion"),
        "quantity": get_attribute(line, "Cantidad"),
        "unit": get_attribute(line, "ClaveUnidad") or get_attribute(line, "Unidad"),
        "unit_price": get_attribute(line, "ValorUnitario"),
        "net_amount": subtract_decimal_texts(amount, discount) if has_discount else amount,
        "tax_category": value_tax.category if value_tax else None,
        "tax_rate": ("0" if value_tax.is_exempt else value_tax.rate) if value_tax else None,
        "allowances": [{"amount": discount}] if has_discount else None,
    })  # fmt: skip


def _list_unread_parts(root: Element) -> list[str]:
    """Return the names of complements that are not read, so that a person sees that there was more."""
    names = [get_local_name(part)[:80] for part in root.iterfind("Complemento/*")]
    names += [get_local_name(part)[:80] for part in root.iterfind("Conceptos/Concepto/ComplementoConcepto/*")]
    unread_names = [name for name in dict.fromkeys(names) if name not in READ_COMPLEMENTS]
    return unread_names[:MAX_UNREAD_PARTS]
