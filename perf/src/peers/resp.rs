//! Redis' protocol (RESP2), as far as our commands need it: requests are arrays of byte strings, replies what is in
//! [`Reply`]. Pure: bytes in, replies out.
//!
//! Not here, on purpose: integers and the kinds of RESP3, which no command of ours is answered with.

use bytes::{BufMut, Bytes, BytesMut};
use margate_net::limits::VALUE_BYTES_MAX;

/// Bytes of a line that holds a length, a status or an error, at most.
const LINE_BYTES_MAX: usize = 4096;
/// Bytes of one byte string in a reply, at most: what we have written, or what `INFO` says.
const BULK_BYTES_MAX: usize = VALUE_BYTES_MAX;
/// Byte strings in one reply, at most: `CONFIG GET` of one name answers with two.
const ARRAY_LENGTH_MAX: usize = 64;
/// What ends every part.
const END: &[u8] = b"\r\n";

/// What Redis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Done, in a word.
    Status(Bytes),
    /// Refused, with the reason.
    Error(Bytes),
    /// A byte string; none where there is no such thing.
    Bulk(Option<Bytes>),
    /// Several.
    Array(Vec<Option<Bytes>>),
}

/// What is no reply that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The first byte says what follows, and this one says nothing.
    #[error("a reply begins with the byte {0:#04x}")]
    Kind(u8),
    /// A line does not end.
    #[error("a line of a reply has more than {LINE_BYTES_MAX} bytes")]
    Line,
    /// A length that is no number, or more than a reply of ours can have.
    #[error("a reply gives a length that is no number or too large")]
    Length,
    /// A byte string is longer than its length.
    #[error("a byte string of a reply does not end where its length says")]
    End,
}

/// A request.
pub(super) fn request(parts: &[&[u8]]) -> Bytes {
    const HEADS: usize = 16;
    let mut bytes = BytesMut::with_capacity(HEADS + parts.iter().map(|part| part.len() + HEADS).sum::<usize>());
    bytes.put_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        bytes.put_slice(format!("${}\r\n", part.len()).as_bytes());
        bytes.put_slice(part);
        bytes.put_slice(END);
    }
    bytes.freeze()
}

/// Takes the first reply off the bytes that have come; none if its end is still to come, and nothing is taken then.
///
/// # Errors
/// The bytes can be no reply, whatever follows.
pub(super) fn take_reply(received: &mut BytesMut) -> Result<Option<Reply>, Malformed> {
    let mut parts = Parts { bytes: received, at: 0 };
    let Some(reply) = parts.reply()? else {
        return Ok(None);
    };
    let taken = received.split_to(parts.at).freeze();
    Ok(Some(reply.of(&taken)))
}

/// Where a part lies.
type Place = std::ops::Range<usize>;

/// A reply whose parts are still where they came.
enum Found {
    Status(Place),
    Error(Place),
    Bulk(Option<Place>),
    Array(Vec<Option<Place>>),
}

impl Found {
    fn of(self, taken: &Bytes) -> Reply {
        let bulk = |place: Option<Place>| place.map(|place| taken.slice(place));
        match self {
            Self::Status(place) => Reply::Status(taken.slice(place)),
            Self::Error(place) => Reply::Error(taken.slice(place)),
            Self::Bulk(place) => Reply::Bulk(bulk(place)),
            Self::Array(places) => Reply::Array(places.into_iter().map(bulk).collect()),
        }
    }
}

/// Reads from the front on; each method gives none where bytes are missing.
struct Parts<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parts<'_> {
    fn reply(&mut self) -> Result<Option<Found>, Malformed> {
        let Some((kind, line)) = self.head()? else {
            return Ok(None);
        };
        match kind {
            b'+' => Ok(Some(Found::Status(line))),
            b'-' => Ok(Some(Found::Error(line))),
            b'$' => Ok(self.bulk(line)?.map(Found::Bulk)),
            b'*' => Ok(self.array(line)?.map(Found::Array)),
            other => Err(Malformed::Kind(other)),
        }
    }

    /// The byte that says what follows, and the rest of its line.
    fn head(&mut self) -> Result<Option<(u8, Place)>, Malformed> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.windows(END.len()).take(LINE_BYTES_MAX).position(|window| window == END) else {
            return if rest.len() > LINE_BYTES_MAX {
                Err(Malformed::Line)
            } else {
                Ok(None)
            };
        };
        let Some(kind) = rest[..end].first() else {
            return Err(Malformed::Kind(END[0]));
        };
        let line = self.at + 1..self.at + end;
        self.at += end + END.len();
        Ok(Some((*kind, line)))
    }

    /// The byte string whose length a line gives; the inner none is one that is not there.
    fn bulk(&mut self, line: Place) -> Result<Option<Option<Place>>, Malformed> {
        let Some(length) = self.length(line, BULK_BYTES_MAX)? else {
            return Ok(Some(None));
        };
        let Some(bytes) = self.bytes[self.at..].get(..length + END.len()) else {
            return Ok(None);
        };
        if &bytes[length..] != END {
            return Err(Malformed::End);
        }
        let place = self.at..self.at + length;
        self.at += bytes.len();
        Ok(Some(Some(place)))
    }

    fn array(&mut self, line: Place) -> Result<Option<Vec<Option<Place>>>, Malformed> {
        let count = self.length(line, ARRAY_LENGTH_MAX)?.unwrap_or_default();
        let mut places = Vec::with_capacity(count);
        for _ in 0..count {
            let Some((kind, line)) = self.head()? else {
                return Ok(None);
            };
            if kind != b'$' {
                return Err(Malformed::Kind(kind));
            }
            let Some(place) = self.bulk(line)? else {
                return Ok(None);
            };
            places.push(place);
        }
        Ok(Some(places))
    }

    /// The number on a line; -1 means that there is nothing.
    fn length(&self, line: Place, max: usize) -> Result<Option<usize>, Malformed> {
        let digits = &self.bytes[line];
        if digits == b"-1" {
            return Ok(None);
        }
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        number.filter(|number| *number <= max).map(Some).ok_or(Malformed::Length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bulk(bytes: &'static [u8]) -> Reply {
        Reply::Bulk(Some(Bytes::from_static(bytes)))
    }

    #[test]
    fn a_request_is_an_array_of_its_parts() {
        let bytes = request(&[b"SET", b"", b"\r\n\xff"]);
        assert_eq!(&bytes[..], b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$3\r\n\r\n\xff\r\n");
    }

    #[test]
    fn replies_are_taken_one_by_one_and_only_whole() {
        let stream: &[u8] = b"+OK\r\n-ERR no\r\n$3\r\n\r\n\xff\r\n$0\r\n\r\n$-1\r\n*2\r\n$1\r\na\r\n$-1\r\n*0\r\n";
        let expected = [
            Reply::Status(Bytes::from_static(b"OK")),
            Reply::Error(Bytes::from_static(b"ERR no")),
            bulk(b"\r\n\xff"),
            bulk(b""),
            Reply::Bulk(None),
            Reply::Array(vec![Some(Bytes::from_static(b"a")), None]),
            Reply::Array(Vec::new()),
        ];
        let (mut received, mut replies) = (BytesMut::new(), Vec::new());
        for byte in stream {
            received.put_u8(*byte);
            let before = received.len();
            match take_reply(&mut received).expect("each is well formed") {
                Some(reply) => replies.push(reply),
                None => assert_eq!(received.len(), before, "what is not whole stays"),
            }
        }
        assert_eq!((replies.as_slice(), received.len()), (&expected[..], 0));
        let mut at_once = BytesMut::from(stream);
        let all: Vec<Reply> = std::iter::from_fn(|| take_reply(&mut at_once).expect("each is well formed")).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn what_can_be_no_reply_is_told_before_it_is_waited_for() {
        let long = [b"+".as_slice(), &[b'a'; LINE_BYTES_MAX + 1]].concat();
        for (bytes, malformed) in [
            (b":1\r\n".as_slice(), Malformed::Kind(b':')),
            (b"\r\n", Malformed::Kind(b'\r')),
            (b"*1\r\n+OK\r\n", Malformed::Kind(b'+')),
            (b"$x\r\n", Malformed::Length),
            (b"$-2\r\n", Malformed::Length),
            (b"$99999999999999999999\r\n", Malformed::Length),
            (b"$1048577\r\n", Malformed::Length),
            (b"*65\r\n", Malformed::Length),
            (b"$1\r\nab\r\n", Malformed::End),
            (&long, Malformed::Line),
        ] {
            assert_eq!(take_reply(&mut BytesMut::from(bytes)), Err(malformed), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_reply_or_not_but_never_panic(bytes: Vec<u8>, text in "[+$*:\\-0-9\r\n]*") {
            let _ = take_reply(&mut BytesMut::from(&bytes[..]));
            let _ = take_reply(&mut BytesMut::from(text.as_bytes()));
        }

        #[test]
        fn a_byte_string_comes_back_as_it_is(bytes: Vec<u8>, rest: Vec<u8>) {
            // One part of a request has the form of a reply.
            let whole = request(&[&bytes]).slice(b"*1\r\n".len()..);
            let mut received = BytesMut::from(&[&whole[..], &rest].concat()[..]);
            prop_assert_eq!(take_reply(&mut received), Ok(Some(Reply::Bulk(Some(bytes.into())))));
            prop_assert_eq!(&received[..], &rest[..]);
        }
    }
}
