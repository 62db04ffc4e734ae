//! Bytes on their way, under a link's condition.
//!
//! A piece that is held keeps its sender waiting, as a full socket does: at most one piece per direction is in memory.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::sleep;

use super::condition::{Condition, Direction, Link};
use super::counts::{Counts, count};

/// Bytes of a piece, at most.
const PIECE_BYTES: usize = 64 << 10;

/// The two sockets of a connection.
pub(super) struct Ends {
    /// The side that dialled.
    pub(super) outer: TcpStream,
    /// The node.
    pub(super) inner: TcpStream,
}

/// Carries one connection until a side closes it, it fails, or the link drops it. `first` goes before all else.
pub(super) async fn run(mut ends: Ends, first: Vec<u8>, link: &Link, counts: &Counts) {
    let mut condition = link.condition.subscribe();
    let since = condition.borrow().closed;
    let (outer_read, outer_write) = ends.outer.split();
    let (inner_read, inner_write) = ends.inner.split();
    let forth = Way::new(Direction::Forth, link, counts);
    let back = Way::new(Direction::Back, link, counts);
    tokio::select! {
        _ = forth.carry(first, outer_read, inner_write) => {}
        _ = back.carry(Vec::new(), inner_read, outer_write) => {}
        _ = condition.wait_for(|condition| condition.closed > since) => count(&counts.closed),
    }
}

/// One direction of a connection.
struct Way<'a> {
    direction: Direction,
    link: &'a Link,
    condition: watch::Receiver<Condition>,
    counts: &'a Counts,
}

impl<'a> Way<'a> {
    fn new(direction: Direction, link: &'a Link, counts: &'a Counts) -> Self {
        Self {
            direction,
            link,
            condition: link.condition.subscribe(),
            counts,
        }
    }

    async fn carry(mut self, first: Vec<u8>, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut piece = first;
        loop {
            if !piece.is_empty() {
                self.wait().await;
                self.flip(&mut piece);
                to.write_all(&piece).await?;
            }
            piece.resize(PIECE_BYTES, 0);
            let length = from.read(&mut piece).await?;
            if length == 0 {
                return Ok(());
            }
            piece.truncate(length);
        }
    }

    /// Waits as long as a slow link takes, then until bytes may pass.
    async fn wait(&mut self) {
        let delay = self.condition.borrow().delay;
        if delay > Duration::ZERO {
            sleep(delay).await;
        }
        let direction = self.direction;
        // The link outlives its connections, so the wait cannot fail.
        let _ = self.condition.wait_for(|condition| !condition.holds(direction)).await;
    }

    fn flip(&self, piece: &mut [u8]) {
        let Some(drawn) = self.link.take_flip(self.direction) else {
            return;
        };
        let [bits, ..] = drawn.to_le_bytes();
        let at = usize::try_from(drawn >> u8::BITS).unwrap_or(0) % piece.len().max(1);
        if let Some(byte) = piece.get_mut(at) {
            *byte ^= bits.max(1);
            count(&self.counts.flips);
        }
    }
}
