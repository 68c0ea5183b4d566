-- A text as DECIMAL(18,4) if it is a plain decimal that fits without rounding, else NULL. (CAST alone would round.)
CREATE MACRO parse_amount(value) AS
    CASE WHEN regexp_full_match(value, '[+-]?(0*[0-9]{1,14}(\.[0-9]{0,4}0*)?|\.[0-9]{1,4}0*)')
         THEN TRY_CAST(value AS DECIMAL(18, 4)) END
