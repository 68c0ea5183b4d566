"""Poland's KSeF invoices FA(2) and FA(3) as a payload (schemas 2023/06/29/12648 and 2025/06/25/13775 of crd.gov.pl).

The totals without tax and of tax are the sums of ``P_13_*`` and ``P_14_*``; ``P_15`` is the total. Amounts of a
correction (``KOR``) are differences. Its lines are too, or it has each line before (``StanPrzed``) and after: those
before are counted with the opposite sign. ``P_14_*W`` is the tax in PLN of an invoice in another currency.
"""

from __future__ import annotations

from invoices.documents.einvoice.decimal_texts import negate_decimal_text, sum_decimal_texts
from invoices.documents.einvoice.payload_values import Record, find_single_distinct_value, normalise_iso_date
from invoices.documents.einvoice.xml_tree import Element, drop_absent_values, find_text, iter_texts

NAMESPACES = ("http://crd.gov.pl/wzor/2023/06/29/12648/", "http://crd.gov.pl/wzor/2025/06/25/13775/")

_ONE_STOP_SHOP = "P_13_5"  # the rates of the buyer's country
# Element of the net amount: element of the tax (None: no tax), category of UNTDID 5305, the rates that it may have.
# Two rates of one element: the second was or is in force in other years.
_TAX_GROUPS: dict[str, tuple[str | None, str, tuple[str, ...]]] = {
    "P_13_1": ("P_14_1", "S", ("23", "22")),
    "P_13_2": ("P_14_2", "S", ("8", "7")),
    "P_13_3": ("P_14_3", "S", ("5",)),
    "P_13_4": ("P_14_4", "S", ("4", "3")),  # lump sum of taxis
    _ONE_STOP_SHOP: ("P_14_5", "S", ()),
    "P_13_6_1": (None, "Z", ("0",)),
    "P_13_6_2": (None, "K", ("0",)),
    "P_13_6_3": (None, "G", ("0",)),
    "P_13_7": (None, "E", ("0",)),
    "P_13_8": (None, "O", ()),  # supplied outside Poland
    "P_13_9": (None, "AE", ("0",)),  # services to other countries of the Union, art. 100 (1) 4
    "P_13_10": (None, "AE", ("0",)),  # reverse charge in Poland
    "P_13_11": (None, "E", ("0",)),  # margin scheme: the tax is part of the amount
}
_CATEGORY_BY_RATE = {
    "0": "Z", "0 KR": "Z", "0 WDT": "K", "0 EX": "G", "zw": "E", "oo": "AE", "np": "O", "np I": "O", "np II": "AE",
}  # fmt: skip
_REASON_BY_NET_ELEMENT = {
    "P_13_6_2": "wewnątrzwspólnotowa dostawa towarów", "P_13_6_3": "eksport", "P_13_8": "poza terytorium kraju",
    "P_13_9": "art. 100 ust. 1 pkt 4", "P_13_10": "odwrotne obciążenie", "P_13_11": "procedura marży",
}  # fmt: skip
# P_16 … P_23: what the invoice must say about itself; 1 is yes.
_ANNOTATIONS = {
    "P_16": "metoda kasowa", "P_17": "samofakturowanie", "P_18": "odwrotne obciążenie",
    "P_18A": "mechanizm podzielonej płatności", "P_23": "procedura uproszczona (transakcja trójstronna)",
}  # fmt: skip
_LINES_ADD_UP_IN = frozenset({"VAT", "KOR"})  # advances, settlements of advances and simplified invoices: they do not


def find_specification_id(root: Element) -> str | None:
    """Return the form and its variant, such as ``FA (3)``."""
    form = root.find("Naglowek/KodFormularza")
    return None if form is None else (form.get("kodSystemowy") or "").strip() or None


def extract_invoices(root: Element) -> list[Record]:
    """Return the one invoice of a tree without namespaces; see the package for the keys."""
    body = root.find("Fa")
    if body is None:
        return []
    lines = [_extract_line(line, number) for number, line in enumerate(body.iterfind("FaWiersz"), 1)]
    document_type = find_text(body, "RodzajFaktury")
    has_net_lines = bool(lines) and all("net_amount" in line for line in lines)
    adds_up = has_net_lines and document_type in _LINES_ADD_UP_IN
    if not adds_up:
        for line in lines:
            line.pop("tax_category", None)
    return [
        drop_absent_values({
            "invoice_number": find_text(body, "P_2"),
            "issue_date": _find_day(body, "P_1"),
            "type_code": document_type,
            "kind": "invoice",
            "currency": find_text(body, "KodWaluty"),
            "tax_currency": "PLN" if find_text(body, "KodWaluty") != "PLN" else None,
            "delivery_date": _find_day(body, "P_6"),
            "period_start": _find_day(body, "OkresFa/P_6_Od"),
            "period_end": _find_day(body, "OkresFa/P_6_Do"),
            "order_number": find_single_distinct_value(
                list(iter_texts(body, "WarunkiTransakcji/Zamowienia/NrZamowienia"))
            ),
            "note": _join_notes(root, body),
            "seller": _extract_party(root.find("Podmiot1")),
            "buyer": _extract_party(root.find("Podmiot2")),
            **_extract_payment_fields(body.find("Platnosc")),
            "preceding_invoices": _extract_corrected_invoices(body),
            "totals": _extract_totals(body, adds_up=adds_up),
            "taxes": _extract_taxes(body),
            "lines": lines,
        })
    ]  # fmt: skip


def _find_day(element: Element | None, path: str) -> str | None:
    text = find_text(element, path)
    return normalise_iso_date(text) if text else None


def _extract_party(party: Element | None) -> Record:
    """Return the seller or buyer. A NIP has no country prefix; ``KodUE`` and ``NrVatUE`` make a VAT id."""
    if party is None:
        return {}
    identity, address = party.find("DaneIdentyfikacyjne"), party.find("Adres")
    union_id = find_text(identity, "NrVatUE")
    return drop_absent_values({
        "name": find_text(identity, "Nazwa"),
        "vat_id": f"{find_text(identity, 'KodUE') or ''}{union_id}" if union_id else None,
        "tax_number": find_text(identity, "NIP") or find_text(identity, "NrID"),
        "country": find_text(address, "KodKraju"),
        "line1": find_text(address, "AdresL1"),
        "city": find_text(address, "AdresL2"),
        "email": find_text(party, "DaneKontaktowe/Email"),
    })  # fmt: skip


def _extract_payment_fields(payment: Element | None) -> Record:
    """Return due date and terms, and the account if one is stated. A payment that was made is in the terms."""
    if payment is None:
        return {}
    due_dates = [normalise_iso_date(text) for text in iter_texts(payment, "TerminPlatnosci/Termin")]
    accounts = list(iter_texts(payment, "RachunekBankowy/NrRB"))
    factor_accounts = list(iter_texts(payment, "RachunekBankowyFaktora/NrRB"))
    discount = find_text(payment, "Skonto/WarunkiSkonta")
    terms = [
        "zapłacono " + (find_text(payment, "DataZaplaty") or "") if find_text(payment, "Zaplacono") == "1" else "",
        *(due_dates if len(set(due_dates)) > 1 else []),
        find_text(payment, "OpisPlatnosci") or "",
        f"{discount}: {find_text(payment, 'Skonto/WysokoscSkonta') or ''}" if discount else "",
    ]
    return {
        "due_date": find_single_distinct_value(due_dates),
        "payment_terms": "; ".join(text.strip() for text in terms if text.strip()) or None,
        "iban": find_single_distinct_value(factor_accounts or accounts),
        "payment_means": [
            drop_absent_values({"code": find_text(payment, "FormaPlatnosci"), "iban": account})
            for account in [*factor_accounts, *accounts]
        ],
    }


def _join_notes(root: Element, body: Element) -> str | None:
    """Return the annotations that the law requires, the reason of a correction and the additional descriptions."""
    annotations = body.find("Adnotacje")
    texts = [text for name, text in _ANNOTATIONS.items() if find_text(annotations, name) == "1"]
    texts += iter_texts(body, "PrzyczynaKorekty")
    texts += [
        f"{find_text(item, 'Klucz') or ''}: {find_text(item, 'Wartosc') or ''}"
        for item in body.iterfind("DodatkowyOpis")
    ]
    texts += iter_texts(root, "Stopka/Informacje/StopkaFaktury")
    return "\n".join(texts) or None


def _extract_corrected_invoices(body: Element) -> list[Record]:
    return [
        drop_absent_values({
            "number": find_text(corrected, "NrFaKorygowanej"),
            "issue_date": _find_day(corrected, "DataWystFaKorygowanej"),
            "fiscal_id": find_text(corrected, "NrKSeFFaKorygowanej"),
        })
        for corrected in body.iterfind("DaneFaKorygowanej")
    ]  # fmt: skip


def _extract_totals(body: Element, *, adds_up: bool) -> Record:
    """Return the totals; the amount due is stated if there are deductions or charges after the total."""
    net = sum_decimal_texts(find_text(body, name) for name in _TAX_GROUPS)
    taxes = [find_text(body, tax_name) for tax_name, _, _ in _TAX_GROUPS.values() if tax_name]
    taxes_in_pln = [find_text(body, f"{tax_name}W") for tax_name, _, _ in _TAX_GROUPS.values() if tax_name]
    settlement = body.find("Rozliczenie")
    return drop_absent_values({
        "line_total": net if adds_up else None,
        "tax_exclusive": net,
        "tax_total": sum_decimal_texts(taxes) or ("0" if net is not None else None),
        "tax_total_in_tax_currency": sum_decimal_texts(taxes_in_pln),
        "tax_inclusive": find_text(body, "P_15"),
        "added_after_total": sum_decimal_texts([
            find_text(settlement, "SumaObciazen"), negate_decimal_text(find_text(settlement, "SumaOdliczen")),
        ]),
        "payable": find_text(settlement, "DoZaplaty"),
    })  # fmt: skip


def _extract_taxes(body: Element) -> list[Record]:
    """Return one tax for each ``P_13_*``; of several possible rates it is the one that the lines state."""
    line_rates, shop_rates = set(iter_texts(body, "FaWiersz/P_12")), list(iter_texts(body, "FaWiersz/P_12_XII"))
    exemption = next(
        (text for name in ("P_19A", "P_19B", "P_19C") if (text := find_text(body, f"Adnotacje/Zwolnienie/{name}"))),
        None,
    )
    records = []
    for net_name, (tax_name, category, rates) in _TAX_GROUPS.items():
        if find_text(body, net_name) is None:
            continue
        rate = next((rate for rate in rates if rate in line_rates), rates[0] if rates else None)
        if net_name == _ONE_STOP_SHOP:
            rate = find_single_distinct_value(shop_rates)
        records.append(
            drop_absent_values({
                "category": category,
                "rate": rate,
                "is_without_rate": "true" if net_name == _ONE_STOP_SHOP and rate is None else None,
                "taxable_amount": find_text(body, net_name),
                "tax_amount": find_text(body, tax_name) if tax_name else "0",
                "exemption_reason": exemption if net_name == "P_13_7" else _REASON_BY_NET_ELEMENT.get(net_name),
            })
        )  # fmt: skip
    return records


def _extract_line(line: Element, number: int) -> Record:
    """Return a line. One from before a correction (``StanPrzed``) has the opposite signs and ``correction_state``."""
    is_before = find_text(line, "StanPrzed") == "1"
    rate = find_text(line, "P_12") or find_text(line, "P_12_XII")
    discount = find_text(line, "P_10")
    record: Record = {
        "line_id": find_text(line, "NrWierszaFa") or str(number),
        "correction_state": "before" if is_before else None,
        "item_id": find_text(line, "Indeks"),
        "description": find_text(line, "P_7"),
        "quantity": find_text(line, "P_8B"),
        "unit": find_text(line, "P_8A"),
        "unit_price": find_text(line, "P_9A"),
        "gross_unit_price": find_text(line, "P_9B"),
        "net_amount": find_text(line, "P_11"),
        "gross_amount": find_text(line, "P_11A"),
        "tax_category": _CATEGORY_BY_RATE.get(rate, "S") if rate else None,
        "tax_rate": ("0" if rate in _CATEGORY_BY_RATE else rate) if rate else None,
        "allowances": [{"amount": discount}] if discount else None,
    }
    if is_before:
        for name, path in (("quantity", "P_8B"), ("net_amount", "P_11"), ("gross_amount", "P_11A")):
            record[name] = negate_decimal_text(find_text(line, path))
        record["allowances"] = [{"amount": negate_decimal_text(discount)}] if discount else None
    return drop_absent_values(record)
