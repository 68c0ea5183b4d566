-- Grain: one per document: its newest answer, numbers as strings; `payload` is NULL where it is not a JSON object.
WITH newest AS (
    SELECT
        document_sha256, extraction_id, extracted_by, received_at, sequence,
        CASE WHEN json_valid(payload) THEN quote_json_numbers(payload) END AS payload
    FROM extractions
    QUALIFY row_number() OVER (PARTITION BY document_sha256 ORDER BY sequence DESC, extraction_id DESC) = 1
), quoted AS (
    SELECT * REPLACE (CASE WHEN json_valid(payload) THEN payload END AS payload) FROM newest
)
SELECT * REPLACE (CASE WHEN json_type(payload) = 'OBJECT' THEN payload END AS payload)
FROM quoted
