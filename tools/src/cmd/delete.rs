//! `margate delete`

use margate_client::Client;
use margate_net::ids::Version;

use super::written::{Outcome, report};
use crate::args::DeleteArgs;
use crate::error::Failure;
use crate::output::Output;

pub(crate) async fn run(client: &Client, output: &mut Output, args: DeleteArgs) -> Result<(), Failure> {
    let key = args.key.0;
    let mut request = client.delete(key.clone());
    if let Some(version) = args.at_version {
        request = request.at_version(Version(version));
    }
    if args.returning.return_key {
        request = request.return_key();
    }
    if args.returning.return_old_value {
        request = request.return_old_value();
    }
    let deleted = request.await?;
    if deleted.version.is_none() {
        return Err(match args.at_version {
            Some(version) => Failure::NotAtVersion { key, version },
            None => Failure::NoSuchKey { key },
        });
    }
    let outcome = Outcome {
        asked: &key,
        version: deleted.version,
        key: deleted.key,
        old_value: deleted.old_value,
    };
    report(output, &outcome)
}
