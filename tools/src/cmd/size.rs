//! `margate size`

use margate_client::Client;

use super::is_text;
use crate::args::SizeArgs;
use crate::error::Failure;
use crate::output::{Object, Output};

pub(crate) async fn run(client: &Client, output: &mut Output, args: SizeArgs) -> Result<(), Failure> {
    let key = args.key.0;
    let mut request = client.size(key.clone());
    if args.stale {
        request = request.stale();
    }
    let Some(sized) = request.await? else {
        return Err(Failure::NoSuchKey { key });
    };
    if is_text(output) {
        return output.line(&sized.size.to_string());
    }
    let object = Object::default()
        .bytes("key", &key)
        .field("size", sized.size)
        .field("version", sized.version.0);
    output.object(object)
}
