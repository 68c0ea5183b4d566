-- A tax id for comparison: upper-case letters and digits only.
CREATE MACRO normalise_tax_id(value) AS nullif(regexp_replace(upper(value), '[^A-Z0-9]', '', 'g'), '')
