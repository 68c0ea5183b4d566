-- Grain: one per source and one per supplier: when new documents last arrived, and how regularly.
-- Nine in ten pauses between two days with new documents in the last year are no longer than the usual pause; it needs
-- at least four pauses.
WITH first_sightings AS (
    SELECT
        document_sha256, source_name, (coalesce(received_at, seen_at) AT TIME ZONE 'UTC')::DATE AS arrived_on
    FROM raw.sightings
    WHERE skip_reason_code IS NULL
    QUALIFY row_number() OVER (PARTITION BY document_sha256 ORDER BY seen_at, sighting_id) = 1
), arrivals AS (
    SELECT 'source' AS kind, source_name AS key, source_name AS name, arrived_on FROM first_sightings
    UNION ALL
    SELECT
        'supplier',
        coalesce(
            nullif(regexp_replace(upper(supplier_tax_id), '[^A-Z0-9]', '', 'g'), ''),
            nullif(regexp_replace(lower(supplier_name), '[^\p{L}\p{N}]', '', 'g'), '')
        ),
        supplier_name, arrived_on
    FROM core.candidates JOIN first_sightings USING (document_sha256)
    WHERE verdict IN ('accepted', 'review') AND direction = 'expense'
), arrival_days AS (
    SELECT kind, key, arrived_on, max(name) AS name
    FROM arrivals CROSS JOIN marts.clock
    WHERE key IS NOT NULL AND arrived_on BETWEEN as_of_on - 365 AND as_of_on
    GROUP BY kind, key, arrived_on
), pauses AS (
    SELECT *, arrived_on - lag(arrived_on) OVER (PARTITION BY kind, key ORDER BY arrived_on) AS pause_days FROM arrival_days
)
SELECT
    kind, key, max_by(name, arrived_on) AS name, max(arrived_on) AS last_on, count(*) AS day_count,
    CASE WHEN count(pause_days) >= 4 THEN quantile_disc(pause_days, 0.9) END AS usual_pause_day_count
FROM pauses
GROUP BY kind, key
ORDER BY kind, key
