-- A text as DATE if it is YYYY-MM-DD and such a day exists, else NULL: 01/02/2024 has two readings, so it has none.
-- DuckDB knows a year 0; Python and Parquet readers do not, and one such date would stop its whole batch.
CREATE MACRO exact_date(said) AS
    CASE WHEN regexp_full_match(said, '[0-9]{4}-[0-9]{2}-[0-9]{2}') AND said >= '0001' THEN TRY_CAST(said AS DATE) END
