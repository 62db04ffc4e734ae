//! Fake nodes on loopback that speak the real codec and answer by a script.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use margate_client::{Client, ClientConfig};
use margate_net::codec::{FrameWriter, decode_hello, decode_requests, decode_status_request};
use margate_net::error::Refusal;
use margate_net::frame::{Frame, FrameKind, Stage, take_frame};
use margate_net::handshake::{Goodbye, Identity};
use margate_net::ids::{ClusterId, CoreId, Incarnation, LogIndex, MapEpoch, MemberEpoch, NodeId, RangeEpoch, ReplicaId, ShardId, Version};
use margate_net::map::{Map, MapNode, MapReplica, MapShard};
use margate_net::measure::Measures;
use margate_net::message::{CoreStatus, Reply, Request, StatusDetail, Success};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) use store::Store;

mod store;

pub(crate) const CLUSTER: ClusterId = ClusterId(0xC1);

/// What a fake node does about one operation.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers at once.
    Answer(Result<Success, Refusal>),
    /// Closes the connection without a word.
    Hangup,
    /// Answers after a while, others meanwhile.
    Later(Duration, Result<Success, Refusal>),
    /// Answers an operation with this id instead.
    Misaddress(u64),
    /// Sends what is no frame.
    Rubbish,
    /// Never answers.
    Silence,
}

pub(crate) type Script = Arc<dyn Fn(NodeId, &Request) -> Act + Send + Sync>;

/// A deployment of fake nodes with one core each.
pub(crate) struct Deployment {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) state: Arc<State>,
    servers: Vec<JoinHandle<()>>,
}

/// What the nodes share, and what tests look at.
pub(crate) struct State {
    script: Mutex<Script>,
    map: Mutex<Map>,
    heard: Mutex<Vec<(NodeId, Request)>>,
    pub(crate) connections: AtomicUsize,
    pub(crate) frames: AtomicUsize,
    pub(crate) map_requests: AtomicUsize,
}

impl Deployment {
    /// Nodes 1 to `nodes`, all members of every shard; shard `s` should be led by node `s` modulo nodes.
    pub(crate) async fn start(nodes: usize, bounds: &[&str], script: impl Fn(NodeId, &Request) -> Act + Send + Sync + 'static) -> Self {
        let mut listeners = Vec::new();
        for _ in 0..nodes {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports"));
        }
        let addresses: Vec<SocketAddr> = listeners
            .iter()
            .map(|listener| listener.local_addr().expect("it is bound"))
            .collect();
        let state = Arc::new(State {
            script: Mutex::new(Arc::new(script)),
            map: Mutex::new(map(1, &addresses, bounds)),
            heard: Mutex::new(Vec::new()),
            connections: AtomicUsize::new(0),
            frames: AtomicUsize::new(0),
            map_requests: AtomicUsize::new(0),
        });
        let serve = |(listener, node)| tokio::spawn(accept(listener, NodeId(node), Arc::clone(&state)));
        let servers = listeners.into_iter().zip(1u64..).map(serve).collect();
        Self { addresses, state, servers }
    }

    /// A client with short times, of the first node.
    pub(crate) async fn client(&self) -> Client {
        self.client_with(|_| ()).await
    }

    pub(crate) async fn client_with(&self, change: impl FnOnce(&mut ClientConfig)) -> Client {
        let mut config = ClientConfig {
            endpoints: self.addresses.clone(),
            timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_millis(500),
            read_attempt_timeout: Duration::from_millis(300),
            ..ClientConfig::default()
        };
        change(&mut config);
        Client::connect(config).await.expect("the fake nodes have a map")
    }

    /// The node's process ends: its connections break and nobody listens any more.
    pub(crate) fn kill(&self, node: u64) {
        self.servers[usize::try_from(node - 1).expect("few nodes")].abort();
    }

    /// The node starts again at its old address.
    pub(crate) async fn restart(&mut self, node: u64) {
        let ordinal = usize::try_from(node - 1).expect("few nodes");
        let listener = loop {
            match TcpListener::bind(self.addresses[ordinal]).await {
                Ok(listener) => break listener,
                Err(_still_bound) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        self.servers[ordinal] = tokio::spawn(accept(listener, NodeId(node), Arc::clone(&self.state)));
    }

    /// From now on the nodes do this.
    pub(crate) fn follow(&self, script: impl Fn(NodeId, &Request) -> Act + Send + Sync + 'static) {
        *lock(&self.state.script) = Arc::new(script);
    }

    /// From now on the nodes know this map.
    pub(crate) fn remap(&self, epoch: u64, bounds: &[&str]) {
        *lock(&self.state.map) = map(epoch, &self.addresses, bounds);
    }

    /// From now on the nodes know a map of one shard whose nodes are at these addresses.
    pub(crate) fn remap_to(&self, epoch: u64, addresses: &[SocketAddr]) {
        *lock(&self.state.map) = map(epoch, addresses, &[]);
    }

    /// Every operation heard so far, and by whom.
    pub(crate) fn heard(&self) -> Vec<(NodeId, Request)> {
        lock(&self.state.heard).clone()
    }

    /// How often an operation on this key was heard by this node.
    pub(crate) fn heard_by(&self, node: u64, key: &str) -> usize {
        let heard = lock(&self.state.heard);
        heard
            .iter()
            .filter(|(by, request)| by.0 == node && request.operation.routing_key().as_ref() == key.as_bytes())
            .count()
    }

    /// Waits until this many operations have been heard in all.
    pub(crate) async fn hear(&self, count: usize) {
        for _ in 0..1_000 {
            if lock(&self.state.heard).len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("{count} operations were expected and {} heard", lock(&self.state.heard).len());
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

pub(crate) fn map(epoch: u64, addresses: &[SocketAddr], bounds: &[&str]) -> Map {
    let nodes = (1u64..)
        .zip(addresses)
        .map(|(id, address)| MapNode {
            id: NodeId(id),
            cores: vec![*address],
        })
        .collect();
    let lows = [""].into_iter().chain(bounds.iter().copied());
    let highs = bounds.iter().copied().chain([""]);
    let count = addresses.len() as u64;
    let replicas = |shard: u64| {
        let node = move |turn: u64| NodeId((shard - 1 + turn) % count + 1);
        (0..count)
            .map(|turn| MapReplica {
                id: ReplicaId(turn + 1),
                node: node(turn),
                core: CoreId(0),
            })
            .collect()
    };
    let shards = (1u64..).zip(lows.zip(highs)).map(|(id, (low, high))| MapShard {
        id: ShardId(id),
        low: Bytes::copy_from_slice(low.as_bytes()),
        high: Bytes::copy_from_slice(high.as_bytes()),
        range_epoch: RangeEpoch(epoch),
        member_epoch: MemberEpoch(1),
        replicas: replicas(id),
    });
    Map::new(CLUSTER, MapEpoch(epoch), nodes, shards.collect()).expect("the parts make a map")
}

async fn accept(listener: TcpListener, node: NodeId, state: Arc<State>) {
    // Connections end with the server, as a process's do.
    let mut sessions = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        sessions.spawn(converse(stream, node, Arc::clone(&state)));
    }
}

async fn converse(mut stream: TcpStream, node: NodeId, state: Arc<State>) {
    let (mut buffer, mut writer, mut out) = (BytesMut::new(), FrameWriter::new(), Vec::new());
    let (later_sender, mut later) = mpsc::unbounded_channel::<Reply>();
    let mut stage = Stage::Handshake;
    loop {
        while let Some(frame) = take_frame(&mut buffer, stage).expect("clients send frames") {
            if frame.kind == FrameKind::Hello {
                stage = Stage::Established;
                state.connections.fetch_add(1, Ordering::Relaxed);
            }
            if answer(&frame, node, &state, &mut writer, &mut out, &later_sender).is_err() {
                let _gone = stream.write_all(&out).await;
                return;
            }
        }
        if stream.write_all(&out).await.is_err() {
            return;
        }
        out.clear();
        tokio::select! {
            read = stream.read_buf(&mut buffer) => if !matches!(read, Ok(1..)) { return },
            Some(reply) = later.recv() => writer.replies(&mut out, &[reply]),
        }
    }
}

/// The connection is to be closed.
struct Close;

fn answer(
    frame: &Frame,
    node: NodeId,
    state: &State,
    writer: &mut FrameWriter,
    out: &mut Vec<u8>,
    later: &mpsc::UnboundedSender<Reply>,
) -> Result<(), Close> {
    match frame.kind {
        FrameKind::Hello => return welcome(frame, node, state, writer, out),
        FrameKind::MapRequest => {
            state.map_requests.fetch_add(1, Ordering::Relaxed);
            writer.map_reply(out, frame.request_id, &lock(&state.map));
        }
        FrameKind::StatusRequest => {
            let detail = decode_status_request(frame).expect("a client's frame");
            writer.status_reply(out, frame.request_id, &status(node, detail));
        }
        FrameKind::Request => return requests(frame, node, state, writer, out, later),
        other => panic!("a client sent a {other:?} frame"),
    }
    Ok(())
}

fn welcome(frame: &Frame, node: NodeId, state: &State, writer: &mut FrameWriter, out: &mut Vec<u8>) -> Result<(), Close> {
    let map = lock(&state.map);
    let identity = Identity {
        cluster: map.cluster(),
        node,
        core: CoreId(0),
        incarnation: Incarnation(1),
        map_epoch: map.epoch(),
        tick_ms: 100,
        election_ticks: 10,
    };
    match identity.admit(&decode_hello(frame).expect("clients send a hello")) {
        Ok(welcome) => {
            writer.welcome(out, &welcome);
            Ok(())
        }
        Err(refusal) => {
            writer.goodbye(out, &Goodbye::Handshake(refusal));
            Err(Close)
        }
    }
}

fn requests(
    frame: &Frame,
    node: NodeId,
    state: &State,
    writer: &mut FrameWriter,
    out: &mut Vec<u8>,
    later: &mpsc::UnboundedSender<Reply>,
) -> Result<(), Close> {
    state.frames.fetch_add(1, Ordering::Relaxed);
    let script = Arc::clone(&lock(&state.script));
    let mut replies = Vec::new();
    for received in decode_requests(frame).expect("clients send requests") {
        let request = received.request.expect("clients send valid operations");
        lock(&state.heard).push((node, request.clone()));
        match script(node, &request) {
            Act::Answer(outcome) => replies.push(Reply { id: request.id, outcome }),
            Act::Hangup => {
                writer.replies(out, &replies);
                return Err(Close);
            }
            Act::Later(after, outcome) => {
                let (later, id) = (later.clone(), request.id);
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    let _gone = later.send(Reply { id, outcome });
                });
            }
            Act::Misaddress(id) => replies.push(Reply { id, outcome: written(1) }),
            Act::Rubbish => {
                out.extend_from_slice(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                return Err(Close);
            }
            Act::Silence => {}
        }
    }
    writer.replies(out, &replies);
    Ok(())
}

fn status(node: NodeId, detail: StatusDetail) -> CoreStatus {
    let measures = (detail == StatusDetail::Measures).then(Measures::default);
    CoreStatus {
        measures,
        ..CoreStatus::new(node, CoreId(0))
    }
}

pub(crate) fn written(version: u64) -> Result<Success, Refusal> {
    Ok(Success::Written {
        version: Version(version),
        key: None,
        old_value: None,
    })
}

pub(crate) fn found(value: &str) -> Result<Success, Refusal> {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Ok(Success::Found {
        version: Version(1),
        value,
        key: None,
        applied: LogIndex(1),
    })
}

pub(crate) fn not_leader(leader: Option<u64>) -> Act {
    Act::Answer(Err(Refusal::NotLeader {
        leader: leader.map(NodeId),
    }))
}

/// Whatever the operation, set or get, an answer to it.
pub(crate) fn plausible(request: &Request) -> Result<Success, Refusal> {
    if request.operation.is_write() { written(1) } else { found("value") }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test thread panics under a lock")
}
