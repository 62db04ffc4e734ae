//! Making connections, and asking one question on a connection of its own.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::BytesMut;
use margate_net::codec::{FrameWriter, decode_goodbye, decode_map_reply, decode_status_reply, decode_welcome};
use margate_net::frame::{Frame, FrameKind, Stage, missing, take_frame};
use margate_net::handshake::{Hello, Role};
use margate_net::ids::{ClusterId, CoreId, NodeId};
use margate_net::limits::READ_BYTES;
use margate_net::map::Map;
use margate_net::message::{CoreStatus, StatusDetail};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::error::LinkFault;

use super::clock::{Clock, Dice};

/// What every connection of one client is made with.
pub(super) struct Dialer {
    pub(super) clock: Clock,
    pub(super) dice: Dice,
    /// Where drivers run: the runtime the client was connected in.
    pub(super) runtime: Handle,
    connect_timeout: Duration,
    /// Set as soon as the deployment is known; never changes after.
    cluster: OnceLock<ClusterId>,
}

/// A connection whose handshake is done.
pub(super) struct Conversation {
    pub(super) stream: TcpStream,
    pub(super) incoming: Incoming,
}

/// Bytes that came and are not yet a whole frame.
pub(super) struct Incoming {
    buffer: BytesMut,
}

/// The core a dialler means to reach.
#[derive(Clone, Copy)]
pub(super) enum Reach {
    /// Whatever core listens there.
    Any,
    /// This one and no other.
    Core(NodeId, CoreId),
}

impl Dialer {
    /// For use inside a tokio runtime.
    pub(super) fn new(connect_timeout: Duration, cluster: ClusterId) -> Self {
        let known = OnceLock::new();
        if cluster != ClusterId::UNKNOWN {
            known.get_or_init(|| cluster);
        }
        Self {
            clock: Clock::start(),
            dice: Dice::new(),
            runtime: Handle::current(),
            connect_timeout,
            cluster: known,
        }
    }

    /// From now on only cores of this deployment are talked to; the first call wins.
    pub(super) fn settle_cluster(&self, cluster: ClusterId) {
        self.cluster.get_or_init(|| cluster);
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    /// [`LinkFault`] says what went wrong; nothing of any operation was sent.
    pub(super) async fn dial(&self, address: SocketAddr, role: Role, reach: Reach) -> Result<Conversation, LinkFault> {
        let dialling = self.connect(address, role, reach);
        let timeout = LinkFault::ConnectTimeout(self.connect_timeout);
        tokio::time::timeout(self.connect_timeout, dialling).await.unwrap_or(Err(timeout))
    }

    /// The map, as the core there knows it.
    ///
    /// # Errors
    /// [`LinkFault`] if there is no answer that is one.
    pub(super) async fn ask_map(&self, address: SocketAddr) -> Result<Map, LinkFault> {
        let frame = self
            .ask(address, Role::Client, Reach::Any, |writer, out| writer.map_request(out, 1))
            .await?;
        let map = decode_map_reply(&frame)?;
        self.check_cluster(map.cluster())?;
        Ok(map)
    }

    /// How that core is.
    ///
    /// # Errors
    /// [`LinkFault`] if there is no answer that is one.
    pub(super) async fn ask_status(
        &self,
        address: SocketAddr,
        (node, core): (NodeId, CoreId),
        detail: StatusDetail,
    ) -> Result<CoreStatus, LinkFault> {
        let reach = Reach::Core(node, core);
        let frame = self
            .ask(address, Role::Client, reach, |writer, out| writer.status_request(out, 1, detail))
            .await?;
        Ok(decode_status_reply(&frame)?)
    }

    /// One question on its own connection, so that it waits behind no operation.
    async fn ask(
        &self,
        address: SocketAddr,
        role: Role,
        reach: Reach,
        question: impl FnOnce(&mut FrameWriter, &mut Vec<u8>),
    ) -> Result<Frame, LinkFault> {
        let asking = async {
            let mut conversation = self.connect(address, role, reach).await?;
            let mut out = Vec::new();
            question(&mut FrameWriter::new(), &mut out);
            conversation.stream.write_all(&out).await.map_err(io_fault)?;
            conversation.incoming.next(&mut conversation.stream, Stage::Established).await
        };
        let timeout = LinkFault::ConnectTimeout(self.connect_timeout);
        tokio::time::timeout(self.connect_timeout, asking).await.unwrap_or(Err(timeout))
    }

    async fn connect(&self, address: SocketAddr, role: Role, reach: Reach) -> Result<Conversation, LinkFault> {
        let mut stream = TcpStream::connect(address)
            .await
            .map_err(|error| LinkFault::Connect(error.kind()))?;
        // Batches are made here, by what is queued; the kernel need not wait for more.
        stream.set_nodelay(true).map_err(io_fault)?;
        let mut out = Vec::new();
        FrameWriter::new().hello(&mut out, &self.hello(role, reach));
        stream.write_all(&out).await.map_err(io_fault)?;
        let mut incoming = Incoming { buffer: BytesMut::new() };
        let frame = incoming.next(&mut stream, Stage::Handshake).await?;
        let welcome = decode_welcome(&frame)?;
        self.check_cluster(welcome.cluster)?;
        Ok(Conversation { stream, incoming })
    }

    fn hello(&self, role: Role, reach: Reach) -> Hello {
        let (to_node, to_core) = match reach {
            Reach::Any => (NodeId(0), CoreId(0)),
            Reach::Core(node, core) => (node, core),
        };
        Hello {
            to_node,
            to_core,
            ..Hello::of_guest(role, self.cluster.get().copied().unwrap_or(ClusterId::UNKNOWN))
        }
    }

    fn check_cluster(&self, theirs: ClusterId) -> Result<(), LinkFault> {
        match self.cluster.get() {
            Some(ours) if *ours != theirs => Err(LinkFault::ForeignCluster { theirs, ours: *ours }),
            Some(_) | None => Ok(()),
        }
    }
}

impl Incoming {
    /// The next frame that is here as a whole. A goodbye is an end, not a frame.
    ///
    /// # Errors
    /// [`LinkFault`] for bytes that cannot become a frame, and for a goodbye.
    pub(super) fn take(&mut self, stage: Stage) -> Result<Option<Frame>, LinkFault> {
        let Some(frame) = take_frame(&mut self.buffer, stage)? else {
            return Ok(None);
        };
        if frame.kind == FrameKind::Goodbye {
            return Err(LinkFault::Goodbye(decode_goodbye(&frame)?));
        }
        Ok(Some(frame))
    }

    /// Reads what the socket holds, at least a byte.
    ///
    /// # Errors
    /// [`LinkFault::Hangup`] at the end of the stream, [`LinkFault::Io`] if it breaks.
    pub(super) async fn read(&mut self, source: &mut (impl AsyncRead + Unpin), stage: Stage) -> Result<(), LinkFault> {
        self.buffer.reserve(missing(&self.buffer, stage).max(READ_BYTES));
        match source.read_buf(&mut self.buffer).await {
            Ok(0) => Err(LinkFault::Hangup),
            Ok(_) => Ok(()),
            Err(error) => Err(io_fault(error)),
        }
    }

    async fn next(&mut self, source: &mut (impl AsyncRead + Unpin), stage: Stage) -> Result<Frame, LinkFault> {
        loop {
            if let Some(frame) = self.take(stage)? {
                return Ok(frame);
            }
            self.read(source, stage).await?;
        }
    }
}

/// Only the kind is kept: it can be compared and copied, and says enough.
pub(super) fn io_fault(error: std::io::Error) -> LinkFault {
    LinkFault::Io(error.kind())
}
