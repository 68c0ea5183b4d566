-- Grain: one per invoice in a document, from any extractor; amounts and dates are still the stated texts.
WITH all_extractors AS (
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
FROM all_extractors AS s
JOIN answers AS a USING (document_sha256)
