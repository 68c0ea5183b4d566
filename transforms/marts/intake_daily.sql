-- Grain: one per UTC day and source that showed something new on it: what came, what of it was new, and where that stands now.
-- A document counts as new where it was shown first; parts that are no invoices by rule are counted as left out only.
WITH shown AS (
    SELECT
        s.*, d.state, r.byte_count, (s.seen_at AT TIME ZONE 'UTC')::DATE AS seen_on,
        s.left_out IS NULL AND row_number() OVER (
            PARTITION BY s.document_sha256 ORDER BY s.left_out IS NOT NULL, s.seen_at, s.sighting_id
        ) = 1 AS is_new
    FROM raw.sightings AS s
    JOIN core.documents AS d USING (document_sha256)
    JOIN raw.documents AS r USING (document_sha256)
), by_sighting AS (
    SELECT
        seen_on, source_name, source_kind,
        count(*) FILTER (WHERE left_out IS NULL) AS document_count,
        count(*) FILTER (WHERE is_new) AS new_document_count,
        count(*) FILTER (WHERE left_out IS NOT NULL) AS left_out_count,
        coalesce(sum(byte_count) FILTER (WHERE is_new), 0)::BIGINT AS new_byte_count,
        count(*) FILTER (WHERE is_new AND state = 'accepted') AS accepted_count,
        count(*) FILTER (WHERE is_new AND state = 'review') AS review_count,
        count(*) FILTER (WHERE is_new AND state = 'quarantined') AS quarantined_count,
        count(*) FILTER (WHERE is_new AND state = 'duplicate') AS duplicate_count,
        count(*) FILTER (WHERE is_new AND state = 'not_invoice') AS not_invoice_count,
        count(*) FILTER (WHERE is_new AND state = 'waiting') AS waiting_count
    FROM shown GROUP BY ALL
), by_message AS (
    SELECT
        (seen_at AT TIME ZONE 'UTC')::DATE AS seen_on, source_name,
        CASE WHEN uid IS NULL THEN 'folder' ELSE 'mailbox' END AS source_kind,
        count(*) AS message_count,
        count(*) FILTER (WHERE outcome = 'taken') AS taken_message_count,
        count(*) FILTER (WHERE outcome = 'nothing') AS empty_message_count,
        count(*) FILTER (WHERE outcome = 'left') AS left_message_count,
        count(*) FILTER (WHERE outcome IN ('set_aside', 'too_large', 'waiting')) AS troubled_message_count
    FROM raw.messages GROUP BY ALL
)
SELECT
    seen_on, source_name, source_kind,
    coalesce(message_count, 0) AS message_count,
    coalesce(taken_message_count, 0) AS taken_message_count,
    coalesce(empty_message_count, 0) AS empty_message_count,
    coalesce(left_message_count, 0) AS left_message_count,
    coalesce(troubled_message_count, 0) AS troubled_message_count,
    coalesce(document_count, 0) AS document_count,
    coalesce(new_document_count, 0) AS new_document_count,
    coalesce(left_out_count, 0) AS left_out_count,
    coalesce(new_byte_count, 0) AS new_byte_count,
    coalesce(accepted_count, 0) AS accepted_count,
    coalesce(review_count, 0) AS review_count,
    coalesce(quarantined_count, 0) AS quarantined_count,
    coalesce(duplicate_count, 0) AS duplicate_count,
    coalesce(not_invoice_count, 0) AS not_invoice_count,
    coalesce(waiting_count, 0) AS waiting_count
FROM by_sighting FULL JOIN by_message USING (seen_on, source_name, source_kind)
ORDER BY seen_on, source_name, source_kind
