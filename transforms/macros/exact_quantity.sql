-- A text as DECIMAL(18,6) if it is a plain decimal that fits without rounding, else NULL. (CAST alone would round.)
CREATE MACRO exact_quantity(said) AS
    CASE WHEN regexp_full_match(said, '[+-]?(0*[0-9]{1,12}(\.[0-9]{0,6}0*)?|\.[0-9]{1,6}0*)')
         THEN TRY_CAST(said AS DECIMAL(18, 6)) END
