//! Sizes: a number with a unit, as Docker's go-units reads them.

/// Bytes of `64m`, `1.5g`, `1KiB`: units are powers of 1024.
pub fn binary(text: &str) -> Result<i64, String> {
    bytes(text, 1024.0)
}

/// Bytes of `10m`, `1g`: units are powers of 1000.
pub fn decimal(text: &str) -> Result<i64, String> {
    bytes(text, 1000.0)
}

fn bytes(text: &str, base: f64) -> Result<i64, String> {
    let Some(last) = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ') else {
        return Err(format!("invalid size: '{text}'"));
    };
    // A space between the number and its unit belongs to neither.
    let number = if text.as_bytes()[last] == b' ' {
        &text[..last]
    } else {
        &text[..=last]
    };
    let value = super::number::float(number)?;
    if value < 0.0 {
        return Err(format!("invalid size: '{text}'"));
    }
    let unit = text[last + 1..].to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        _ => {
            let (first, rest) = unit.split_at(unit.chars().next().map_or(0, char::len_utf8));
            match ("kmgtp".find(first), rest) {
                (Some(power), "" | "b" | "ib") => power + 1,
                _ => return Err(format!("invalid suffix: '{unit}'")),
            }
        }
    };
    let power = i32::try_from(power).expect("at most five");
    // `as` keeps within i64 what is beyond it.
    Ok((value * base.powi(power)) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_go_units() {
        for (text, value) in [
            ("0", 0),
            ("100", 100),
            ("1k", 1024),
            ("1K", 1024),
            ("1kib", 1024),
            ("1MB", 1 << 20),
            ("1 m", 1 << 20),
            ("1.5g", 3 << 29),
            (".5m", 1 << 19),
            ("1.m", 1 << 20),
            ("1e3", 1000),
            ("1b", 1),
            ("+5", 5),
            ("1p", 1 << 50),
        ] {
            assert_eq!(binary(text), Ok(value), "{text}");
        }
        assert_eq!(decimal("10m"), Ok(10_000_000));
        assert_eq!(decimal("1g"), Ok(1_000_000_000));
        for (text, words) in [
            ("", "invalid size: ''"),
            ("foo", "invalid size: 'foo'"),
            ("-1", "invalid size: '-1'"),
            ("1x", "invalid suffix: 'x'"),
            ("1zb", "invalid suffix: 'zb'"),
            ("1mm", "invalid suffix: 'mm'"),
            (" 1", "strconv.ParseFloat: parsing \" 1\": invalid syntax"),
            ("1m ", "strconv.ParseFloat: parsing \"1m\": invalid syntax"),
        ] {
            assert_eq!(binary(text).unwrap_err(), words, "{text:?}");
        }
    }
}
