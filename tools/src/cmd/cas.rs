//! `margate cas`

use std::os::unix::ffi::OsStringExt as _;

use margate_client::Client;

use super::written::{Outcome, report};
use crate::args::CasArgs;
use crate::error::Failure;
use crate::output::Output;

pub(crate) async fn run(client: &Client, output: &mut Output, args: CasArgs) -> Result<(), Failure> {
    let key = args.key.0;
    let mut request = client.compare_exchange(key.clone(), args.expected.into_vec(), args.value.into_vec());
    if args.returning.return_key {
        request = request.return_key();
    }
    if args.returning.return_old_value {
        request = request.return_old_value();
    }
    let exchanged = request.await?;
    let outcome = Outcome {
        asked: &key,
        version: exchanged.version,
        key: exchanged.key,
        old_value: exchanged.old_value,
    };
    // Where another value stood, it is still what `--return-old-value` asked to see.
    report(output, &outcome)?;
    match outcome.version {
        Some(_) => Ok(()),
        None => Err(Failure::NotSwapped { key }),
    }
}
