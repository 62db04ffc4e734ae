//! The commands, one file each.
//!
//! [`run`] starts one and turns its failure into a message and an exit code. The commands that talk to a
//! deployment are asynchronous and share one client on one thread; `node`, `dev` and `top` run until stopped; `inspect` and
//! `check` look at a disk and at this machine.

mod cas;
pub(crate) mod check;
mod cores;
mod delete;
pub(crate) mod dev;
mod get;
pub(crate) mod inspect;
mod list;
mod node;
mod set;
mod size;
mod spans;
mod status;
mod top;
mod written;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use margate_client::{Client, ClientConfig};

use crate::args::{Args, Ask, Command, Global, LogFormat, LogLevel, OutputFormat};
use crate::error::Failure;
use crate::exit::Exit;
use crate::output::{Output, complain};
use crate::{log, signals};

/// Carries out one command line.
pub(crate) fn run(args: Args) -> Exit {
    let format = args.global.output;
    match dispatch(args) {
        Ok(exit) => exit,
        Err(failure) if failure.is_closed_pipe() => Exit::Success,
        Err(failure) => {
            complain(format, &failure);
            failure.exit()
        }
    }
}

fn dispatch(args: Args) -> Result<Exit, Failure> {
    let Args { global, command } = args;
    match command {
        Command::Dev(dev) => dev::run(&global, &dev),
        Command::Node(node) => node::run(&global, *node).map(|()| Exit::Success),
        Command::Inspect(inspect) => inspect::run(&global, &inspect).map(|()| Exit::Success),
        Command::Check(check) => check::run(&global, &check).map(|()| Exit::Success),
        Command::Top(top) => top::run(&global, &top),
        Command::Ask(ask) => talk(&global, ask).map(|()| Exit::Success),
    }
}

/// The commands that talk to a deployment.
fn talk(global: &Global, ask: Ask) -> Result<(), Failure> {
    prepare(global)?;
    let config = client_config(&global.endpoints, global.timeout)?;
    let runtime = runtime()?;
    let mut output = Output::new(global.output);
    let done = runtime.block_on(async {
        let client = Client::connect(config).await?;
        let answered = answer(&client, &mut output, ask).await;
        client.close().await;
        answered
    });
    // What a failing command had to print (a status, the first rows of a list) is printed too.
    output.finish().and(done)
}

/// What every command that answers and ends does first.
fn prepare(global: &Global) -> Result<(), Failure> {
    log::install(
        global.log_level.unwrap_or(LogLevel::Warn),
        global.log_format.unwrap_or(LogFormat::Text),
        None,
    );
    signals::end_on_interrupt().map_err(|source| Failure::System {
        action: "catch ctrl-c",
        source,
    })
}

async fn answer(client: &Client, output: &mut Output, ask: Ask) -> Result<(), Failure> {
    match ask {
        Ask::Set(args) => set::run(client, output, args).await,
        Ask::Get(args) => get::run(client, output, args).await,
        Ask::Delete(args) => delete::run(client, output, args).await,
        Ask::Cas(args) => cas::run(client, output, args).await,
        Ask::Size(args) => size::run(client, output, args).await,
        Ask::List(args) => list::run(client, output, &args).await,
        Ask::Status(args) => status::run(client, output, &args).await,
    }
}

/// One thread is enough for one operation at a time.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System {
            action: "start the client",
            source,
        })
}

fn client_config(endpoints: &[String], timeout: Duration) -> Result<ClientConfig, Failure> {
    let mut config = ClientConfig {
        timeout,
        ..ClientConfig::default()
    };
    config.connect_timeout = config.connect_timeout.min(timeout);
    if !endpoints.is_empty() {
        config.endpoints = resolve(endpoints)?;
    }
    Ok(config)
}

fn resolve(endpoints: &[String]) -> Result<Vec<SocketAddr>, Failure> {
    let mut addresses = Vec::new();
    for endpoint in endpoints {
        let found = endpoint.trim().to_socket_addrs().map_err(|source| Failure::Endpoint {
            endpoint: endpoint.clone(),
            source,
        })?;
        addresses.extend(found);
    }
    Ok(addresses)
}

/// Whether results are for people.
fn is_text(output: &Output) -> bool {
    output.format() == OutputFormat::Text
}
