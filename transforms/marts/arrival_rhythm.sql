-- Grain: one per source and one per supplier: when new documents came last, and at what pace.
-- The usual pause is that of nine in ten between two days with something new in the last year; four pauses make a rhythm.
WITH newest AS (
    SELECT
        document_sha256, source_name, (coalesce(received_at, seen_at) AT TIME ZONE 'UTC')::DATE AS came_on
    FROM raw.sightings
    WHERE skip_reason_code IS NULL
    QUALIFY row_number() OVER (PARTITION BY document_sha256 ORDER BY seen_at, sighting_id) = 1
), came AS (
    SELECT 'source' AS kind, source_name AS key, source_name AS name, came_on FROM newest
    UNION ALL
    SELECT
        'supplier',
        coalesce(
            nullif(regexp_replace(upper(supplier_tax_id), '[^A-Z0-9]', '', 'g'), ''),
            nullif(regexp_replace(lower(supplier_name), '[^\p{L}\p{N}]', '', 'g'), '')
        ),
        supplier_name, came_on
    FROM core.candidates JOIN newest USING (document_sha256)
    WHERE verdict IN ('accepted', 'review') AND direction = 'expense'
), days AS (
    SELECT kind, key, came_on, max(name) AS name
    FROM came CROSS JOIN marts.clock
    WHERE key IS NOT NULL AND came_on BETWEEN as_of_on - 365 AND as_of_on
    GROUP BY kind, key, came_on
), paused AS (
    SELECT *, came_on - lag(came_on) OVER (PARTITION BY kind, key ORDER BY came_on) AS pause_days FROM days
)
SELECT
    kind, key, max_by(name, came_on) AS name, max(came_on) AS last_on, count(*) AS day_count,
    CASE WHEN count(pause_days) >= 4 THEN quantile_disc(pause_days, 0.9) END AS usual_pause_day_count
FROM paused
GROUP BY kind, key
ORDER BY kind, key
