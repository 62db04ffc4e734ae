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

/// Runs until its writer is dropped.
pub(super) async fn run(client: Client, yard: Arc<Yard>) {
    // However this task ends, nobody waits for it afterwards.
    let parting = Parting {
        client: &client,
        yard: &yard,
    };
    let (mut loads, mut wakers) = (Loads::default(), Vec::new());
    let mut asking: Option<Asking> = None;
    loop {
        let Outlook { more, due, wants_map } = parting.yard.turn(&client, &mut loads, &mut wakers);
        if wants_map {
            asking.get_or_insert_with(|| ask_map(&client));
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

struct Parting<'a> {
    client: &'a Client,
    yard: &'a Yard,
}

impl Drop for Parting<'_> {
    fn drop(&mut self) {
        // The next flush would have told it, and there is none.
        let _left = self.yard.abandon(self.client);
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
