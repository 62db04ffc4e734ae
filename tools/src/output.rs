//! Results on standard output: text for people, JSON for programs.
//!
//! Data go to standard output, talk goes to standard error. In JSON every byte string is two fields: its
//! name holds text, `<name>_encoding` says `utf8` or `base64`.

use std::io::{self, BufWriter, StdoutLock, Write as _};

use comfy_table::{Table, presets};
use serde_json::{Map, Value, json};

use crate::args::OutputFormat;
use crate::error::Failure;
use crate::key::base64;

/// Standard output, buffered; call [`Output::finish`] at the end.
pub(crate) struct Output {
    format: OutputFormat,
    stdout: BufWriter<StdoutLock<'static>>,
}

/// One JSON object in the making.
#[derive(Debug, Default)]
pub(crate) struct Object(Map<String, Value>);

impl Output {
    /// For one command.
    pub(crate) fn new(format: OutputFormat) -> Self {
        Self {
            format,
            stdout: BufWriter::new(io::stdout().lock()),
        }
    }

    /// How results are to be printed.
    pub(crate) fn format(&self) -> OutputFormat {
        self.format
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(Failure::Output)
    }

    /// Prints text and a newline.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.stdout, "{text}").map_err(Failure::Output)
    }

    /// Prints one JSON document on a line of its own.
    pub(crate) fn object(&mut self, object: Object) -> Result<(), Failure> {
        self.line(&Value::Object(object.0).to_string())
    }

    /// Hands everything to the reader.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.flush()
    }

    /// Hands over what is there so far, for commands that go on.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(Failure::Output)
    }
}

impl Object {
    /// Adds a field.
    pub(crate) fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a byte string: its field and its encoding.
    pub(crate) fn bytes(self, name: &str, bytes: &[u8]) -> Self {
        let (text, encoding) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), "utf8"),
            Err(_) => (base64(bytes), "base64"),
        };
        self.field(name, text).field(&format!("{name}_encoding"), encoding)
    }

    /// Adds a byte string if there is one.
    pub(crate) fn optional_bytes(self, name: &str, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => self.bytes(name, bytes),
            None => self,
        }
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object.0)
    }
}

/// A table for people, without lines.
pub(crate) fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    table
}

/// Prints why a command failed on standard error, as its output format asks.
pub(crate) fn complain(format: OutputFormat, failure: &Failure) {
    let text = match format {
        OutputFormat::Text => format!("error: {failure}"),
        OutputFormat::Json | OutputFormat::Jsonl => json!({"error": failure.to_string(), "exit_code": failure.exit() as u8}).to_string(),
    };
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_strings_carry_their_encoding() {
        let object = Object::default()
            .bytes("key", b"k")
            .bytes("value", &[0xff])
            .optional_bytes("old_value", None);
        let expected = json!({"key": "k", "key_encoding": "utf8", "value": "/w==", "value_encoding": "base64"});
        assert_eq!(Value::from(object), expected);
    }
}
