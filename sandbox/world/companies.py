"""The companies of the sample world: all fictional, all under reserved names and domains, none with a real account.

The IBANs have valid check digits and bank codes of zeros, which no bank holds.
"""

from __future__ import annotations

from sandbox.world.papers import Company


def iban(country: str, account: str) -> str:
    """Return an IBAN for a national account number, with its check digits (ISO 13616, mod 97)."""
    digits = "".join(str(int(character, 36)) for character in account + country + "00")
    return f"{country}{98 - int(digits) % 97:02d}{account}"


HOUSE = Company(
    "Beispielhaus Handel GmbH", "DE900000001", "Musterallee 12", "Berlin", "10115", "DE",
    "rechnung@beispielhaus.example", "Buchhaltung", "+49 30 00000001", iban("DE", "000000000000000101"),
)  # fmt: skip
BRANCH = Company(
    "Beispielhaus Nederland B.V.", "NL900000002B01", "Voorbeeldkade 8", "Rotterdam", "3011 AA", "NL",
    "facturen@beispielhaus.example", "Administratie", "+31 10 0000002", iban("NL", "XMPL0000000102"),
)  # fmt: skip
TOOLS = Company(
    "Musterwerk Werkzeuge GmbH", "DE900000011", "Probestraße 4", "Hamburg", "20095", "DE",
    "faktura@musterwerk.example", "Erika Muster", "+49 40 0000011", iban("DE", "000000000000000211"),
)  # fmt: skip
OFFICE = Company(
    "Beispiel Bürobedarf KG", "DE900000012", "Vorlagenweg 19", "München", "80331", "DE",
    "rechnungen@buerobedarf.example", "Max Beispiel", "+49 89 0000012", iban("DE", "000000000000000312"),
)  # fmt: skip
POWER = Company(
    "Musterstadt Stadtwerke AG", "DE900000013", "Am Probewerk 1", "Leipzig", "04109", "DE",
    "abrechnung@stadtwerke.example", "Kundenservice", "+49 341 0000013", iban("DE", "000000000000000413"),
)  # fmt: skip
PAPER = Company(
    "Exemple Fournitures SARL", "FR90000000014", "14 rue du Modèle", "Lyon", "69001", "FR",
    "factures@fournitures.example", "Service clients", "+33 4 00 00 00 14", iban("FR", "00000000000000000000514"),
)  # fmt: skip
FREIGHT = Company(
    "Voorbeeld Logistiek B.V.", "NL900000015B01", "Havenvoorbeeld 3", "Rotterdam", "3089 JH", "NL",
    "invoices@logistiek.example", "Debiteuren", "+31 10 0000015", iban("NL", "XMPL0000000615"),
)  # fmt: skip
COFFEE = Company(
    "Beispielrösterei Wien OG", "ATU90000016", "Mustergasse 7", "Wien", "1010", "AT",
    "buchhaltung@roesterei.example", "Anna Probe", "+43 1 0000016", iban("AT", "0000000000000716"),
)  # fmt: skip
PRINT = Company(
    "Ejemplo Impresiones S.L.", "ESB90000017", "Calle Muestra 22", "Valencia", "46001", "ES",
    "facturas@impresiones.example", "Administración", "+34 96 000 0017", iban("ES", "00000000000000000817"),
)  # fmt: skip
DESIGN = Company(
    "Esempio Disegno S.r.l.", "IT90000000018", "Via Campione 5", "Torino", "10121", "IT",
    "fatture@disegno.example", "Amministrazione", "+39 011 0000018", iban("IT", "X0000000000000000000918"),
)  # fmt: skip
WORKSHOP = Company(
    "Exempel Verkstad AB", "SE900000001901", "Provgatan 6", "Göteborg", "411 03", "SE",
    "faktura@verkstad.example", "Ekonomi", "+46 31 000 00 19", iban("SE", "00000000000000001019"),
)  # fmt: skip
SEABOARD = Company(
    "Sample & Specimen Freight Ltd", "GB900000020", "3 Example Wharf", "Felixstowe", "IP11 3SY", "GB",
    "billing@specimenfreight.example", "Credit control", "+44 1632 960020", iban("GB", "XMPL00000000001120"),
)  # fmt: skip
WATCHES = Company(
    "Muster Uhrenteile AG", "CHE900000021MWST", "Beispielplatz 2", "Biel", "2502", "CH",
    "rechnung@uhrenteile.example", "Debitoren", "+41 32 000 00 21", iban("CH", "00000000000001221"),
)  # fmt: skip
CLOUD = Company(
    "Placeholder Cloud Inc.", "US900000022", "500 Sample Street", "Springfield", "01101", "US",
    "billing@placeholdercloud.example", "Accounts receivable", "+1 413 555 0122",
)  # fmt: skip
CERAMICS = Company(
    "Rei Shokai K.K.", "JP9000000000023", "1-2-3 Mihoncho", "Nagoya", "460-0001", "JP",
    "keiri@reishokai.example", "Keiri-bu", "+81 52 000 0023",
)  # fmt: skip
SHOP = Company(
    "Esimerkki Kauppa Oy", "FI90000024", "Mallikatu 9", "Helsinki", "00100", "FI",
    "laskut@kauppa.example", "Ostoreskontra", "+358 9 000024",
)  # fmt: skip
