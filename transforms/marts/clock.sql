-- Grain: one row: the day as of which the marts are built. They use no other clock, so building them again changes no row.
SELECT getvariable('as_of_on')::DATE AS as_of_on
