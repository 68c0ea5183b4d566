-- Grain: one per line of an invoice; amounts still as the texts that were stated.
SELECT c.invoice_id, l.* EXCLUDE (document_sha256, ordinal)
FROM stg_einvoice__lines AS l
JOIN stated_candidates AS c USING (document_sha256, ordinal)
