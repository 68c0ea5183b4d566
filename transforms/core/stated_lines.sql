-- Grain: one per line of an invoice, from any extractor; amounts are still the stated texts.
WITH all_extractors AS (
    SELECT * FROM stg_einvoice__lines
    UNION ALL BY NAME
    SELECT * FROM stg_invoicedataextraction_com__lines
    UNION ALL BY NAME
    SELECT * FROM stg_billflowai__lines
)
SELECT c.invoice_id, l.* EXCLUDE (document_sha256, ordinal)
FROM all_extractors AS l
JOIN stated_candidates AS c USING (document_sha256, ordinal)
