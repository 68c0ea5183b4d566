"""The companies of the sample data: all fictional, with reserved names and domains and without real accounts.

The IBANs have valid check digits and bank codes of zeros, which no bank holds.
"""

from __future__ import annotations

from sandbox.sample_data.documents import Company


def build_iban(country: str, account: str) -> str:
    """Return an IBAN for a national account number, with its check digits (ISO 13616, mod 97)."""
    digits = "".join(str(int(character, 36)) for character in account + country + "00")
    return f"{country}{98 - int(digits) % 97:02d}{account}"


OWN_COMPANY = Company(
    "Beispielhaus Handel GmbH", "DE900000001", "Musterallee 12", "Berlin", "10115", "DE",
    "rechnung@beispielhaus.example", "Buchhaltung", "+49 30 00000001", build_iban("DE", "000000000000000101"),
)  # fmt: skip
OWN_BRANCH = Company(
    "Beispielhaus Nederland B.V.", "NL900000002B01", "Voorbeeldkade 8", "Rotterdam", "3011 AA", "NL",
    "facturen@beispielhaus.example", "Administratie", "+31 10 0000002", build_iban("NL", "XMPL0000000102"),
)  # fmt: skip
TOOL_SUPPLIER = Company(
    "Musterwerk Werkzeuge GmbH", "DE900000011", "Probestraße 4", "Hamburg", "20095", "DE",
    "faktura@musterwerk.example", "Erika Muster", "+49 40 0000011", build_iban("DE", "000000000000000211"),
)  # fmt: skip
OFFICE_SUPPLIER = Company(
    "Beispiel Bürobedarf KG", "DE900000012", "Vorlagenweg 19", "München", "80331", "DE",
    "rechnungen@buerobedarf.example", "Max Beispiel", "+49 89 0000012", build_iban("DE", "000000000000000312"),
)  # fmt: skip
POWER_UTILITY = Company(
    "Musterstadt Stadtwerke AG", "DE900000013", "Am Probewerk 1", "Leipzig", "04109", "DE",
    "abrechnung@stadtwerke.example", "Kundenservice", "+49 341 0000013", build_iban("DE", "000000000000000413"),
)  # fmt: skip
PAPER_SUPPLIER = Company(
    "Exemple Fournitures SARL", "FR90000000014", "14 rue du Modèle", "Lyon", "69001", "FR",
    "factures@fournitures.example", "Service clients", "+33 4 00 00 00 14", build_iban("FR", "00000000000000000000514"),
)  # fmt: skip
FREIGHT_FORWARDER = Company(
    "Voorbeeld Logistiek B.V.", "NL900000015B01", "Havenvoorbeeld 3", "Rotterdam", "3089 JH", "NL",
    "invoices@logistiek.example", "Debiteuren", "+31 10 0000015", build_iban("NL", "XMPL0000000615"),
)  # fmt: skip
COFFEE_ROASTER = Company(
    "Beispielrösterei Wien OG", "ATU90000016", "Mustergasse 7", "Wien", "1010", "AT",
    "buchhaltung@roesterei.example", "Anna Probe", "+43 1 0000016", build_iban("AT", "0000000000000716"),
)  # fmt: skip
PRINT_SHOP = Company(
    "Ejemplo Impresiones S.L.", "ESB90000017", "Calle Muestra 22", "Valencia", "46001", "ES",
    "facturas@impresiones.example", "Administración", "+34 96 000 0017", build_iban("ES", "00000000000000000817"),
)  # fmt: skip
DESIGN_STUDIO = Company(
    "Esempio Disegno S.r.l.", "IT90000000018", "Via Campione 5", "Torino", "10121", "IT",
    "fatture@disegno.example", "Amministrazione", "+39 011 0000018", build_iban("IT", "X0000000000000000000918"),
)  # fmt: skip
REPAIR_WORKSHOP = Company(
    "Exempel Verkstad AB", "SE900000001901", "Provgatan 6", "Göteborg", "411 03", "SE",
    "faktura@verkstad.example", "Ekonomi", "+46 31 000 00 19", build_iban("SE", "00000000000000001019"),
)  # fmt: skip
SEA_FREIGHT_FORWARDER = Company(
    "Sample & Specimen Freight Ltd", "GB900000020", "3 Example Wharf", "Felixstowe", "IP11 3SY", "GB",
    "billing@specimenfreight.example", "Credit control", "+44 1632 960020", build_iban("GB", "XMPL00000000001120"),
)  # fmt: skip
WATCH_PARTS_SUPPLIER = Company(
    "Muster Uhrenteile AG", "CHE900000021MWST", "Beispielplatz 2", "Biel", "2502", "CH",
    "rechnung@uhrenteile.example", "Debitoren", "+41 32 000 00 21", build_iban("CH", "00000000000001221"),
)  # fmt: skip
CLOUD_PROVIDER = Company(
    "Placeholder Cloud Inc.", "US900000022", "500 Sample Street", "Springfield", "01101", "US",
    "billing@placeholdercloud.example", "Accounts receivable", "+1 413 555 0122",
)  # fmt: skip
CERAMICS_SUPPLIER = Company(
    "Rei Shokai K.K.", "JP9000000000023", "1-2-3 Mihoncho", "Nagoya", "460-0001", "JP",
    "keiri@reishokai.example", "Keiri-bu", "+81 52 000 0023",
)  # fmt: skip
RETAIL_CUSTOMER = Company(
    "Esimerkki Kauppa Oy", "FI90000024", "Mallikatu 9", "Helsinki", "00100", "FI",
    "laskut@kauppa.example", "Ostoreskontra", "+358 9 000024",
)  # fmt: skip
