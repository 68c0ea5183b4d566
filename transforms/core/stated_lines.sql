-- Grain: one per line of an invoice, whoever read it; amounts still as the texts that were stated.
WITH stated_by_all AS (
    SELECT * FROM stg_einvoice__lines
    UNION ALL BY NAME
    SELECT * FROM stg_invoicedataextraction_com__lines
    UNION ALL BY NAME
    SELECT * FROM stg_billflowai__lines
)
SELECT c.invoice_id, l.* EXCLUDE (document_sha256, ordinal)
FROM stated_by_all AS l
JOIN stated_candidates AS c USING (document_sha256, ordinal)
