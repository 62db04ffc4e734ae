//! What makes and mends members of a shard: one message per frame.
//!
//! The body is one table; a shard's state, an image's rows, a key or a value are the payload as they are. A field that the
//! message's kind does not have is absent, and refused where it is not.

use bytes::Bytes;

use super::{FrameWriter, id128, root, u128_of};
use crate::frame::{Frame, FrameError, FrameKind, begin, finish};
use crate::generated::margate::wire;
use crate::ids::{DirectoryId, LogIndex, ReplicaId, ShardId, Term, Version};
use crate::limits::{COUNTER_MAX, KEY_BYTES_MAX};
use crate::message::{MemberBody, MemberMessage};

const ADMIT: u8 = 1;
const BEGIN: u8 = 2;
const END: u8 = 3;
const GIVE_UP: u8 = 4;
const JOIN: u8 = 5;
const ROWS: u8 = 6;
const TAKEN: u8 = 7;
const REMOVED: u8 = 8;
const WANT: u8 = 9;
const HAVE: u8 = 10;
const HAVE_NOT: u8 = 11;

impl FrameWriter {
    /// Appends a Member frame.
    ///
    /// # Panics
    /// If the message's state or rows have more than [`crate::limits::PAYLOAD_BYTES_MAX`] bytes; who makes
    /// them keeps below it.
    pub fn member(&mut self, out: &mut Vec<u8>, message: &MemberMessage) {
        let fields = Fields::of(&message.body);
        let directory = fields.directory.map(|directory| id128(directory.0));
        let args = wire::MemberArgs {
            shard: message.shard.0,
            from: message.from.0,
            to: message.to.0,
            attempt: message.attempt,
            number: fields.number,
            applied: fields.applied,
            term: fields.term,
            kind: fields.kind,
            directory: directory.as_ref(),
        };
        self.builder.reset();
        let body = wire::Member::create(&mut self.builder, &args);
        self.builder.finish(body, None);
        let start = begin(out, self.builder.finished_data());
        out.extend_from_slice(&fields.payload);
        finish(out, start, FrameKind::Member, 0);
    }
}

/// The message of a frame.
///
/// # Errors
/// [`FrameError`] if the frame makes no sense, which includes a number, version, term or index over [`COUNTER_MAX`].
pub fn decode_member(frame: &Frame) -> Result<MemberMessage, FrameError> {
    let table = root::<wire::Member<'_>>(frame, FrameKind::Member)?;
    let fields = Fields {
        kind: table.kind(),
        number: table.number(),
        applied: table.applied(),
        term: table.term(),
        directory: table.directory().map(|directory| DirectoryId(u128_of(directory))),
        payload: frame.payload.clone(),
    };
    let body = fields.body().map_err(|what| FrameError::Malformed { kind: frame.kind, what })?;
    Ok(MemberMessage {
        shard: ShardId(table.shard()),
        from: ReplicaId(table.from()),
        to: ReplicaId(table.to()),
        attempt: table.attempt(),
        body,
    })
}

/// All that some kind of message has; what a kind does not have is 0, absent or empty.
#[derive(Clone, Default, PartialEq, Eq)]
struct Fields {
    kind: u8,
    number: u64,
    applied: u64,
    term: u64,
    directory: Option<DirectoryId>,
    payload: Bytes,
}

impl Fields {
    fn of(body: &MemberBody) -> Self {
        let kind = |kind| Self { kind, ..Self::default() };
        match body {
            MemberBody::Admit { directory } => Self {
                directory: Some(*directory),
                ..kind(ADMIT)
            },
            MemberBody::Begin {
                applied,
                applied_term,
                state,
            } => Self {
                applied: applied.0,
                term: applied_term.0,
                payload: state.clone(),
                ..kind(BEGIN)
            },
            MemberBody::End { number, term } => Self {
                number: *number,
                term: term.0,
                ..kind(END)
            },
            MemberBody::GiveUp => kind(GIVE_UP),
            MemberBody::Have { data } => Self {
                payload: data.clone(),
                ..kind(HAVE)
            },
            MemberBody::HaveNot => kind(HAVE_NOT),
            MemberBody::Join { directory } => Self {
                directory: Some(*directory),
                ..kind(JOIN)
            },
            MemberBody::Removed => kind(REMOVED),
            MemberBody::Rows { number, data } => Self {
                number: *number,
                payload: data.clone(),
                ..kind(ROWS)
            },
            MemberBody::Taken { number } => Self {
                number: *number,
                ..kind(TAKEN)
            },
            MemberBody::Want { version, key } => Self {
                number: version.0,
                payload: key.clone(),
                ..kind(WANT)
            },
        }
    }

    /// The way back of [`Fields::of`], or what is wrong.
    fn body(&self) -> Result<MemberBody, &'static str> {
        if [self.number, self.applied, self.term]
            .into_iter()
            .any(|number| number > COUNTER_MAX)
        {
            return Err("a number, term or index is impossibly large");
        }
        let directory = || self.directory.ok_or("it names no data directory");
        let body = match self.kind {
            ADMIT => MemberBody::Admit { directory: directory()? },
            BEGIN => MemberBody::Begin {
                applied: LogIndex(self.applied),
                applied_term: Term(self.term),
                state: self.payload.clone(),
            },
            END => MemberBody::End {
                number: self.number,
                term: Term(self.term),
            },
            GIVE_UP => MemberBody::GiveUp,
            JOIN => MemberBody::Join { directory: directory()? },
            REMOVED => MemberBody::Removed,
            ROWS => MemberBody::Rows {
                number: self.number,
                data: self.payload.clone(),
            },
            TAKEN => MemberBody::Taken { number: self.number },
            WANT if self.payload.len() > KEY_BYTES_MAX => return Err("its key is too long"),
            WANT => MemberBody::Want {
                version: Version(self.number),
                key: self.payload.clone(),
            },
            HAVE => MemberBody::Have {
                data: self.payload.clone(),
            },
            HAVE_NOT => MemberBody::HaveNot,
            _ => return Err("its kind is unknown"),
        };
        if Self::of(&body) == *self {
            Ok(body)
        } else {
            Err("it has what its kind does not have")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Fields);

    fn of_kind(kind: u8) -> Fields {
        let directory = [ADMIT, JOIN].contains(&kind).then_some(DirectoryId(5));
        Fields {
            kind,
            directory,
            ..Fields::default()
        }
    }

    #[test]
    fn a_kind_takes_its_own_fields_and_no_others() {
        let more: [(&str, Change); 5] = [
            ("number", |fields| fields.number = 1),
            ("applied", |fields| fields.applied = 1),
            ("term", |fields| fields.term = 1),
            ("directory", |fields| fields.directory = Some(DirectoryId(6))),
            ("payload", |fields| fields.payload = Bytes::from_static(b"x")),
        ];
        for kind in ADMIT..=HAVE_NOT {
            let takes: Vec<_> = more
                .iter()
                .filter(|(_, change)| {
                    let mut fields = of_kind(kind);
                    change(&mut fields);
                    fields.body().is_ok()
                })
                .map(|(name, _)| *name)
                .collect();
            let expected: &[&str] = match kind {
                ADMIT | JOIN => &["directory"],
                BEGIN => &["applied", "term", "payload"],
                END => &["number", "term"],
                ROWS | WANT => &["number", "payload"],
                HAVE => &["payload"],
                TAKEN => &["number"],
                _ => &[],
            };
            assert_eq!(takes, expected, "kind {kind}");
            assert!(of_kind(kind).body().is_ok(), "kind {kind}");
        }
    }

    #[test]
    fn a_key_that_is_too_long_is_refused() {
        let wanted = |length| Fields {
            payload: vec![b'k'; length].into(),
            ..of_kind(WANT)
        };
        assert!(wanted(KEY_BYTES_MAX).body().is_ok());
        assert_eq!(wanted(KEY_BYTES_MAX + 1).body(), Err("its key is too long"));
    }

    #[test]
    fn unknown_kinds_and_a_missing_directory_are_refused() {
        for kind in [0, HAVE_NOT + 1, u8::MAX] {
            assert_eq!(of_kind(kind).body(), Err("its kind is unknown"));
        }
        for kind in [ADMIT, JOIN] {
            let nobody = Fields {
                directory: None,
                ..of_kind(kind)
            };
            assert_eq!(nobody.body(), Err("it names no data directory"));
        }
    }
}
