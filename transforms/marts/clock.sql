-- Grain: one row: the day from which the marts look; a mart has no other clock, so building it again changes no row.
SELECT getvariable('as_of_on')::DATE AS as_of_on
