//! `history`: a deployment is driven and disturbed, and every operation written down.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use margate_client::Client;
use rand::RngExt;
use tokio::task::JoinSet;

use super::{Verdict, scratch};
use crate::addresses::free_addresses;
use crate::error::PerfError;
use crate::history::arguments::HistoryArguments;
use crate::history::disturb::{Disturbances, Plan, disturb};
use crate::history::file::{FORMAT, Header, Writer};
use crate::history::report::HistoryReport;
use crate::history::worker::{Book, Crew, Ends, read_all, work};
use crate::kill::value::Values;
use crate::margate::behind::Behind;
use crate::margate::dev::{self, DevOptions, NODES};
use crate::margate::nodes::Nodes;
use crate::margate::target::config;
use crate::proxy::Proxies;
use crate::proxy::counts::FaultCounts;

/// Numbers of first keys: below the largest number of a key, and far apart.
const FIRST_KEYS: u64 = 1_000_000_000;
const KEYS_APART: u64 = 1_000_000;

/// Records a history. Good if something was recorded and every failure is explained.
///
/// # Errors
/// The deployment cannot be reached, does not start or does not come back, or the file cannot be written.
pub(crate) async fn run(arguments: &HistoryArguments) -> Result<Verdict, PerfError> {
    if !arguments.endpoints.is_empty() {
        return record(arguments, &arguments.endpoints, None).await;
    }
    scratch::within(&arguments.start.scratch, async |folder| in_folder(arguments, folder).await).await
}

async fn in_folder(arguments: &HistoryArguments, folder: &Path) -> Result<Verdict, PerfError> {
    let program = dev::program(arguments.start.margate.clone());
    let data = folder.join("margate");
    if !arguments.proxy {
        let mut nodes = Nodes::start(DevOptions::new(program, data, &arguments.start), None).await?;
        let endpoints = nodes.endpoints();
        return record(arguments, &endpoints, Some((&mut nodes, None))).await;
    }
    let listens = free_addresses(NODES).map_err(PerfError::Proxy)?;
    let named: Vec<_> = (1..).zip(listens.iter().copied()).collect();
    let proxies = Proxies::start(&named, arguments.seed).map_err(PerfError::Proxy)?;
    fs::create_dir_all(&data).map_err(PerfError::file(&data))?;
    let mut nodes = Nodes::start_behind(&Behind {
        program,
        data: &data,
        shards: arguments.start.shards,
        listens: &listens,
        reached: proxies.reached(),
        segment_mib: None,
    })
    .await?;
    record(arguments, proxies.reached(), Some((&mut nodes, Some(&proxies)))).await
}

/// Nodes that can be disturbed, and the proxies before them.
type Ours<'a> = (&'a mut Nodes, Option<&'a Proxies>);

async fn record(arguments: &HistoryArguments, endpoints: &[SocketAddr], ours: Option<Ours<'_>>) -> Result<Verdict, PerfError> {
    let mut clients = Vec::new();
    for _ in 0..arguments.clients {
        clients.push(Client::connect(config(endpoints)).await?);
    }
    let observer = Client::connect(config(endpoints)).await?;
    let crew = Arc::new(crew(arguments)?);
    let mut workers = JoinSet::new();
    for (client, process) in clients.into_iter().zip(1..) {
        let crew = crew.clone();
        workers.spawn(async move { work(&crew, client, process).await });
    }
    let (mut disturbances, mut proxies) = (Disturbances::default(), None);
    if let Some((nodes, before)) = ours {
        proxies = before;
        proxies.into_iter().for_each(Proxies::begin_faults);
        disturbances = disturb(plan(arguments), nodes, &observer, &crew).await?;
    }
    while workers.join_next().await.is_some() {}
    proxies.into_iter().for_each(Proxies::end_faults);
    read_all(&crew, &observer, u64::from(arguments.clients) + 1).await?;
    conclude(arguments, crew, disturbances, proxies.map(Proxies::counts))
}

fn crew(arguments: &HistoryArguments) -> Result<Crew, PerfError> {
    let header = Header {
        format: FORMAT,
        seed: arguments.seed,
        processes: u64::from(arguments.clients) + 1,
        keys: arguments.keys,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(Crew {
        values: Values {
            bytes: arguments.value_bytes,
            seed: arguments.seed,
        },
        keys: arguments.keys,
        first_key: KEYS_APART * rand::rng().random_range(0..FIRST_KEYS),
        began: Instant::now(),
        ends: arguments.operations.map_or(Ends::After(arguments.secs), Ends::AfterOperations),
        begun: AtomicU64::new(0),
        book: Mutex::new(Book::new(Writer::create(&arguments.out, &header)?)),
    })
}

fn plan(arguments: &HistoryArguments) -> Plan {
    Plan {
        kill_every: arguments.kill_every,
        pause_every: arguments.pause_every,
        seed: arguments.seed,
    }
}

fn conclude(
    arguments: &HistoryArguments,
    crew: Arc<Crew>,
    disturbances: Disturbances,
    proxy: Option<FaultCounts>,
) -> Result<Verdict, PerfError> {
    let secs = (crew.began.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    let mut report = HistoryReport {
        operations: 0,
        answered: 0,
        unknown: 0,
        failed: 0,
        errors: 0,
        clients: arguments.clients,
        keys: arguments.keys,
        disturbances,
        proxy,
        secs,
        seed: arguments.seed,
        file: arguments.out.display().to_string(),
    };
    let crew = Arc::into_inner(crew).expect("the workers are gone");
    let book = crew.book.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    report.count(&book);
    if let Some(error) = &book.first_error {
        eprintln!("first failure that no disturbance explains: {error}");
    }
    book.writer.finish()?;
    arguments.printed.output().emit(&report)?;
    Ok(Verdict::of(report.is_clean()))
}
