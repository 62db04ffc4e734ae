//! `margate get`

use margate_client::Client;
use margate_net::ids::Version;

use super::is_text;
use crate::args::GetArgs;
use crate::error::Failure;
use crate::output::{Object, Output};

pub(crate) async fn run(client: &Client, output: &mut Output, args: GetArgs) -> Result<(), Failure> {
    let key = args.key.0;
    let mut request = client.get(key.clone());
    if args.stale {
        request = request.stale();
    }
    if let Some(version) = args.version {
        request = request.version(Version(version));
    }
    let Some(found) = request.await? else {
        return Err(Failure::NoSuchKey { key });
    };
    if is_text(output) {
        output.bytes(&found.value)?;
        return if args.raw { Ok(()) } else { output.line("") };
    }
    let object = Object::default()
        .bytes("key", &key)
        .bytes("value", &found.value)
        .field("version", found.version.0);
    output.object(object)
}
