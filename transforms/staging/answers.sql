-- Grain: one per document: its newest answer, numbers as texts; `payload` is NULL where it is not a JSON object.
SELECT
    document_sha256, extraction_id, extracted_by, received_at, sequence,
    CASE WHEN json_valid(payload) AND json_type(CASE WHEN json_valid(payload) THEN payload END) = 'OBJECT'
         THEN quoted_numbers(payload) END AS payload
FROM extractions
QUALIFY row_number() OVER (PARTITION BY document_sha256 ORDER BY sequence DESC, extraction_id DESC) = 1
