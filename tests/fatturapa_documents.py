"""FatturaPA documents made for tests, from the facts of the public schema, with made-up names."""

from __future__ import annotations

NAMESPACE = "http://ivaservizi.agenziaentrate.gov.it/docs/xsd/fatture/v1.2"

HEADER = """<FatturaElettronicaHeader>
<DatiTrasmissione><FormatoTrasmissione>FPR12</FormatoTrasmissione><CodiceDestinatario>ABC1234</CodiceDestinatario>
</DatiTrasmissione>
<CedentePrestatore><DatiAnagrafici><IdFiscaleIVA><IdPaese>IT</IdPaese><IdCodice>01234567890</IdCodice></IdFiscaleIVA>
<CodiceFiscale>01234567890</CodiceFiscale><Anagrafica><Denominazione>Officina Però Srl</Denominazione></Anagrafica>
<RegimeFiscale>RF01</RegimeFiscale></DatiAnagrafici>
<Sede><Indirizzo>Via Uno</Indirizzo><NumeroCivico>7</NumeroCivico><CAP>20100</CAP><Comune>Milano</Comune>
<Provincia>MI</Provincia><Nazione>IT</Nazione></Sede>
<IscrizioneREA><Ufficio>MI</Ufficio><NumeroREA>55</NumeroREA></IscrizioneREA></CedentePrestatore>
<CessionarioCommittente><DatiAnagrafici><CodiceFiscale>RSSMRA80A01F205X</CodiceFiscale><Anagrafica>
<Nome>Mario</Nome><Cognome>Rossi</Cognome></Anagrafica></DatiAnagrafici>
<Sede><Indirizzo>Via Due 8</Indirizzo><CAP>00100</CAP><Comune>Roma</Comune><Nazione>IT</Nazione></Sede>
</CessionarioCommittente></FatturaElettronicaHeader>"""

LINE = """<DettaglioLinee><NumeroLinea>1</NumeroLinea><Descrizione>Consulenza</Descrizione>
<PrezzoUnitario>100.00000000</PrezzoUnitario><PrezzoTotale>100.00000000</PrezzoTotale><AliquotaIVA>22.00</AliquotaIVA>
</DettaglioLinee>"""
SUMMARY = """<DatiRiepilogo><AliquotaIVA>22.00</AliquotaIVA><ImponibileImporto>100.00</ImponibileImporto>
<Imposta>22.00</Imposta></DatiRiepilogo>"""


def build_body(
    number: str = "7/A",
    document: str = "",
    general: str = "",
    goods: str = LINE + SUMMARY,
    rest: str = "",
    kind: str = "TD01",
) -> str:
    """Return a FatturaElettronicaBody with the elements that a test adds."""
    return f"""<FatturaElettronicaBody><DatiGenerali><DatiGeneraliDocumento><TipoDocumento>{kind}</TipoDocumento>
    <Divisa>EUR</Divisa><Data>2026-01-31</Data><Numero>{number}</Numero>{document}</DatiGeneraliDocumento>{general}
    </DatiGenerali><DatiBeniServizi>{goods}</DatiBeniServizi>{rest}</FatturaElettronicaBody>"""


def build_fatturapa(
    *bodies: str, prefix: str = "p", namespace: str = NAMESPACE, header: str = HEADER, encoding: str = "utf-8"
) -> bytes:
    """Return a file with these bodies, or with one sound body."""
    root = f"{prefix}:FatturaElettronica" if prefix else "FatturaElettronica"
    declaration = f"xmlns:{prefix}" if prefix else "xmlns"
    return f"""<?xml version="1.0" encoding="{encoding}"?><?xml-stylesheet type="text/xsl" href="stile.xsl"?>
    <{root} versione="FPR12" {declaration}="{namespace}">{header}{"".join(bodies or [build_body()])}</{root}>""".encode(
        encoding
    )


def build_simplified_fatturapa() -> bytes:
    """Return a simplified invoice of two lines with tax: one states the rate, one the tax."""
    return b"""<n:FatturaElettronicaSemplificata versione="FSM10" xmlns:n="http://vendor.example/other"><FatturaElettronicaHeader>
    <DatiTrasmissione><FormatoTrasmissione>FSM10</FormatoTrasmissione><CodiceDestinatario>0000000</CodiceDestinatario>
    <PECDestinatario>cliente@pec.example</PECDestinatario></DatiTrasmissione>
    <CedentePrestatore><IdFiscaleIVA><IdPaese>IT</IdPaese><IdCodice>01234567890</IdCodice></IdFiscaleIVA>
    <Denominazione>Bar Uno</Denominazione><Sede><Comune>Bari</Comune><Nazione>IT</Nazione></Sede></CedentePrestatore>
    <CessionarioCommittente><IdentificativiFiscali><IdFiscaleIVA><IdPaese>IT</IdPaese><IdCodice>09876543210</IdCodice>
    </IdFiscaleIVA></IdentificativiFiscali></CessionarioCommittente></FatturaElettronicaHeader><FatturaElettronicaBody>
    <DatiGenerali><DatiGeneraliDocumento><TipoDocumento>TD07</TipoDocumento><Divisa>EUR</Divisa><Data>2026-02-01</Data>
    <Numero>9</Numero></DatiGeneraliDocumento></DatiGenerali>
    <DatiBeniServizi><Descrizione>Pranzo</Descrizione><Importo>25.00</Importo><DatiIVA><Aliquota>22.00</Aliquota></DatiIVA>
    </DatiBeniServizi>
    <DatiBeniServizi><Descrizione>Vino</Descrizione><Importo>11.00</Importo><DatiIVA><Imposta>1.00</Imposta>
    <Aliquota>10.00</Aliquota></DatiIVA></DatiBeniServizi></FatturaElettronicaBody></n:FatturaElettronicaSemplificata>"""
