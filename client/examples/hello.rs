//! Says hello to the deployment that `margate dev` starts: sets, gets, lists, deletes.

use std::process::ExitCode;

use margate_client::{Client, ClientConfig};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match hello().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hello: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn hello() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect(ClientConfig::default()).await?;

    let written = client.set("hello/world", "first light").await?;
    println!("set     hello/world, now at version {}", written.version);

    match client.get("hello/world").await? {
        Some(found) => println!(
            "get     hello/world = {:?}, version {}",
            String::from_utf8_lossy(&found.value),
            found.version
        ),
        None => println!("get     hello/world is gone: somebody else deleted it"),
    }

    let page = client.list_prefix("hello/").limit(10).await?;
    for row in &page.rows {
        let value = row.value.as_deref().unwrap_or_default();
        println!(
            "list    {} = {:?}",
            String::from_utf8_lossy(&row.key),
            String::from_utf8_lossy(value)
        );
    }

    let deleted = client.delete("hello/world").at_version(written.version).await?;
    match deleted.version {
        Some(version) => println!("delete  hello/world, at version {version}"),
        None => println!("delete  nothing: somebody else wrote hello/world in between"),
    }

    client.close().await;
    Ok(())
}
