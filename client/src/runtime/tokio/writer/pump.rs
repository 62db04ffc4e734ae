//! A batch writer's one task: takes in ends, sends what is ready, waits for the next.
//!
//! Not here, on purpose: decisions (`schedule.rs`), and locks (`yard.rs`).

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use crate::moment::Moment;
use crate::schedule::Loads;

use super::super::Client;
use super::super::clock::Clock;
use super::yard::{Outlook, Yard};

/// The pump's task, which runs until its writer is dropped. However it ends, also before it ran at all, nobody waits for it afterwards.
pub(super) fn run(client: Client, yard: Arc<Yard>) -> impl Future<Output = ()> + Send {
    let parting = Parting { client, yard };
    async move { pump(&parting).await }
}

async fn pump(Parting { client, yard }: &Parting) {
    let (mut loads, mut wakers) = (Loads::default(), Vec::new());
    let mut asking: Option<Asking> = None;
    loop {
        let Outlook { more, due, wants_map } = yard.turn(client, &mut loads, &mut wakers);
        if wants_map {
            asking.get_or_insert_with(|| ask_map(client));
        }
        if more {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = yard.mailbox.bell.notified() => {}
            () = reach(client.clock(), due) => {}
            () = answered(&mut asking) => {
                asking = None;
                yard.map_asked();
            }
        }
    }
}

struct Parting {
    client: Client,
    yard: Arc<Yard>,
}

impl Drop for Parting {
    fn drop(&mut self) {
        self.yard.end_all(&self.client);
    }
}

type Asking = Pin<Box<dyn Future<Output = ()> + Send>>;

fn ask_map(client: &Client) -> Asking {
    let client = client.clone();
    Box::pin(async move {
        let now = client.clock().now();
        client.refresh_map(now).await;
    })
}

async fn answered(asking: &mut Option<Asking>) {
    match asking {
        Some(asking) => asking.await,
        None => pending().await,
    }
}

async fn reach(clock: &Clock, due: Moment) {
    if due == Moment::NEVER {
        pending().await
    } else {
        tokio::time::sleep_until(clock.instant(due)).await;
    }
}
