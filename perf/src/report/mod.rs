//! What a run says: result lines on stdout, talk, ratios and a bar on stderr, histograms in a file.

pub(crate) mod hdr;
pub(crate) mod line;
pub(crate) mod progress;
#[cfg(feature = "peers")]
pub(crate) mod ratio;
pub(crate) mod versus;

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use crate::error::PerfError;

/// Where results go: one line each, for people or for programs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Output {
    /// The result's own words.
    Text,
    /// One JSON object.
    Json,
}

impl Output {
    /// By the flag `--json`.
    pub(crate) fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }

    /// Prints one result on stdout at once.
    ///
    /// # Errors
    /// Stdout is closed or full.
    pub(crate) fn emit(self, result: &(impl fmt::Display + Serialize)) -> Result<(), PerfError> {
        let mut stdout = io::stdout().lock();
        let written = match self {
            Self::Text => writeln!(stdout, "{result}"),
            Self::Json => serde_json::to_writer(&mut stdout, result)
                .map_err(io::Error::from)
                .and_then(|()| writeln!(stdout)),
        };
        written.and_then(|()| stdout.flush()).map_err(PerfError::Stdout)
    }
}
