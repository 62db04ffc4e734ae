//! `margate top`: what a deployment does, as differences of two looks at all its cores.
//!
//! ```text
//!   look, every interval ──► between: rates, latencies ──► screen and view: a terminal, until q
//!                                                    └──► plain: tables or one document, once
//! ```
//! Not here, on purpose: asking the cores (`margate_client`), what they count (`margate_net::measure`).

mod between;
mod plain;
mod screen;
mod view;

use std::io::{self, IsTerminal as _};
use std::time::Instant;

use margate_client::Client;

use self::between::{Between, Look};
use super::status::Overview;
use super::{client_config, prepare, runtime};
use crate::args::{Global, OutputFormat, TopArgs};
use crate::error::Failure;
use crate::exit::Exit;
use crate::output::Output;

pub(crate) fn run(global: &Global, args: &TopArgs) -> Result<Exit, Failure> {
    let live = !args.once && global.output == OutputFormat::Text && io::stdout().is_terminal() && io::stdin().is_terminal();
    if live { screen::run(global, args) } else { once(global, args) }
}

fn once(global: &Global, args: &TopArgs) -> Result<Exit, Failure> {
    prepare(global)?;
    let config = client_config(&global.endpoints, global.timeout)?;
    let between = runtime()?.block_on(async {
        let client = Client::connect(config).await?;
        let before = look(&client).await;
        tokio::time::sleep(args.interval).await;
        let now = look(&client).await;
        client.close().await;
        Ok::<_, Failure>(Between::new(&before, &now))
    })?;
    let mut output = Output::new(global.output);
    plain::print(&mut output, &between)?;
    output.finish()?;
    Ok(Exit::Success)
}

/// One look at all cores.
async fn look(client: &Client) -> Look {
    let replies = client.measures().await;
    let (at, map) = (Instant::now(), client.map().await);
    Look {
        at,
        cluster: map.cluster(),
        shards: map.shards().len(),
        leaderless: Overview::new(&map, &replies).without_leader(),
        replies,
    }
}
