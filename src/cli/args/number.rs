//! Numbers and booleans of flags, as pflag reads them with Go's strconv.

/// A number that is not negative: decimal, `0x`, `0o`, `0b`, `0` for octal, with
/// `_` between digits.
pub fn unsigned(text: &str) -> Result<u64, String> {
    digits(text)
        .map_err(|why| why.words("ParseUint", text))
        .and_then(|(value, negative)| match negative {
            None => Ok(value),
            Some(_) => Err(Bad::Syntax.words("ParseUint", text)),
        })
}

/// The same for seconds and their like, where more than `u32` says is for ever.
pub fn unsigned_32(text: &str) -> Result<u32, String> {
    unsigned(text).map(|value| u32::try_from(value).unwrap_or(u32::MAX))
}

/// A number that may be negative.
pub fn signed(text: &str) -> Result<i64, String> {
    let (value, negative) = digits(text).map_err(|why| why.words("ParseInt", text))?;
    let value = match negative {
        Some(true) => 0_i64.checked_sub_unsigned(value),
        _ => i64::try_from(value).ok(),
    };
    value.ok_or_else(|| Bad::Range.words("ParseInt", text))
}

/// A decimal fraction.
pub fn float(text: &str) -> Result<f64, String> {
    text.parse()
        .map_err(|_| Bad::Syntax.words("ParseFloat", text))
}

/// A plain decimal number, as Go's strconv.Atoi reads it.
pub fn atoi(text: &str) -> Result<i64, String> {
    decimal(text).map_err(|why| why.words("Atoi", text))
}

/// A plain decimal number, as Go's strconv.ParseInt with base 10 reads it.
pub fn decimal_signed(text: &str) -> Result<i64, String> {
    decimal(text).map_err(|why| why.words("ParseInt", text))
}

/// `true`, `1`, `t`… as Go's strconv.ParseBool.
pub fn boolean(text: &str) -> Result<bool, String> {
    crate::cli::parse::parse_bool(text)
}

enum Bad {
    Syntax,
    Range,
}

impl Bad {
    fn words(&self, function: &str, text: &str) -> String {
        let why = match self {
            Self::Syntax => "invalid syntax",
            Self::Range => "value out of range",
        };
        format!("strconv.{function}: parsing {text:?}: {why}")
    }
}

fn decimal(text: &str) -> Result<i64, Bad> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Bad::Syntax);
    }
    text.parse().map_err(|_| Bad::Range)
}

/// The number without its sign, and whether there is a sign that is a minus.
fn digits(text: &str) -> Result<(u64, Option<bool>), Bad> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (Some(true), &text[1..]),
        Some(b'+') => (Some(false), &text[1..]),
        _ => (None, text),
    };
    let lower = rest.to_ascii_lowercase();
    let (base, body) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    let body = body.replace('_', "");
    if body.is_empty() || !body.chars().all(|c| c.is_digit(base)) {
        return Err(Bad::Syntax);
    }
    let value = u64::from_str_radix(&body, base).map_err(|_| Bad::Range)?;
    Ok((value, negative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_gos() {
        for (text, value) in [("5", 5), ("0x10", 16), ("010", 8), ("1_000", 1000)] {
            assert_eq!(unsigned(text), Ok(value), "{text}");
        }
        for (text, value) in [("-1", -1), ("+5", 5), ("-0x10", -16)] {
            assert_eq!(signed(text), Ok(value), "{text}");
        }
        assert_eq!(unsigned_32("99999999999"), Ok(u32::MAX));
        for (error, words) in [
            (
                unsigned("-1").unwrap_err(),
                "strconv.ParseUint: parsing \"-1\": invalid syntax",
            ),
            (
                unsigned("99999999999999999999").unwrap_err(),
                "strconv.ParseUint: parsing \"99999999999999999999\": value out of range",
            ),
            (
                signed("foo").unwrap_err(),
                "strconv.ParseInt: parsing \"foo\": invalid syntax",
            ),
            (
                float("").unwrap_err(),
                "strconv.ParseFloat: parsing \"\": invalid syntax",
            ),
            (
                atoi("x").unwrap_err(),
                "strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            (
                decimal_signed("0x5").unwrap_err(),
                "strconv.ParseInt: parsing \"0x5\": invalid syntax",
            ),
        ] {
            assert_eq!(error, words);
        }
    }
}
