//! How every write is reported: its version, and what it was asked to send back.

use bytes::Bytes;
use margate_net::ids::Version;

use super::is_text;
use crate::error::Failure;
use crate::key::show;
use crate::output::{Object, Output};

/// What a write sent back.
pub(crate) struct Outcome<'a> {
    /// The key as it was given.
    pub(crate) asked: &'a Bytes,
    /// The version written; `None` where nothing was.
    pub(crate) version: Option<Version>,
    /// The key as the server stored it, if asked for.
    pub(crate) key: Option<Bytes>,
    /// The value that stood before, if asked for and there was one.
    pub(crate) old_value: Option<Bytes>,
}

/// Prints lines of `name value`, or one JSON object.
pub(crate) fn report(output: &mut Output, outcome: &Outcome<'_>) -> Result<(), Failure> {
    if is_text(output) {
        return report_text(output, outcome);
    }
    let object = Object::default()
        .bytes("key", outcome.key.as_ref().unwrap_or(outcome.asked))
        .field("version", outcome.version.map(|version| version.0))
        .optional_bytes("old_value", outcome.old_value.as_deref());
    output.object(object)
}

fn report_text(output: &mut Output, outcome: &Outcome<'_>) -> Result<(), Failure> {
    if let Some(version) = outcome.version {
        output.line(&format!("version {version}"))?;
    }
    if let Some(key) = &outcome.key {
        output.line(&format!("key {}", show(key)))?;
    }
    if let Some(old_value) = &outcome.old_value {
        output.line(&format!("old_value {}", show(old_value)))?;
    }
    Ok(())
}
