//! One bad frame on one connection: who says hello, what is sent, what the core says before it hangs up.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use margate_net::codec::decode_welcome;
use margate_net::frame::{FrameKind, Stage, take_frame};
use margate_net::handshake::{Hello, Role};
use margate_net::ids::{ClusterId, Incarnation, NodeId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::frames::{BadFrame, Guise};
use crate::greeting::{client_hello, welcome};

/// Time for a core to hear one frame, answer and hang up; it waits 5 s for a hello.
const HEARD_WITHIN: Duration = Duration::from_secs(10);
/// The timing that nodes compare in their handshake, as `margate dev` sets it.
const TICK_MS: u32 = 40;
const ELECTION_TICKS: u32 = 10;

/// What a core did with a bad frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It answered: the damage had left a meaning.
    Answered,
    /// It closed the connection without a word: there was only part of a frame, or nothing to answer.
    Closed,
    /// It said what is wrong and closed the connection.
    Refused,
    /// It neither answered nor closed within ten seconds.
    Stuck,
    /// It did not even take the hello before the bad frame.
    Unwelcome,
}

/// A core that is told bad frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Victim {
    /// Where.
    pub(crate) address: SocketAddr,
    /// Its deployment.
    pub(crate) cluster: ClusterId,
    /// Its node.
    pub(crate) node: NodeId,
    /// Another node of the deployment.
    pub(crate) other: NodeId,
}

/// The deployment that a core belongs to.
///
/// # Errors
/// It cannot be reached or does not welcome a client.
pub(crate) async fn cluster_of(address: SocketAddr) -> io::Result<ClusterId> {
    let mut stream = TcpStream::connect(address).await?;
    let welcome = welcome(&mut stream, &client_hello()).await?;
    Ok(decode_welcome(&welcome).map_err(io::Error::other)?.cluster)
}

impl Victim {
    /// Tells it a bad frame.
    ///
    /// # Errors
    /// It does not take connections.
    pub(crate) async fn tell(&self, bad: &BadFrame) -> io::Result<Heard> {
        let stream = TcpStream::connect(self.address).await?;
        Ok(timeout(HEARD_WITHIN, self.talk(stream, bad)).await.unwrap_or(Heard::Stuck))
    }

    async fn talk(&self, mut stream: TcpStream, bad: &BadFrame) -> Heard {
        if let Some(hello) = self.hello(bad.guise)
            && welcome(&mut stream, &hello).await.is_err()
        {
            return Heard::Unwelcome;
        }
        // What fails from here on is a connection that the core has closed: its last words may wait to be read.
        let _ = stream.write_all(&bad.bytes).await;
        let _ = stream.shutdown().await;
        let mut said = BytesMut::new();
        while matches!(stream.read_buf(&mut said).await, Ok(bytes) if bytes > 0) {}
        last_words(said)
    }

    fn hello(&self, guise: Guise) -> Option<Hello> {
        match guise {
            Guise::Stranger => None,
            Guise::Client => Some(client_hello()),
            Guise::Peer => Some(Hello {
                role: Role::Peer,
                cluster: self.cluster,
                node: self.other,
                to_node: self.node,
                incarnation: Incarnation(1),
                tick_ms: TICK_MS,
                election_ticks: ELECTION_TICKS,
                ..client_hello()
            }),
        }
    }
}

fn last_words(mut said: BytesMut) -> Heard {
    let mut heard = Heard::Closed;
    while let Ok(Some(frame)) = take_frame(&mut said, Stage::Established) {
        if frame.kind == FrameKind::Goodbye {
            return Heard::Refused;
        }
        heard = Heard::Answered;
    }
    heard
}
