//! The bootstrap machine driven over sockets: an executor of its own, before any core exists.
//!
//! It listens where core 0 will listen and answers probes and creation records; clients and peers are told
//! that the node is not part of a deployment yet. When the node is a member it gives the address back.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future;
use margate_net::codec::{self, Create, CreateAnswer, FrameWriter};
use margate_net::frame::{Frame, FrameKind};
use margate_net::handshake::{Hello, Identity as Greeting, Role};
use margate_net::ids::{ClusterId, CoreId, DirectoryId, MapEpoch, NodeId};
use margate_net::runtime::connection::{Connection, dial, greet};
use margate_net::runtime::executor::{Executor, sleep, spawn_local};
use margate_net::runtime::listener::{Incoming, Listener};

use super::clock;
use super::directory::{DataDirectory, DirectoryError};
use super::node::{NodeError, Start};
use super::notify::Notify;
use super::pulse::Pulse;
use super::server;
use crate::bootstrap::identity::{Creation, Identity};
use crate::bootstrap::machine::{Bootstrap, BootstrapError, Effect, Event};
use crate::types::Nanos;

/// Milliseconds between tries to reach peers that have not answered.
const RETRY_MS: u64 = 200;
/// Milliseconds a peer has to answer; it is asked again.
const ANSWER_MS_MAX: u64 = 2_000;
/// Time for which others are members and this node is not before it says so.
const TOLD_AFTER: Nanos = Nanos::from_millis(2_000);
/// Answers gathered for one creation record: the dialler sends it again if it hears nothing.
const ANSWERS_MAX: usize = 64;

struct Shared {
    inbox: RefCell<Vec<Event>>,
    arrived: Notify,
    answers: RefCell<Vec<(u64, CreateAnswer)>>,
    answered: RefCell<Vec<Rc<Notify>>>,
    questions: RefCell<u64>,
    /// Peers that have a question of ours.
    asked: RefCell<BTreeSet<NodeId>>,
    machine: RefCell<Bootstrap>,
}

/// Runs until this node is durably a member, or is told to stop (`Ok(None)`).
///
/// # Errors
/// [`NodeError`]: it cannot become one.
pub(super) fn become_member(
    start: &Start,
    directory: &DataDirectory,
    identity: Identity,
    cluster: ClusterId,
) -> Result<Option<Identity>, NodeError> {
    let machine = Bootstrap::new(&start.config, identity, cluster)?;
    if machine.member().is_some() {
        return Ok(Some(machine.identity().clone()));
    }
    let pulse = Pulse::start("mgt-pulse-boot", Arc::default(), start.stall()).map_err(NodeError::Thread)?;
    let core = CoreId(0);
    let executor = Executor::new().map_err(|source| NodeError::Executor { core, source })?;
    pulse.run(&executor, drive(start, directory, machine))
}

async fn drive(start: &Start, directory: &DataDirectory, machine: Bootstrap) -> Result<Option<Identity>, NodeError> {
    let shared = Rc::new(Shared {
        inbox: RefCell::new(vec![Event::Retry]),
        arrived: Notify::default(),
        answers: RefCell::default(),
        answered: RefCell::default(),
        questions: RefCell::default(),
        asked: RefCell::default(),
        machine: RefCell::new(machine),
    });
    let listener = server::listen(start.address(CoreId(0))?).await?;
    let greeting = start.greeting(CoreId(0), ClusterId::UNKNOWN, MapEpoch(0));
    let accepting = spawn_local(accept(listener, Rc::clone(&shared), greeting));
    let own_directory = shared.machine.borrow().identity().directory;
    tracing::warn!(directory = %own_directory, bootstrap = start.config.bootstrap, "not part of a deployment yet: waiting for the other nodes");
    let mut heard = Heard::default();
    let result = loop {
        let events = std::mem::take(&mut *shared.inbox.borrow_mut());
        let mut effects = Vec::new();
        let handled = events
            .into_iter()
            .try_for_each(|event| shared.machine.borrow_mut().handle(event, &mut effects));
        if let Err(error) = handled {
            break Err(error.into());
        }
        if let Err(error) = perform(effects, start, directory, &shared) {
            break Err(error.into());
        }
        if shared.machine.borrow().member().is_some() {
            break Ok(Some(shared.machine.borrow().identity().clone()));
        }
        if start.stop.is_requested() {
            break Ok(None);
        }
        heard.look(&shared.machine.borrow());
        let retry = async {
            sleep(Duration::from_millis(RETRY_MS)).await;
            shared.inbox.borrow_mut().push(Event::Retry);
        };
        future::or(shared.arrived.wait(), retry).await;
    };
    // What was accepted last is answered before the listener goes.
    sleep(Duration::from_millis(RETRY_MS / 4)).await;
    accepting.cancel().await;
    result
}

/// Who is part of a deployment that this node has not joined.
#[derive(Default)]
struct Heard {
    members: BTreeSet<NodeId>,
    /// Since when; nothing once it was said.
    since: Option<Nanos>,
}

impl Heard {
    /// Says so where it stays that way: while a deployment is being made it does for a moment.
    fn look(&mut self, machine: &Bootstrap) {
        let members: BTreeSet<NodeId> = machine.members_heard().collect();
        let now = clock::monotonic();
        if members != self.members {
            (self.members, self.since) = (members, Some(now));
        }
        if !self.members.is_empty() && self.since.take_if(|since| now.since(*since) >= TOLD_AFTER).is_some() {
            let members: Vec<String> = self.members.iter().map(ToString::to_string).collect();
            tracing::warn!(
                members = members.join(" "),
                "these nodes are members of a deployment, and this directory is empty: it joins once the first node of the list is a \
                 member, or, being the first itself, once most nodes are. If most of them have lost their data, that is when it is given \
                 back to them"
            );
        }
    }
}

fn perform(effects: Vec<Effect>, start: &Start, directory: &DataDirectory, shared: &Rc<Shared>) -> Result<(), DirectoryError> {
    for effect in effects {
        match effect {
            Effect::AnswerCreate { question, answer } => {
                let mut answers = shared.answers.borrow_mut();
                let excess = (answers.len() + 1).saturating_sub(ANSWERS_MAX);
                answers.drain(..excess);
                answers.push((question, answer));
                shared.answered.borrow_mut().drain(..).for_each(|waiting| waiting.notify());
            }
            Effect::Persist(identity) => {
                // Nothing is served yet, so a blocking write does no harm.
                directory.store(&identity)?;
                shared.push(Event::Persisted);
            }
            Effect::Probe { node } => ask(node, None, start, shared),
            Effect::SendCreation { node, creation } => ask(node, Some(creation), start, shared),
        }
    }
    Ok(())
}

impl Shared {
    fn push(&self, event: Event) {
        self.inbox.borrow_mut().push(event);
        self.arrived.notify();
    }
}

/// Asks a peer in a task of its own; silence means that it is asked again later.
fn ask(node: NodeId, creation: Option<Creation>, start: &Start, shared: &Rc<Shared>) {
    let Some(address) = start
        .config
        .nodes
        .iter()
        .find(|one| one.id == node)
        .and_then(|one| one.cores.first().copied())
    else {
        return;
    };
    let hello = start.hello(
        Role::Admin,
        (ClusterId::UNKNOWN, DirectoryId::UNKNOWN),
        CoreId(0),
        (node, CoreId(0)),
    );
    if !shared.asked.borrow_mut().insert(node) {
        return;
    }
    let shared = Rc::clone(shared);
    spawn_local(async move {
        let answer = question(address, &hello, creation).await;
        shared.asked.borrow_mut().remove(&node);
        match answer {
            Some(Answer::Probe(answer)) => shared.push(Event::ProbeAnswered { answer }),
            Some(Answer::Create(answer)) => shared.push(Event::CreateAnswered { node, answer }),
            None => {}
        }
    })
    .detach();
}

enum Answer {
    Probe(codec::ProbeAnswer),
    Create(CreateAnswer),
}

async fn question(address: SocketAddr, hello: &Hello, creation: Option<Creation>) -> Option<Answer> {
    let dialled = dial(address, hello).await;
    let (mut connection, _) = dialled
        .inspect_err(|error| tracing::debug!(%address, %error, "a peer does not answer yet"))
        .ok()?;
    let mut out = Vec::new();
    let mut writer = FrameWriter::new();
    match &creation {
        None => writer.probe(&mut out, 1),
        Some(Creation { directories, map }) => {
            let create = Create {
                cluster: map.cluster(),
                directories: directories.clone(),
                map: map.clone(),
            };
            writer.create(&mut out, 1, &create);
        }
    }
    connection.sender.write_all(&out).await.ok()?;
    let silence = async {
        sleep(Duration::from_millis(ANSWER_MS_MAX)).await;
        None
    };
    let frame = future::or(async { connection.reader.read_frame().await.ok() }, silence).await?;
    match creation {
        None => codec::decode_probe_reply(&frame).ok().map(Answer::Probe),
        Some(_) => codec::decode_create_reply(&frame).ok().map(Answer::Create),
    }
}

async fn accept(listener: Listener, shared: Rc<Shared>, greeting: Greeting) {
    loop {
        let incoming = listener.accept().await;
        let shared = Rc::clone(&shared);
        spawn_local(async move { serve(incoming, &shared, greeting).await }).detach();
    }
}

async fn serve(incoming: Incoming, shared: &Shared, greeting: Greeting) {
    let Ok((mut connection, _)) = greet(incoming, &greeting).await else {
        return;
    };
    while let Ok(frame) = connection.reader.read_frame().await {
        if answer(&frame, &mut connection, shared).await.is_none() {
            return;
        }
    }
}

async fn answer(frame: &Frame, connection: &mut Connection, shared: &Shared) -> Option<()> {
    let mut out = Vec::new();
    match frame.kind {
        FrameKind::Probe => {
            codec::decode_probe(frame).ok()?;
            FrameWriter::new().probe_reply(&mut out, frame.request_id, &shared.machine.borrow().probe_answer());
        }
        FrameKind::Create => {
            let create = codec::decode_create(frame).ok()?;
            let answer = shared
                .decide(Creation {
                    directories: create.directories,
                    map: create.map,
                })
                .await;
            FrameWriter::new().create_reply(&mut out, frame.request_id, &answer);
        }
        FrameKind::Hello
        | FrameKind::Welcome
        | FrameKind::Goodbye
        | FrameKind::Request
        | FrameKind::Reply
        | FrameKind::Peer
        | FrameKind::Member
        | FrameKind::MapRequest
        | FrameKind::MapReply
        | FrameKind::StatusRequest
        | FrameKind::StatusReply
        | FrameKind::ProbeReply
        | FrameKind::CreateReply => return None,
    }
    connection.sender.write_all(&out).await.ok()
}

impl Shared {
    /// Gives a creation record to the machine and waits for its answer.
    async fn decide(&self, creation: Creation) -> CreateAnswer {
        let question = {
            let mut questions = self.questions.borrow_mut();
            *questions += 1;
            *questions
        };
        self.push(Event::CreateReceived { question, creation });
        loop {
            let found = self
                .answers
                .borrow()
                .iter()
                .find(|(of, _)| *of == question)
                .map(|(_, answer)| *answer);
            if let Some(answer) = found {
                return answer;
            }
            let notify = Rc::new(Notify::default());
            self.answered.borrow_mut().push(Rc::clone(&notify));
            notify.wait().await;
        }
    }
}

impl From<BootstrapError> for NodeError {
    fn from(error: BootstrapError) -> Self {
        Self::Bootstrap(error)
    }
}
