-- Grain: one per vendor, UTC month of submission and currency of the page price (NULL where none was set): the cost of
-- extraction. E-invoices cost nothing and are not included. An accepted invoice counts for the last answer about its document.
-- DuckDB divides decimals as binary floats, so the cost per invoice is computed in whole millionths, rounded half up.
WITH submitted AS (
    SELECT *, date_trunc('month', requested_at AT TIME ZONE 'UTC')::DATE AS month_starts_on
    FROM raw.extractions WHERE extracted_by != 'einvoice'
), last_answers AS (
    SELECT extraction_id, document_sha256, extracted_by FROM submitted
    WHERE status = 'answered'
    QUALIFY row_number() OVER (PARTITION BY document_sha256, extracted_by ORDER BY answered_at DESC, extraction_id DESC) = 1
), accepted AS (
    SELECT extraction_id, count(*) AS accepted_invoice_count
    FROM core.invoices JOIN last_answers USING (document_sha256, extracted_by)
    GROUP BY extraction_id
), monthly AS (
    SELECT
        extracted_by, month_starts_on, page_price_currency AS currency,
        count(DISTINCT document_sha256) AS document_count,
        count(*) FILTER (WHERE status = 'answered') AS answer_count,
        count(*) FILTER (WHERE status = 'failed') AS failure_count,
        sum(pages_charged)::BIGINT AS page_count,
        count(*) FILTER (WHERE possible_double_charge) AS possible_double_charge_count,
        coalesce(sum(accepted_invoice_count), 0)::BIGINT AS accepted_invoice_count,
        sum(pages_charged::DECIMAL(20, 0) * page_price_amount::DECIMAL(18, 6)) AS cost_amount
    FROM submitted LEFT JOIN accepted USING (extraction_id)
    GROUP BY extracted_by, month_starts_on, page_price_currency
)
SELECT
    *,
    (((cost_amount::DECIMAL(28, 6) * 1000000::DECIMAL(7, 0))::HUGEINT * 2 + accepted_invoice_count) // (nullif(accepted_invoice_count, 0) * 2))
        ::DECIMAL(30, 0) * 0.000001::DECIMAL(7, 6) AS accepted_invoice_cost_amount
FROM monthly
ORDER BY extracted_by, month_starts_on, currency
