-- Grain: one per document whose answer holds no invoice at all, and why.
SELECT
    document_sha256,
    extraction_id,
    CASE
        WHEN extracted_by NOT IN ('einvoice', 'smartbills_com') THEN 'unknown_extractor'
        WHEN payload IS NULL THEN 'unreadable_answer'
        ELSE 'nothing_found'
    END AS reason_code,
    CASE
        WHEN extracted_by NOT IN ('einvoice', 'smartbills_com') THEN 'No staging model reads the answers of ' || extracted_by || '.'
        WHEN payload IS NULL THEN 'The answer is not a JSON object.'
        ELSE 'The answer names no invoice: no number, date, name, currency or total.'
    END AS reason
FROM answers
WHERE document_sha256 NOT IN (SELECT document_sha256 FROM stated_candidates)
ORDER BY sequence
