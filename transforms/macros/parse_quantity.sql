-- A text as DECIMAL(18,6) if it is a plain decimal that fits without rounding, else NULL. (CAST alone would round.)
CREATE MACRO parse_quantity(value) AS
    CASE WHEN regexp_full_match(value, '[+-]?(0*[0-9]{1,12}(\.[0-9]{0,6}0*)?|\.[0-9]{1,6}0*)')
         THEN TRY_CAST(value AS DECIMAL(18, 6)) END
