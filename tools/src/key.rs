//! Keys on the command line and in tables: text, `0x…` (hexadecimal) or `b64:…` (base64).
//!
//! A key that itself starts with `0x` or `b64:` is written in one of the two encodings.
//!
//! Not here, on purpose: how long a key may be; the client and the server both say so with numbers.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStringExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::builder::{OsStringValueParser, TypedValueParser};

/// A key as the store knows it: bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) Bytes);

/// Why a text is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    /// After `0x` something else than pairs of hexadecimal digits came.
    #[error("after 0x an even number of hexadecimal digits must follow")]
    Hex,
    /// After `b64:` something else than padded base64 came.
    #[error("after b64: standard base64 with its padding must follow")]
    Base64,
}

impl Key {
    /// Reads one of the three notations.
    pub(crate) fn parse(typed: Vec<u8>) -> Result<Self, KeyError> {
        if let Some(digits) = typed.strip_prefix(b"0x") {
            return hex(digits).map(|bytes| Self(bytes.into())).ok_or(KeyError::Hex);
        }
        if let Some(encoded) = typed.strip_prefix(b"b64:") {
            return STANDARD
                .decode(encoded)
                .map(|bytes| Self(bytes.into()))
                .map_err(|_| KeyError::Base64);
        }
        Ok(Self(typed.into()))
    }

    /// What reads key arguments. Arguments need not be UTF-8.
    pub(crate) fn argument() -> impl TypedValueParser<Value = Self> {
        OsStringValueParser::new().try_map(|typed: OsString| Self::parse(typed.into_vec()))
    }
}

/// One line that [`Key::parse`] reads back: the bytes as they are where they are plain text, else `0x…`.
pub(crate) fn show(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with("0x") && !text.starts_with("b64:") && !text.chars().any(char::is_control) => text.to_owned(),
        Ok(_) | Err(_) => bytes.iter().fold("0x".to_owned(), |mut shown, byte| {
            // Writing to a String cannot fail.
            let _ = write!(shown, "{byte:02x}");
            shown
        }),
    }
}

/// Standard base64, as JSON output uses it for bytes that are no text.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(typed: &str) -> Result<Vec<u8>, KeyError> {
        Key::parse(typed.as_bytes().to_vec()).map(|key| key.0.to_vec())
    }

    #[test]
    fn three_notations_are_read() {
        assert_eq!(parsed("hello"), Ok(b"hello".to_vec()));
        assert_eq!(parsed("0x00fF"), Ok(vec![0, 255]));
        assert_eq!(parsed("0x"), Ok(vec![]));
        assert_eq!(parsed("b64:AP8="), Ok(vec![0, 255]));
        assert_eq!(parsed("0x0"), Err(KeyError::Hex));
        assert_eq!(parsed("0xzz"), Err(KeyError::Hex));
        assert_eq!(parsed("b64:*"), Err(KeyError::Base64));
    }

    #[test]
    fn shown_keys_stay_on_their_line() {
        assert_eq!(show(b"plain"), "plain");
        assert_eq!(show(b"a\nb"), "0x610a62");
        assert_eq!(show(b"0x41"), "0x30783431");
        assert_eq!(show(&[0xff]), "0xff");
    }

    proptest! {
        #[test]
        fn arbitrary_arguments_never_panic(typed in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Key::parse(typed);
        }

        #[test]
        fn what_is_shown_is_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let shown = show(&bytes);
            prop_assert_eq!(parsed(&shown), Ok(bytes.clone()));
            let encoded = format!("b64:{}", base64(&bytes));
            prop_assert_eq!(parsed(&encoded), Ok(bytes));
        }
    }
}
