//! Numbers, times and values as text. Pure functions without any state; `output` and the reports put them together.

use std::time::{Duration, SystemTime};

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `2 files`: regular plurals only.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Bytes in the unit that leaves one to three digits before the point; units are powers of 1000, as in rates.
pub(crate) fn bytes(number: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    for (size, unit) in units {
        if number >= size {
            return format!("{:.1} {unit}", number as f64 / size as f64);
        }
    }
    counted(number, "byte")
}

/// How many per second, grouped; a span of no length counts as one microsecond.
pub(crate) fn per_second(number: u64, elapsed: Duration) -> u64 {
    (number as f64 / elapsed.as_secs_f64().max(1e-6)) as u64
}

/// [`per_second`] with the digits behind the point that a slow thing needs.
pub(crate) fn rate(number: u64, elapsed: Duration) -> String {
    let rate = number as f64 / elapsed.as_secs_f64().max(1e-6);
    if rate < 10.0 { format!("{rate:.2}") } else { grouped(rate as u64) }
}

/// A span in the unit that suits it.
pub(crate) fn span(elapsed: Duration) -> String {
    match elapsed.as_nanos() {
        0..1_000 => format!("{} ns", elapsed.as_nanos()),
        1_000..1_000_000 => format!("{:.1} us", elapsed.as_secs_f64() * 1e6),
        1_000_000..1_000_000_000 => format!("{:.1} ms", elapsed.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", elapsed.as_secs_f64()),
    }
}

/// A time as RFC 3339 in UTC with nanoseconds; times before 1970 are shown as 1970.
pub(crate) fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time.max(SystemTime::UNIX_EPOCH)).to_string()
}

/// The beginning of a value on one line, safe for a terminal: control characters are escaped, bytes that are no UTF-8 are shown
/// as hexadecimal digits.
pub(crate) fn preview(value: &[u8], chars_max: usize) -> String {
    let Ok(text) = std::str::from_utf8(value) else {
        let shown = &value[..value.len().min(chars_max / 2)];
        return format!("0x{}{}", base16(shown), if shown.len() < value.len() { ".." } else { "" });
    };
    let mut shown: String = text.chars().take(chars_max).flat_map(char::escape_debug).collect();
    if text.chars().nth(chars_max).is_some() {
        shown.push_str("..");
    }
    shown
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn base16(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn bytes_take_the_unit_that_fits() {
        for (number, expected) in [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1_500, "1.5 kB"), (2_000_000, "2.0 MB")] {
            assert_eq!(bytes(number), expected);
        }
    }

    #[test]
    fn timestamps_have_nanoseconds_and_end_in_z() {
        for (second, expected) in [(0, "1970-01-01T00:00:00.000000005Z"), (951_782_400, "2000-02-29T00:00:00.000000005Z")] {
            assert_eq!(timestamp(SystemTime::UNIX_EPOCH + Duration::new(second, 5)), expected);
        }
    }

    #[test]
    fn a_preview_is_short_and_cannot_steer_the_terminal() {
        assert_eq!(preview(b"hello", 5), "hello");
        assert_eq!(preview(b"hello!", 5), "hello..");
        assert_eq!(preview(b"a\x1b[2Jb\n", 20), "a\\u{1b}[2Jb\\n");
        assert_eq!(preview(&[0xff, 0x00, 0x12], 4), "0xff00..");
        assert_eq!(preview(&[0xff], 4), "0xff");
    }

    #[test]
    fn a_rate_over_no_time_is_a_number() {
        assert_eq!(per_second(10, Duration::ZERO), 10_000_000);
        assert_eq!(per_second(10, Duration::from_secs(2)), 5);
        assert_eq!(
            (rate(1, Duration::from_secs(4)), rate(25_000, Duration::from_secs(2))),
            ("0.25".to_owned(), "12,500".to_owned())
        );
    }

    #[test]
    fn spans_take_the_unit_that_fits() {
        for (nanos, expected) in [(999, "999 ns"), (1_500, "1.5 us"), (2_000_000, "2.0 ms"), (61_000_000_000, "61.0 s")] {
            assert_eq!(span(Duration::from_nanos(nanos)), expected);
        }
    }
}
