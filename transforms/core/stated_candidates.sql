-- Grain: one per invoice found in a document, whoever read it; amounts and dates still as the texts that were stated.
WITH stated_by_all AS (
    SELECT * FROM stg_einvoice__invoices
    UNION ALL BY NAME
    SELECT * FROM stg_smartbills_com__invoices
    UNION ALL BY NAME
    SELECT * FROM stg_invoicedataextraction_com__invoices
    UNION ALL BY NAME
    SELECT * FROM stg_billflowai__invoices
)
SELECT
    sha256('invoice' || chr(31) || s.document_sha256 || chr(31) || s.ordinal)[:32] AS invoice_id,
    a.extraction_id,
    a.extracted_by,
    a.received_at,
    a.sequence,
    s.*
FROM stated_by_all AS s
JOIN answers AS a USING (document_sha256)
