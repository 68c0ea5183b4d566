-- A text as DATE if it is YYYY-MM-DD and such a day exists, else NULL: 01/02/2024 has two readings, so it is NULL.
-- DuckDB accepts the year 0; Python and Parquet readers do not, and one such date would fail its whole batch.
CREATE MACRO parse_date(value) AS
    CASE WHEN regexp_full_match(value, '[0-9]{4}-[0-9]{2}-[0-9]{2}') AND value >= '0001' THEN TRY_CAST(value AS DATE) END
