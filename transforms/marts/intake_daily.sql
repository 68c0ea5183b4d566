-- Grain: one per UTC day and source with something new: what arrived, how much of it was new, and its state now.
-- A document counts as new where it was first sighted; parts skipped by a rule are counted in skipped_count only.
WITH dated_sightings AS (
    SELECT
        s.*, d.state, r.byte_count, (s.seen_at AT TIME ZONE 'UTC')::DATE AS seen_on,
        s.skip_reason_code IS NULL AND row_number() OVER (
            PARTITION BY s.document_sha256 ORDER BY s.skip_reason_code IS NOT NULL, s.seen_at, s.sighting_id
        ) = 1 AS is_new
    FROM raw.sightings AS s
    JOIN core.documents AS d USING (document_sha256)
    JOIN raw.documents AS r USING (document_sha256)
), by_sighting AS (
    SELECT
        seen_on, source_name, source_kind,
        count(*) FILTER (WHERE skip_reason_code IS NULL) AS document_count,
        count(*) FILTER (WHERE is_new) AS new_document_count,
        count(*) FILTER (WHERE skip_reason_code IS NOT NULL) AS skipped_count,
        coalesce(sum(byte_count) FILTER (WHERE is_new), 0)::BIGINT AS new_byte_count,
        count(*) FILTER (WHERE is_new AND state = 'accepted') AS accepted_count,
        count(*) FILTER (WHERE is_new AND state = 'review') AS review_count,
        count(*) FILTER (WHERE is_new AND state = 'quarantined') AS quarantined_count,
        count(*) FILTER (WHERE is_new AND state = 'duplicate') AS duplicate_count,
        count(*) FILTER (WHERE is_new AND state = 'not_invoice') AS not_invoice_count,
        count(*) FILTER (WHERE is_new AND state = 'waiting') AS waiting_count
    FROM dated_sightings GROUP BY ALL
), by_message AS (
    SELECT
        (seen_at AT TIME ZONE 'UTC')::DATE AS seen_on, source_name,
        CASE WHEN uid IS NULL THEN 'folder' ELSE 'mailbox' END AS source_kind,
        count(*) AS message_count,
        count(*) FILTER (WHERE outcome = 'collected') AS collected_message_count,
        count(*) FILTER (WHERE outcome = 'no_documents') AS empty_message_count,
        count(*) FILTER (WHERE outcome = 'skipped') AS skipped_message_count,
        count(*) FILTER (WHERE outcome IN ('quarantined', 'too_large', 'waiting')) AS unfinished_message_count
    FROM raw.messages GROUP BY ALL
)
SELECT
    seen_on, source_name, source_kind,
    coalesce(message_count, 0) AS message_count,
    coalesce(collected_message_count, 0) AS collected_message_count,
    coalesce(empty_message_count, 0) AS empty_message_count,
    coalesce(skipped_message_count, 0) AS skipped_message_count,
    coalesce(unfinished_message_count, 0) AS unfinished_message_count,
    coalesce(document_count, 0) AS document_count,
    coalesce(new_document_count, 0) AS new_document_count,
    coalesce(skipped_count, 0) AS skipped_count,
    coalesce(new_byte_count, 0) AS new_byte_count,
    coalesce(accepted_count, 0) AS accepted_count,
    coalesce(review_count, 0) AS review_count,
    coalesce(quarantined_count, 0) AS quarantined_count,
    coalesce(duplicate_count, 0) AS duplicate_count,
    coalesce(not_invoice_count, 0) AS not_invoice_count,
    coalesce(waiting_count, 0) AS waiting_count
FROM by_sighting FULL JOIN by_message USING (seen_on, source_name, source_kind)
ORDER BY seen_on, source_name, source_kind
