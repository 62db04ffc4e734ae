//! `margate set`

use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;

use bytes::Bytes;
use margate_client::Client;
use margate_net::ids::Version;
use margate_net::limits::VALUE_BYTES_MAX;

use super::written::{Outcome, report};
use crate::args::SetArgs;
use crate::error::Failure;
use crate::output::Output;

pub(crate) async fn run(client: &Client, output: &mut Output, args: SetArgs) -> Result<(), Failure> {
    let key = args.key.0;
    let value = match args.value {
        Some(value) => Bytes::from(value.into_vec()),
        None => from_stdin()?,
    };
    let mut request = client.set(key.clone(), value);
    if args.create_only {
        request = request.create_only();
    }
    if args.modify_only {
        request = request.modify_only();
    }
    if let Some(version) = args.at_version {
        request = request.at_version(Version(version));
    }
    if args.returning.return_key {
        request = request.return_key();
    }
    if args.returning.return_old_value {
        request = request.return_old_value();
    }
    let written = request.await?;
    let outcome = Outcome {
        asked: &key,
        version: Some(written.version),
        key: written.key,
        old_value: written.old_value,
    };
    report(output, &outcome)
}

/// Reads at most one byte more than a value may have: enough for the refusal to be right.
fn from_stdin() -> Result<Bytes, Failure> {
    let mut value = Vec::new();
    let most = VALUE_BYTES_MAX as u64 + 1;
    std::io::stdin().lock().take(most).read_to_end(&mut value).map_err(Failure::Input)?;
    Ok(value.into())
}
