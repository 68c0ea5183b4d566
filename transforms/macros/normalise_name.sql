-- A name for comparison: letters and digits only, lower case, composed accents.
CREATE MACRO normalise_name(value) AS
    nullif(regexp_replace(lower(nfc_normalize(value)), '[^\p{L}\p{N}]', '', 'g'), '')
