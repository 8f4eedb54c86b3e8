//! Numbers for people, in docker/go-units' words.

/// `1.5kB`: powers of 1000, `digits` of them significant.
pub fn size(bytes: u64, digits: usize) -> String {
    scaled(
        bytes,
        1000.0,
        &["B", "kB", "MB", "GB", "TB", "PB", "EB"],
        digits,
    )
}

/// `1.5KiB`: powers of 1024.
pub fn binary_size(bytes: u64, digits: usize) -> String {
    scaled(
        bytes,
        1024.0,
        &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"],
        digits,
    )
}

fn scaled(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units[unit])
}

/// C's and Go's `%.{digits}g`.
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let digits = digits.max(1);
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let plain = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", plain(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
    plain(&format!("{value:.decimals$}"))
}

/// `About an hour`, `3 weeks`: a span of `seconds`.
pub fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    // Hours are rounded, minutes are not.
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 14 => format!("{} days", hours / 24),
        () if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// `3 minutes ago`.
pub fn ago(at: jiff::Timestamp) -> String {
    let since = jiff::Timestamp::now().as_second() - at.as_second();
    format!("{} ago", duration(since))
}

/// Go's Duration.String: `1h0m5s`, `1.5s`, `20ms`.
pub fn go_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let left = nanoseconds.unsigned_abs();
    let part = |left: u64, unit: u64| {
        let text = format!(
            "{}.{:09}",
            left / unit,
            (left % unit) * (1_000_000_000 / unit)
        );
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    const SECOND: u64 = 1_000_000_000;
    if left == 0 {
        return "0s".to_owned();
    }
    if left < SECOND {
        let (unit, name) = match left {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{sign}{}{name}", part(left, unit));
    }
    let (hours, minutes) = (left / (3600 * SECOND), left / (60 * SECOND) % 60);
    let seconds = part(left % (60 * SECOND), SECOND);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_go_units() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (11_200, "11.2kB"),
            (2_440_000, "2.44MB"),
            (1_000_000, "1MB"),
            (999_999, "1e+03kB"),
        ] {
            assert_eq!(size(bytes, 3), text);
        }
        assert_eq!(size(1_475_133_440, 4), "1.475GB");
        assert_eq!(binary_size(1024 * 1024 * 3 / 2, 4), "1.5MiB");
    }

    #[test]
    fn spans_are_go_units() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (119, "About a minute"),
            (3540, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (3600 * 48, "2 days"),
            (3600 * 24 * 14, "2 weeks"),
            (3600 * 24 * 60, "2 months"),
            (3600 * 24 * 365 * 3, "3 years"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
