//! Connections accepted by a core: clients, peers, administration.
//!
//! A reader task per connection turns frames into events; a writer task per client connection sends whatever
//! replies have gathered since its last write. A client with too much under way is not read from until it has
//! taken replies: that is the back-pressure.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use margate_net::codec::{self, CreateAnswer, FrameWriter, ProbeAnswer};
use margate_net::error::{Queue, Refusal};
use margate_net::frame::{Frame, FrameError, FrameKind};
use margate_net::handshake::{Goodbye, Hello, Identity as Greeting, Role};
use margate_net::map::Map;
use margate_net::measure::{Measures, Number, Times, Traffic};
use margate_net::message::{CoreStatus, Reply, StatusDetail, Success};
use margate_net::runtime::connection::{Closer, Connection, FrameReader, FrameSender, greet};
use margate_net::runtime::error::{BindError, GreetError, ReadError};
use margate_net::runtime::executor::{sleep, spawn_local};
use margate_net::runtime::listener::{Incoming, Listener};

use super::clock;
use super::core_loop::Shared;
use super::index_reader::HeedReader;
use super::links::{Lane, Link};
use super::notify::Notify;
use super::replied::Waiting;
use crate::bootstrap::identity::{Creation, Identity};
use crate::bootstrap::machine::answer_create;
use crate::core::event::{Event, PeerName};
use crate::core::machine::Core;
use crate::limits::BUSY_RETRY_MS;
use crate::shard::answer::{Asked, ConnectionId, tells};
use crate::types::Nanos;

/// Clients' connections a core accepts; with those of peers they fit 1,024 descriptors for three cores.
pub const CONNECTIONS_MAX: u32 = 192;
/// Operations one connection may have under way before it is not read from any more.
const IN_FLIGHT_MAX: usize = 8_192;
/// Bytes of replies waiting for one client beyond which its reads are answered `Busy` instead.
const REPLY_BYTES_MAX: usize = 32 << 20;
/// Bytes of replies beyond which it is cut off: it asks and does not listen.
const REPLY_BYTES_CUT: usize = 2 * REPLY_BYTES_MAX;
/// Bytes of events a core holds before its connections are read from again.
const INBOX_BYTES_MAX: usize = 64 << 20;
/// Milliseconds between looks whether there is room again.
const INBOX_LOOK_MS: u64 = 1;
/// Milliseconds in which a port may still become free.
const PORT_WAIT_MS: u64 = 1_000;
/// Milliseconds a stopping core gives its last replies to leave.
const LAST_REPLIES_MS: u64 = 200;

/// A client's side of a connection.
struct Outbox {
    replies: RefCell<Vec<Reply>>,
    /// Since when they wait.
    waiting: RefCell<Waiting>,
    /// Frames that are not replies to operations, already encoded.
    frames: RefCell<Vec<u8>>,
    under_way: Cell<usize>,
    waiting_bytes: Cell<usize>,
    more: Notify,
    room: Notify,
    closed: Cell<bool>,
    closer: Closer,
}

/// The client connections of a core.
#[derive(Default)]
pub struct Clients {
    open: RefCell<BTreeMap<ConnectionId, Rc<Outbox>>>,
    dirty: RefCell<BTreeSet<ConnectionId>>,
    last: Cell<u64>,
    counts: Counts,
    /// How long answers took.
    times: RefCell<Times>,
}

/// What a core counts of its sockets.
#[derive(Default)]
struct Counts {
    request_frames: Cell<u64>,
    request_bytes: Cell<u64>,
    reply_writes: Cell<u64>,
    reply_bytes: Cell<u64>,
    /// Frames and bytes that came from each peer's core.
    heard: RefCell<BTreeMap<PeerName, (u64, u64)>>,
}

/// What the connections of a core answer with beside operations.
pub struct Server {
    /// Shared with the core's loop.
    pub shared: Rc<Shared>,
    /// The machine, for its status.
    pub core: Rc<RefCell<Core<HeedReader>>>,
    /// The client connections.
    pub clients: Rc<Clients>,
    /// Connections to peers.
    pub links: BTreeMap<(PeerName, Lane), Rc<Link>>,
    /// Who this core is in handshakes.
    pub greeting: Greeting,
    /// The map.
    pub map: Map,
    /// The data directory's identity.
    pub identity: Identity,
    /// When the node started.
    pub started: Nanos,
}

impl Clients {
    /// Queues a reply that is ready `now`; one for a connection that is gone is dropped.
    pub fn reply(&self, connection: ConnectionId, mut reply: Reply, (asked, now): (Option<Asked>, Nanos)) {
        if let Some(outbox) = self.open.borrow().get(&connection) {
            if outbox.waiting_bytes.get() > REPLY_BYTES_MAX && is_read(&reply) {
                reply.outcome = Err(Refusal::Busy {
                    queue: Queue::Reads,
                    retry_after_ms: BUSY_RETRY_MS,
                });
            }
            outbox.under_way.set(outbox.under_way.get().saturating_sub(1));
            if outbox.waiting_bytes.get() > REPLY_BYTES_CUT {
                return outbox.give_up();
            }
            outbox.waiting_bytes.set(outbox.waiting_bytes.get() + reply_bytes(&reply));
            if let Some(asked) = asked {
                outbox.waiting.borrow_mut().push(asked, now, tells(&reply.outcome));
            }
            outbox.replies.borrow_mut().push(reply);
            self.dirty.borrow_mut().insert(connection);
        }
    }

    /// Wakes the writers of connections that got replies.
    pub fn wake_writers(&self) {
        let open = self.open.borrow();
        for connection in std::mem::take(&mut *self.dirty.borrow_mut()) {
            if let Some(outbox) = open.get(&connection) {
                outbox.more.notify();
                outbox.room.notify();
            }
        }
    }

    /// Waits, for a bounded time, until no replies wait.
    pub async fn flush_replies(&self) {
        self.wake_writers();
        for _ in 0..LAST_REPLIES_MS / 10 {
            sleep(Duration::from_millis(10)).await;
            if self.open.borrow().values().all(|outbox| outbox.waiting_bytes.get() == 0) {
                return;
            }
        }
    }

    fn add(&self, closer: Closer) -> (ConnectionId, Rc<Outbox>) {
        self.last.set(self.last.get() + 1);
        let id = ConnectionId(self.last.get());
        let outbox = Rc::new(Outbox {
            replies: RefCell::default(),
            waiting: RefCell::default(),
            frames: RefCell::default(),
            under_way: Cell::default(),
            waiting_bytes: Cell::default(),
            more: Notify::default(),
            room: Notify::default(),
            closed: Cell::default(),
            closer,
        });
        self.open.borrow_mut().insert(id, Rc::clone(&outbox));
        (id, outbox)
    }

    /// Answers were written to a socket, so many bytes with one call.
    fn wrote(&self, waiting: &Waiting, bytes: usize) {
        add(&self.counts.reply_writes, 1);
        add(&self.counts.reply_bytes, bytes);
        waiting.written(clock::monotonic(), &mut self.times.borrow_mut());
    }

    /// Adds what is known of sockets to what their core has measured.
    fn add_to(&self, measures: &mut Measures) {
        measures.times.add(&self.times.borrow());
        let numbers = [
            (Number::ConnectionsAccepted, self.last.get()),
            (Number::RequestFrames, self.counts.request_frames.get()),
            (Number::RequestBytes, self.counts.request_bytes.get()),
            (Number::ReplyWrites, self.counts.reply_writes.get()),
            (Number::ReplyBytes, self.counts.reply_bytes.get()),
            (Number::Connections, self.open.borrow().len() as u64),
        ];
        numbers.into_iter().for_each(|(number, value)| measures.numbers.set(number, value));
    }

    fn remove(&self, id: ConnectionId) {
        if let Some(outbox) = self.open.borrow_mut().remove(&id) {
            outbox.closed.set(true);
            outbox.more.notify();
            outbox.room.notify();
        }
    }
}

/// Listens on a core's address. A process that has just died, or an executor that has just ended, keeps its port for
/// some milliseconds, since the kernel takes rings with open sockets apart in the background: that is waited out.
///
/// # Errors
/// [`BindError`] says what to change.
pub async fn listen(address: SocketAddr) -> Result<Listener, BindError> {
    let give_up = clock::monotonic().plus(Nanos::from_millis(PORT_WAIT_MS));
    loop {
        match Listener::bind(address, CONNECTIONS_MAX) {
            Err(BindError::InUse { .. }) if clock::monotonic() < give_up => sleep(Duration::from_millis(10)).await,
            bound => return bound,
        }
    }
}

/// Accepts connections for as long as the executor runs.
pub async fn accept(listener: Listener, server: Rc<Server>) {
    loop {
        let incoming = listener.accept().await;
        let server = Rc::clone(&server);
        spawn_local(async move { serve(incoming, server).await }).detach();
    }
}

async fn serve(incoming: Incoming, server: Rc<Server>) {
    let (connection, hello) = match greet(incoming, &server.greeting).await {
        Ok(greeted) => greeted,
        Err(GreetError::Refused(refusal)) => return tracing::warn!(%refusal, "a connection was refused"),
        Err(GreetError::Read(error)) => return tracing::debug!(%error, "a connection said no hello"),
    };
    match hello.role {
        Role::Peer => serve_peer(connection, &hello, &server).await,
        Role::Client | Role::Admin => serve_client(connection, hello.role, &server).await,
    }
}

async fn serve_peer(mut connection: Connection, hello: &Hello, server: &Server) {
    let ended = read_peer(&mut connection.reader, hello, server).await;
    let ReadError::Frame(error) = ended else {
        return tracing::debug!(node = hello.node.0, error = %ended, "a peer's connection ended");
    };
    tracing::warn!(node = hello.node.0, %error, "a peer sent nonsense; its connection is closed");
    connection.farewell(&Goodbye::Frame(error)).await;
}

async fn read_peer(reader: &mut FrameReader, hello: &Hello, server: &Server) -> ReadError {
    let from = PeerName {
        node: hello.node,
        core: hello.core,
    };
    let mut frames = Vec::new();
    loop {
        let result = reader.read_frames(&mut frames).await;
        for frame in frames.drain(..) {
            let frame_bytes = frame.body.len() + frame.payload.len();
            server.clients.counts.heard(from, frame_bytes);
            match heard(&frame, from, hello) {
                Ok(event) => server.shared.push_sized(event, frame_bytes),
                Err(error) => return error.into(),
            }
        }
        if let Err(error) = result {
            return error;
        }
        room_in_inbox(&server.shared).await;
    }
}

/// What a peer's frame says.
fn heard(frame: &Frame, from: PeerName, hello: &Hello) -> Result<Event, FrameError> {
    hello.role.check_frame(frame.kind)?;
    if frame.kind == FrameKind::Member {
        let message = codec::decode_member(frame)?;
        return Ok(Event::Member { from, message });
    }
    let batch = codec::decode_peer(frame)?;
    Ok(Event::Peer {
        from,
        incarnation: hello.incarnation,
        batch,
    })
}

async fn serve_client(connection: Connection, role: Role, server: &Rc<Server>) {
    let Connection { mut reader, sender } = connection;
    let (id, outbox) = server.clients.add(sender.closer());
    let writing = spawn_local(write_replies(sender, Rc::clone(&outbox), Rc::clone(&server.clients)));
    let ended = read_requests(&mut reader, role, id, &outbox, server).await;
    tracing::debug!(%ended, "a client's connection ends");
    let goodbye = ended.goodbye();
    if goodbye.is_none() {
        // Nobody is there to read the rest; a writer that waits for the other side ends with this.
        outbox.give_up();
    }
    server.clients.remove(id);
    let sender = writing.await;
    let (Some(goodbye), Some(mut sender)) = (goodbye, sender) else {
        return;
    };
    // Tells the client what was wrong with its bytes, while it can still hear it.
    if sender.goodbye(&goodbye).await.is_ok() {
        reader.drain().await;
    }
}

async fn read_requests(reader: &mut FrameReader, role: Role, id: ConnectionId, outbox: &Outbox, server: &Server) -> ReadError {
    let mut frames = Vec::new();
    loop {
        let result = reader.read_frames(&mut frames).await;
        let received = clock::monotonic();
        for frame in frames.drain(..) {
            // One read may hold many small questions with large answers.
            while outbox.is_full() && !outbox.closed.get() {
                outbox.room.wait().await;
            }
            let taken = role
                .check_frame(frame.kind)
                .and_then(|()| take(&frame, (id, received), outbox, server));
            if let Err(error) = taken {
                tracing::warn!(%error, "a client sent nonsense; its connection is closed");
                return error.into();
            }
        }
        if let Err(error) = result {
            return error;
        }
        room_in_inbox(&server.shared).await;
        if outbox.closed.get() {
            return ReadError::Closed;
        }
    }
}

fn take(frame: &Frame, (id, received): (ConnectionId, Nanos), outbox: &Outbox, server: &Server) -> Result<(), FrameError> {
    match frame.kind {
        FrameKind::Request => {
            let requests = codec::decode_requests(frame)?;
            let frame_bytes = frame.body.len() + frame.payload.len();
            outbox.under_way.set(outbox.under_way.get() + requests.len());
            add(&server.clients.counts.request_frames, 1);
            add(&server.clients.counts.request_bytes, frame_bytes);
            let event = Event::Requests {
                connection: id,
                received,
                requests,
            };
            server.shared.push_sized(event, frame_bytes);
            return Ok(());
        }
        FrameKind::MapRequest => {
            codec::decode_map_request(frame)?;
            outbox.encode(|writer, out| writer.map_reply(out, frame.request_id, &server.map));
        }
        FrameKind::StatusRequest => {
            let status = server.status(codec::decode_status_request(frame)?);
            outbox.encode(|writer, out| writer.status_reply(out, frame.request_id, &status));
        }
        FrameKind::Probe => {
            codec::decode_probe(frame)?;
            outbox.encode(|writer, out| writer.probe_reply(out, frame.request_id, &server.probe_answer()));
        }
        FrameKind::Create => {
            let create = codec::decode_create(frame)?;
            let creation = Creation {
                directories: create.directories,
                map: create.map,
            };
            // A member's identity always answers: it is not empty.
            let answer = answer_create(&server.identity, &creation).unwrap_or(CreateAnswer::Accepted);
            outbox.encode(|writer, out| writer.create_reply(out, frame.request_id, &answer));
        }
        FrameKind::Hello
        | FrameKind::Welcome
        | FrameKind::Goodbye
        | FrameKind::Reply
        | FrameKind::Peer
        | FrameKind::Member
        | FrameKind::MapReply
        | FrameKind::StatusReply
        | FrameKind::ProbeReply
        | FrameKind::CreateReply => {
            return Err(FrameError::UnexpectedKind {
                found: frame.kind,
                expected: FrameKind::Request,
            });
        }
    }
    outbox.more.notify();
    Ok(())
}

/// Writes whatever has gathered, until the connection is closed or broken; gives the sender back if it still works.
async fn write_replies(mut sender: FrameSender, outbox: Rc<Outbox>, clients: Rc<Clients>) -> Option<FrameSender> {
    let mut writer = FrameWriter::new();
    let mut out = Vec::new();
    loop {
        outbox.more.wait().await;
        let replies = std::mem::take(&mut *outbox.replies.borrow_mut());
        let waiting = std::mem::take(&mut *outbox.waiting.borrow_mut());
        out.append(&mut outbox.frames.borrow_mut());
        writer.replies(&mut out, &replies);
        if !out.is_empty() && sender.write_all(&out).await.is_err() {
            outbox.give_up();
            return None;
        }
        clients.wrote(&waiting, out.len());
        out.clear();
        out.shrink_to(1 << 20);
        let written: usize = replies.iter().map(reply_bytes).sum();
        outbox.waiting_bytes.set(outbox.waiting_bytes.get().saturating_sub(written));
        outbox.room.notify();
        if outbox.closed.get() {
            return Some(sender);
        }
    }
}

impl Outbox {
    fn encode(&self, encode: impl FnOnce(&mut FrameWriter, &mut Vec<u8>)) {
        encode(&mut FrameWriter::new(), &mut self.frames.borrow_mut());
    }

    /// Whether its client must take replies before it is read from again.
    fn is_full(&self) -> bool {
        let waiting = self.waiting_bytes.get() + self.frames.borrow().len();
        self.under_way.get() >= IN_FLIGHT_MAX || waiting > REPLY_BYTES_MAX
    }

    /// Closes the connection: what is still said on it is said to nobody.
    fn give_up(&self) {
        if !self.closed.replace(true) {
            let bytes = self.waiting_bytes.get();
            tracing::debug!(bytes, "a client's connection is closed with replies waiting");
        }
        self.replies.borrow_mut().clear();
        *self.waiting.borrow_mut() = Waiting::default();
        self.room.notify();
        self.more.notify();
        // Ends reader and writer, whatever they wait for.
        self.closer.close();
    }
}

impl Server {
    /// How this core is.
    #[must_use]
    pub fn status(&self, detail: StatusDetail) -> CoreStatus {
        let uptime_secs = clock::monotonic().since(self.started).0 / 1_000_000_000;
        let measures = match detail {
            StatusDetail::Brief => None,
            StatusDetail::Measures => Some(self.measures()),
        };
        CoreStatus {
            uptime_secs,
            measures,
            ..self.core.borrow().status()
        }
    }

    fn measures(&self) -> Measures {
        let mut measures = self.core.borrow().measures();
        self.clients.add_to(&mut measures);
        measures.numbers.set(Number::InboxBytes, self.shared.inbox_bytes() as u64);
        measures.traffic = self.traffic();
        measures
    }

    /// What went to and came from each peer's core, both lanes together.
    fn traffic(&self) -> Vec<Traffic> {
        let heard = self.clients.counts.heard.borrow();
        let mut peers: BTreeMap<PeerName, Traffic> = BTreeMap::new();
        let none = |peer: PeerName| Traffic::none(peer.node, peer.core);
        for ((peer, _), link) in &self.links {
            link.add_to(peers.entry(*peer).or_insert_with(|| none(*peer)));
        }
        for (peer, (frames, bytes)) in heard.iter() {
            let traffic = peers.entry(*peer).or_insert_with(|| none(*peer));
            (traffic.frames_received, traffic.bytes_received) = (*frames, *bytes);
        }
        peers.into_values().collect()
    }

    fn probe_answer(&self) -> ProbeAnswer {
        let state = codec::DirectoryState::Member {
            cluster: self.map.cluster(),
        };
        ProbeAnswer {
            node: self.identity.node,
            directory: self.identity.directory,
            state,
        }
    }
}

impl Counts {
    fn heard(&self, from: PeerName, bytes: usize) {
        let mut heard = self.heard.borrow_mut();
        let of_peer = heard.entry(from).or_default();
        of_peer.0 += 1;
        of_peer.1 += bytes as u64;
    }
}

fn add(count: &Cell<u64>, more: usize) {
    count.set(count.get() + more as u64);
}

/// Waits until the core has taken most of what came.
async fn room_in_inbox(shared: &Shared) {
    while shared.inbox_bytes() > INBOX_BYTES_MAX {
        sleep(Duration::from_millis(INBOX_LOOK_MS)).await;
    }
}

/// Whether a reply says what was read: nothing is lost if it is refused instead.
fn is_read(reply: &Reply) -> bool {
    match &reply.outcome {
        Ok(Success::Found { .. } | Success::Listed { .. } | Success::Sized { .. }) => true,
        Ok(Success::Deleted { .. } | Success::Exchanged { .. } | Success::Written { .. }) | Err(_) => false,
    }
}

/// What a reply costs to hold, roughly.
fn reply_bytes(reply: &Reply) -> usize {
    64 + reply.payload_bytes()
}
