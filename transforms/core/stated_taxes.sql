-- Grain: one per VAT breakdown of an invoice; amounts are still the stated texts.
SELECT c.invoice_id, t.* EXCLUDE (document_sha256, ordinal)
FROM stg_einvoice__taxes AS t
JOIN stated_candidates AS c USING (document_sha256, ordinal)
