//! Spans of time and sizes as people write them: `150ms`, `64MiB`.
//!
//! A span needs a unit, so that nobody has to guess one; only `0` needs none. A size without a unit is in bytes.

use std::time::Duration;

/// Why a text is no span of time or no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnitError {
    /// It does not start with digits.
    #[error("it must start with a whole number, like {example}")]
    NoNumber {
        /// A text that works.
        example: &'static str,
    },
    /// The number has no unit, or one that is not known.
    #[error("the unit {unit:?} is not known; write one of {known}")]
    Unit {
        /// What followed the digits.
        unit: String,
        /// What may follow them.
        known: &'static str,
    },
    /// It must not be 0.
    #[error("it must be more than 0, like {example}")]
    Zero {
        /// A text that works.
        example: &'static str,
    },
    /// The result does not fit.
    #[error("it is too large")]
    TooLarge,
}

/// Reads `150ms`, `5s`, `2m`, `1h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    parse(text, &UNITS, "ms, s, m, h", "150ms").map(Duration::from_millis)
}

/// Reads a span in which something must happen.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, UnitError> {
    match parse_duration(text)? {
        Duration::ZERO => Err(UnitError::Zero { example: "5s" }),
        span => Ok(span),
    }
}

/// As exact as people care for: to a hundredth of a second, below one to a millisecond, below that to a microsecond.
pub(crate) fn rounded(span: Duration) -> Duration {
    let nanos = span.as_nanos();
    let step = match nanos {
        1_000_000_000.. => 10_000_000,
        1_000_000.. => 1_000_000,
        1_000.. => 1_000,
        0.. => return span,
    };
    // What does not fit is longer than anybody waits.
    u64::try_from((nanos + step / 2) / step * step).map_or(Duration::MAX, Duration::from_nanos)
}

/// Reads `512`, `512B`, `64KiB`, `64MiB`, `1GiB`, `1TiB` into bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, UnitError> {
    const UNITS: [(&str, u64); 6] = [
        ("", 1),
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    parse(text, &UNITS, "B, KiB, MiB, GiB, TiB", "64MiB")
}

/// Bytes with the largest unit that leaves at least one whole, to one decimal.
pub(crate) fn show_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut rest, mut unit) = (bytes, 0, 0);
    while whole >= 1_024 && unit + 1 < UNITS.len() {
        (rest, whole) = (whole % 1_024, whole / 1_024);
        unit += 1;
    }
    if unit == 0 {
        format!("{whole} B")
    } else {
        format!("{whole}.{} {}", rest * 10 / 1_024, UNITS[unit])
    }
}

fn parse(text: &str, units: &[(&str, u64)], known: &'static str, example: &'static str) -> Result<u64, UnitError> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::NoNumber { example });
    }
    let number: u64 = number.parse().map_err(|_| UnitError::TooLarge)?;
    let unit = unit.trim_start();
    if number == 0 && unit.is_empty() {
        return Ok(0);
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(UnitError::Unit {
            unit: unit.to_owned(),
            known,
        });
    };
    number.checked_mul(*factor).ok_or(UnitError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_must_be_known_and_durations_have_one() {
        assert_eq!(parse_duration("150ms"), Ok(Duration::from_millis(150)));
        assert_eq!(parse_duration("2 m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("4194304"), Ok(4 << 20));
        assert_eq!(parse_timeout("1ms"), Ok(Duration::from_millis(1)));
        assert!(matches!(parse_timeout("0s"), Err(UnitError::Zero { .. })));
        assert!(matches!(parse_duration("5"), Err(UnitError::Unit { .. })));
        assert!(matches!(parse_duration("5d"), Err(UnitError::Unit { .. })));
        assert!(matches!(parse_size("64MB"), Err(UnitError::Unit { .. })));
        assert!(matches!(parse_size("MiB"), Err(UnitError::NoNumber { .. })));
        assert_eq!(parse_size("99999999999TiB"), Err(UnitError::TooLarge));
        assert_eq!(parse_size("99999999999999999999B"), Err(UnitError::TooLarge));
    }

    #[test]
    fn sizes_are_shown_with_the_largest_unit_that_fits() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (64 << 20, "64.0 MiB"),
            (3 << 50, "3072.0 TiB"),
        ] {
            assert_eq!(show_size(bytes), shown);
        }
    }

    #[test]
    fn time_spent_is_rounded_for_people() {
        for (nanos, shown) in [
            (0, "0ns"),
            (999, "999ns"),
            (72_948, "73µs"),
            (300_412_345, "300ms"),
            (999_999_999, "1s"),
            (5_004_999_999, "5s"),
            (2_015_000_000, "2.02s"),
        ] {
            assert_eq!(format!("{:?}", rounded(Duration::from_nanos(nanos))), shown);
        }
        assert_eq!(rounded(Duration::MAX), Duration::MAX);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,24}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }

        #[test]
        fn whole_numbers_of_a_unit_are_read_back(number in 0u64..1 << 20) {
            prop_assert_eq!(parse_size(&format!("{number}MiB")), Ok(number << 20));
            prop_assert_eq!(parse_duration(&format!("{number}s")), Ok(Duration::from_secs(number)));
        }
    }
}
