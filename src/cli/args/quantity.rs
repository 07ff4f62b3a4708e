//! Sizes, spans and limits as people write them: `64MiB`, `500ms`, `1h 30m`, `none`.

use std::time::Duration;

use bytesize::ByteSize;

/// A limit that can be taken away again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit<T> {
    Of(T),
    None,
}

impl<T: Copy> Limit<T> {
    pub(crate) const fn value(self) -> Option<T> {
        match self {
            Self::Of(value) => Some(value),
            Self::None => None,
        }
    }
}

/// A number of bytes: `4096`, `64kB` (of 1000), `64MiB` (of 1024).
pub(super) fn size(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(size) => Ok(size.as_u64()),
        Err(_) => Err("it takes the form 4096, 64kB or 64MiB".to_owned()),
    }
}

/// A span of time: `500ms`, `30s`, `1h 30m`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "it takes the form 500ms, 30s, 1h or 2days".to_owned())
}

pub(super) fn size_limit(text: &str) -> Result<Limit<u64>, String> {
    limit(text, size)
}

pub(super) fn span_limit(text: &str) -> Result<Limit<Duration>, String> {
    limit(text, span)
}

fn limit<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Limit<T>, String> {
    if text == "none" { Ok(Limit::None) } else { parse(text).map(Limit::Of).map_err(|form| format!("{form}, or none")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_carry_a_unit_of_1000_or_1024() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("64kB", 64_000), ("64 KiB", 65_536), ("1.5MiB", 1_572_864), ("2GiB", 2 << 30)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "x", "-1", "5 potatoes", "MiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_need_a_unit() {
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("1h 30m"), Ok(Duration::from_secs(5400)));
        for text in ["", "5", "-1s", "1 fortnight"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn none_takes_a_limit_away() {
        assert_eq!(size_limit("none"), Ok(Limit::None));
        assert_eq!(span_limit("1s").map(Limit::value), Ok(Some(Duration::from_secs(1))));
        assert!(size_limit("nothing").is_err());
    }
}
