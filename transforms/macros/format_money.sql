-- An amount and its currency for a message, like `6,312.50 DKK`: thousands separators, the currency's own decimals, more
-- if the amount has more. NULL without an amount. It works on text: format() would convert a decimal to a binary float.
-- The variable minor_digits (currency to decimals, ISO 4217) is set by transforms/sql_runner.py.
CREATE MACRO format_money(amount, currency) AS list_transform(
    [regexp_extract(amount::VARCHAR, '^(-?)([0-9]+)(?:\.([0-9]*?)0*)?$', ['sign', 'whole', 'fraction'])],
    lambda p: p.sign || ltrim(reverse(regexp_replace(reverse(p.whole), '([0-9]{3})', '\1,', 'g')), ',')
        || rtrim('.' || rpad(p.fraction, greatest(length(p.fraction), coalesce(getvariable('minor_digits')[currency], 2))::INTEGER, '0'), '.')
        || coalesce(' ' || currency, '')
)[1]
