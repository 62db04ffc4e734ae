//! Sizes as people write them.

/// Bytes: a whole number, or one with `KiB`, `MiB` or `GiB` behind it.
///
/// # Errors
/// What would be one.
pub(crate) fn byte_count(text: &str) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let with_unit = units.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)));
    let (digits, bits) = with_unit.unwrap_or((text, 0));
    let number: Option<u64> = digits.trim().parse().ok();
    let bytes = number.and_then(|number| number.checked_mul(1 << bits));
    bytes.ok_or_else(|| "give a whole number of bytes, or one with KiB, MiB or GiB".to_owned())
}

/// Bytes in the largest unit that leaves a number above one, for people.
pub(crate) fn in_words(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.iter().find(|(_, bits)| bytes >> bits > 0);
    match unit {
        Some((unit, bits)) if bytes.is_multiple_of(1 << bits) => format!("{} {unit}", bytes >> bits),
        Some((unit, bits)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << bits) as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(byte_count("7"), Ok(7));
        assert_eq!(byte_count("64KiB"), Ok(65_536));
        assert_eq!(byte_count("2 MiB"), Ok(2 << 20));
        for wrong in ["", "KiB", "1.5MiB", "64kb", "-1", "99999999999GiB"] {
            assert!(byte_count(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_written() {
        let words = [0, 256, 4096, 3 << 19, 5 << 30].map(in_words);
        assert_eq!(words, ["0 B", "256 B", "4 KiB", "1.5 MiB", "5 GiB"]);
    }
}
