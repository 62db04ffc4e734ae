//! `hostile`: a deployment is told bad frames, and nobody else may notice.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use margate_client::Client;
use margate_net::ids::NodeId;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Verdict, scratch};
use crate::error::PerfError;
use crate::hostile::arguments::HostileArguments;
use crate::hostile::frames::bad_frame;
use crate::hostile::report::HostileReport;
use crate::hostile::sender::{Victim, cluster_of};
use crate::margate::dev::{self, DevOptions};
use crate::margate::nodes::Nodes;
use crate::margate::target::config;
use crate::proc::memory::anonymous_kib;

/// Time between two operations of the client that behaves.
const BYSTANDER_PAUSE: Duration = Duration::from_millis(5);
/// Its keys.
const BYSTANDER_KEYS: u64 = 64;

/// Tells as many bad frames as asked. Good if every connection ended and nobody else noticed.
///
/// # Errors
/// The deployment does not start or cannot be reached.
pub(crate) async fn run(arguments: &HostileArguments) -> Result<Verdict, PerfError> {
    scratch::within(&arguments.start.scratch, async |folder| in_folder(arguments, folder).await).await
}

async fn in_folder(arguments: &HostileArguments, folder: &Path) -> Result<Verdict, PerfError> {
    let program = dev::program(arguments.start.margate.clone());
    let data = folder.join("margate");
    let nodes = Nodes::start(DevOptions::new(program, data, &arguments.start), None).await?;
    let victims = victims(&nodes.endpoints()).await?;
    let client = Client::connect(config(&nodes.endpoints())).await?;
    let book = Book::default();
    tokio::select! {
        told = tell_all(arguments, &nodes, &victims, &book) => told?,
        () = stand_by(&client, &book) => {}
    }
    let mut report = book.report().clone();
    report.seed = arguments.seed;
    report.ended = u64::from(nodes.check_all().is_err());
    arguments.printed.output().emit(&report)?;
    Ok(Verdict::of(report.is_well(u64::from(arguments.growth_max_mib) * 1024)))
}

/// The report while it is written, by all who write it.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<HostileReport>>);

impl Book {
    fn report(&self) -> MutexGuard<'_, HostileReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The nodes, each with another one whose name can be borrowed.
async fn victims(endpoints: &[SocketAddr]) -> Result<Vec<Victim>, PerfError> {
    let cluster = cluster_of(endpoints[0]).await.map_err(PerfError::Victim)?;
    let id = |position: usize| NodeId((position % endpoints.len()) as u64 + 1);
    let victim = |(position, address): (usize, &SocketAddr)| Victim {
        address: *address,
        cluster,
        node: id(position),
        other: id(position + 1),
    };
    Ok(endpoints.iter().enumerate().map(victim).collect())
}

/// All frames, as many at a time as there may be connections; memory is looked at after a tenth of them and at the end.
async fn tell_all(arguments: &HostileArguments, nodes: &Nodes, victims: &[Victim], book: &Book) -> Result<(), PerfError> {
    let tenth = arguments.frames / 10;
    tell(arguments, victims, 0..tenth, book).await?;
    book.report().memory_before_kib = memory(nodes);
    tell(arguments, victims, tenth..arguments.frames, book).await?;
    book.report().memory_after_kib = memory(nodes);
    Ok(())
}

async fn tell(arguments: &HostileArguments, victims: &[Victim], numbers: Range<u64>, book: &Book) -> Result<(), PerfError> {
    let next = Arc::new(AtomicU64::new(numbers.start));
    let mut tellers = JoinSet::new();
    for connection in 0..arguments.connections {
        let (next, victims, book, seed) = (next.clone(), victims.to_vec(), book.clone(), arguments.seed);
        tellers.spawn(async move {
            let left = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|next| *next < numbers.end);
            for (number, victim) in left.zip(victims.iter().cycle().skip(usize::from(connection))) {
                let heard = victim.tell(&bad_frame(seed, number)).await?;
                book.report().count(heard);
            }
            Ok(())
        });
    }
    while let Some(told) = tellers.join_next().await {
        told.expect("a teller does not panic").map_err(PerfError::Victim)?;
    }
    Ok(())
}

/// A client that behaves: writes its keys once, then reads them back, for ever.
async fn stand_by(client: &Client, book: &Book) {
    for number in 0_u64.. {
        let key = Bytes::from(format!("bystander-{:02}", number % BYSTANDER_KEYS));
        let written = match number < BYSTANDER_KEYS {
            true => client.set(key.clone(), key.clone()).await.map(drop),
            false => Ok(()),
        };
        let read = match written {
            Ok(()) => client.get(key.clone()).await,
            Err(error) => Err(error),
        };
        book.report()
            .count_bystander(read.map(|found| found.is_some_and(|found| found.value == key)));
        sleep(BYSTANDER_PAUSE).await;
    }
}

fn memory(nodes: &Nodes) -> Vec<u64> {
    nodes.pids().filter_map(anonymous_kib).collect()
}
