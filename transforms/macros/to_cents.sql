-- An amount in whole hundredths, ties rounded up: round(x*100) as the EN 16931 schematron writes it in XPath.
CREATE MACRO to_cents(amount) AS floor(amount::DECIMAL(30, 6) * 100::DECIMAL(3, 0) + 0.5)::HUGEINT
