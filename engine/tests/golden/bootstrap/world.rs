//! Nodes that bootstrap, their directories, and the questions and answers between them.
//!
//! An answer reaches only the process that asked: its connection dies with it. Questions may come at any time.
//!
//! Not here, on purpose: who does what when; scripts and the random test say that.

use std::collections::BTreeMap;

use bytes::Bytes;
use margate_engine::bootstrap::identity::{Creation, Identity, Membership};
use margate_engine::bootstrap::machine::{Bootstrap, BootstrapError, Effect, Event, answer_create};
use margate_engine::config::NodeConfig;
use margate_net::codec::{CreateAnswer, DirectoryState, ProbeAnswer};
use margate_net::ids::{ClusterId, DirectoryId, NodeId};
use margate_net::map::MapNode;

/// One line of what happened.
pub(crate) struct Said(pub(crate) String);

/// What travels between two nodes. Questions carry the life of the process that asked; answers carry it back.
#[derive(Clone)]
enum Message {
    Probe { life: u64 },
    ProbeAnswer { life: u64, answer: ProbeAnswer },
    Create { life: u64, creation: Creation },
    CreateAnswer { life: u64, answer: CreateAnswer },
}

/// A node: what is durable, and the process while it runs.
pub(crate) struct Node {
    id: u64,
    config: NodeConfig,
    pub(crate) durable: Identity,
    pub(crate) process: Option<Process>,
    /// The directory it had before.
    shelf: Option<Identity>,
    /// Why the process ended by itself.
    pub(crate) failed: Option<BootstrapError>,
    life: u64,
}

/// A process: the machine until it is a member, then a server that only answers.
pub(crate) struct Process {
    machine: Bootstrap,
    pub(crate) persisting: Option<Identity>,
    questions: Vec<(u64, u64)>,
}

/// See the module's text.
pub(crate) struct World {
    pub(crate) nodes: BTreeMap<u64, Node>,
    links: BTreeMap<(u64, u64), Vec<Message>>,
    directories: u128,
    clusters: u128,
}

impl World {
    /// So many empty directories, nothing started.
    pub(crate) fn new(count: u64) -> Self {
        let mut world = Self {
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            directories: 0,
            clusters: 0,
        };
        for id in 1..=count {
            let durable = world.empty(id);
            let node = Node {
                id,
                config: config(id, count, &[]),
                durable,
                shelf: None,
                process: None,
                failed: None,
                life: 0,
            };
            world.nodes.insert(id, node);
        }
        world
    }

    /// Links with something on them.
    pub(crate) fn busy_links(&self) -> Vec<(u64, u64)> {
        self.links
            .iter()
            .filter(|(_, sent)| !sent.is_empty())
            .map(|(link, _)| *link)
            .collect()
    }

    /// Messages on a link.
    pub(crate) fn on_link(&self, from: u64, to: u64) -> usize {
        self.links.get(&(from, to)).map_or(0, Vec::len)
    }

    /// The process starts from what is durable, and is told to try at once.
    pub(crate) fn start(&mut self, id: u64) -> Vec<Said> {
        self.clusters += 1;
        let cluster = ClusterId(self.clusters);
        let node = self.node(id);
        assert!(node.process.is_none(), "node {id} is running");
        (node.life, node.failed) = (node.life + 1, None);
        match Bootstrap::new(&node.config, node.durable.clone(), cluster) {
            Ok(machine) => {
                let (persisting, questions) = (None, Vec::new());
                node.process = Some(Process {
                    machine,
                    persisting,
                    questions,
                });
                self.retry(id)
            }
            Err(error) => self.fail(id, error),
        }
    }

    /// The process dies; connections it had open die with it.
    pub(crate) fn crash(&mut self, id: u64) -> Vec<Said> {
        self.node(id).process = None;
        Vec::new()
    }

    /// The directory is lost and made anew; the process must be down.
    pub(crate) fn wipe(&mut self, id: u64) -> Vec<Said> {
        assert!(self.node(id).process.is_none(), "node {id} is running");
        self.node(id).durable = self.empty(id);
        vec![said(id, &format!("has the new directory {}", self.directories))]
    }

    /// As a wipe, but what was lost is found again.
    pub(crate) fn put_by(&mut self, id: u64) -> Vec<Said> {
        let node = self.node(id);
        node.shelf = Some(node.durable.clone());
        self.wipe(id)
    }

    /// The directory that was put by is back; the process must be down.
    pub(crate) fn bring_back(&mut self, id: u64) -> Vec<Said> {
        let node = self.node(id);
        assert!(node.process.is_none(), "node {id} is running");
        node.durable = node.shelf.take().expect("it was put by");
        Vec::new()
    }

    /// From its next start on the node is configured with other shards than the rest.
    pub(crate) fn other_map(&mut self, id: u64) -> Vec<Said> {
        let count = self.nodes.len() as u64;
        self.node(id).config = config(id, count, &[Bytes::from_static(b"m")]);
        Vec::new()
    }

    /// Time to ask again.
    pub(crate) fn retry(&mut self, id: u64) -> Vec<Said> {
        self.handle(id, Event::Retry)
    }

    /// What was handed out last is durable.
    pub(crate) fn persisted(&mut self, id: u64) -> Vec<Said> {
        let node = self.node(id);
        match node.process.as_mut().and_then(|process| process.persisting.take()) {
            Some(identity) => {
                node.durable = identity;
                self.handle(id, Event::Persisted)
            }
            None => vec![Said("(nothing is being made durable)".into())],
        }
    }

    /// Everything on a link arrives.
    pub(crate) fn deliver(&mut self, from: u64, to: u64) -> Vec<Said> {
        let sent = self.links.remove(&(from, to)).unwrap_or_default();
        if sent.is_empty() {
            return vec![Said("(nothing is on its way)".into())];
        }
        sent.into_iter().flat_map(|message| self.arrive(from, to, message)).collect()
    }

    /// One message of a link arrives.
    pub(crate) fn deliver_one(&mut self, from: u64, to: u64, at: usize) -> Vec<Said> {
        let message = self.links.get_mut(&(from, to)).map(|sent| sent.remove(at));
        message.map_or(Vec::new(), |message| self.arrive(from, to, message))
    }

    /// Everything on a link is lost.
    pub(crate) fn forget(&mut self, from: u64, to: u64) -> Vec<Said> {
        self.links.remove(&(from, to));
        Vec::new()
    }

    /// Everything on a link will arrive twice.
    pub(crate) fn duplicate(&mut self, from: u64, to: u64) -> Vec<Said> {
        let sent = self.links.entry((from, to)).or_default();
        sent.extend_from_within(..);
        Vec::new()
    }

    /// What every node is.
    pub(crate) fn status(&self) -> Vec<Said> {
        let nodes = self.nodes.values().map(|node| {
            let running = match (&node.process, &node.failed) {
                (Some(process), _) if process.machine.member().is_some() => "runs as a member",
                (Some(_), _) => "waits",
                (None, Some(_)) => "failed",
                (None, None) => "is down",
            };
            said(node.id, &format!("{running}, durable: {}", show_identity(&node.durable)))
        });
        nodes.collect()
    }

    fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.get_mut(&id).expect("the script names nodes that exist")
    }

    fn empty(&mut self, id: u64) -> Identity {
        self.directories += 1;
        Identity {
            directory: DirectoryId(self.directories),
            node: NodeId(id),
            membership: Membership::Empty,
        }
    }

    fn fail(&mut self, id: u64, error: BootstrapError) -> Vec<Said> {
        let line = said(id, &format!("fails: {error}"));
        let node = self.node(id);
        (node.process, node.failed) = (None, Some(error));
        vec![line]
    }

    fn arrive(&mut self, from: u64, to: u64, message: Message) -> Vec<Said> {
        let Some(process) = &mut self.nodes.get_mut(&to).expect("links join nodes").process else {
            return vec![said(to, "is down")];
        };
        match message {
            Message::Probe { life } => {
                let answer = process.machine.probe_answer();
                self.send(to, from, Message::ProbeAnswer { life, answer })
            }
            Message::Create { life, creation } => self.create(from, to, life, creation),
            Message::ProbeAnswer { life, .. } | Message::CreateAnswer { life, .. } if life != self.node(to).life => {
                vec![said(to, "no longer waits for this answer")]
            }
            Message::ProbeAnswer { answer, .. } => self.handle(to, Event::ProbeAnswered { answer }),
            Message::CreateAnswer { answer, .. } => {
                let node = NodeId(from);
                self.handle(to, Event::CreateAnswered { node, answer })
            }
        }
    }

    /// A creation record arrives: a member answers by itself, anyone else asks its machine.
    fn create(&mut self, from: u64, to: u64, life: u64, creation: Creation) -> Vec<Said> {
        let Some(process) = &mut self.node(to).process else {
            return Vec::new();
        };
        if process.machine.member().is_some() {
            let answer = answer_create(process.machine.identity(), &creation).expect("a member is not empty");
            return self.send(to, from, Message::CreateAnswer { life, answer });
        }
        let question = process.questions.len() as u64;
        process.questions.push((from, life));
        self.handle(to, Event::CreateReceived { question, creation })
    }

    fn handle(&mut self, id: u64, event: Event) -> Vec<Said> {
        let Some(process) = &mut self.node(id).process else {
            return vec![said(id, "is down")];
        };
        let was_member = process.machine.member().is_some();
        let mut effects = Vec::new();
        if let Err(error) = process.machine.handle(event, &mut effects) {
            return self.fail(id, error);
        }
        let mut lines: Vec<_> = effects.into_iter().flat_map(|effect| self.perform(id, effect)).collect();
        let member = self
            .node(id)
            .process
            .as_ref()
            .is_some_and(|process| process.machine.member().is_some());
        if member && !was_member {
            lines.push(said(id, "is a member"));
        }
        lines
    }

    fn perform(&mut self, id: u64, effect: Effect) -> Vec<Said> {
        let life = self.node(id).life;
        match effect {
            Effect::AnswerCreate { question, answer } => {
                if answer == CreateAnswer::Accepted {
                    let durable = &self.node(id).durable.membership;
                    assert!(
                        matches!(durable, Membership::Member { .. }),
                        "node {id} accepted before that was durable"
                    );
                }
                let process = self.node(id).process.as_ref().expect("a process had this effect");
                let (from, life) = process.questions[usize::try_from(question).expect("few questions")];
                self.send(id, from, Message::CreateAnswer { life, answer })
            }
            Effect::Persist(identity) => {
                let line = said(id, &format!("makes durable: {}", show_identity(&identity)));
                let process = self.node(id).process.as_mut().expect("a process had this effect");
                assert!(process.persisting.is_none(), "one identity at a time is made durable");
                process.persisting = Some(identity);
                vec![line]
            }
            Effect::Probe { node } => self.send(id, node.0, Message::Probe { life }),
            Effect::SendCreation { node, creation } => {
                let durable = Membership::Creating(creation.clone());
                assert_eq!(
                    self.node(id).durable.membership,
                    durable,
                    "node {id} sent a record before it was durable"
                );
                self.send(id, node.0, Message::Create { life, creation })
            }
        }
    }

    fn send(&mut self, from: u64, to: u64, message: Message) -> Vec<Said> {
        let what = match &message {
            Message::Probe { .. } => "what are you?".into(),
            Message::ProbeAnswer { answer, .. } => match answer.state {
                DirectoryState::Empty => format!("empty, directory {}", answer.directory.0),
                DirectoryState::Member { cluster } => format!("member of cluster {}, directory {}", cluster.0, answer.directory.0),
            },
            Message::Create { creation, .. } => format!("become a member: {}", show_creation(creation)),
            Message::CreateAnswer { answer, .. } => match answer {
                CreateAnswer::Accepted => "accepted".into(),
                CreateAnswer::Refused(refusal) => format!("refused: {refusal}"),
            },
        };
        self.links.entry((from, to)).or_default().push(message);
        vec![Said(format!("{from} -> {to} {what}"))]
    }
}

impl Process {
    /// The record of the deployment the node is durably a member of.
    pub(crate) fn member(&self) -> Option<&Creation> {
        self.machine.member()
    }
}

fn config(id: u64, count: u64, bounds: &[Bytes]) -> NodeConfig {
    let port = |id: u64| 7_400 + 100 * u16::try_from(id).expect("few nodes");
    let nodes = (1..=count).map(|id| MapNode {
        id: NodeId(id),
        cores: vec![([127, 0, 0, 1], port(id)).into()],
    });
    NodeConfig {
        node: NodeId(id),
        data: std::path::PathBuf::new(),
        nodes: nodes.collect(),
        listen: Vec::new(),
        bounds: bounds.to_vec(),
        replication: 3,
        bootstrap: id == 1,
        pin: false,
        insecure: false,
        volatile: false,
        tick_ms: 100,
        stall_ms: 0,
        election_ticks: 10,
        segment_bytes: 4 << 20,
        reserve_bytes: None,
        index_map_bytes: 1 << 20,
    }
}

fn said(id: u64, what: &str) -> Said {
    Said(format!("{id} {what}"))
}

fn show_identity(identity: &Identity) -> String {
    let directory = identity.directory.0;
    match &identity.membership {
        Membership::Empty => format!("directory {directory}, empty"),
        Membership::Creating(creation) => format!("directory {directory}, creating {}", show_creation(creation)),
        Membership::Member { creation, .. } => format!("directory {directory}, member of {}", show_creation(creation)),
    }
}

fn show_creation(creation: &Creation) -> String {
    let directories: Vec<_> = creation
        .directories
        .iter()
        .map(|(node, directory)| format!("{node}:{}", directory.0))
        .collect();
    format!("cluster {} of [{}]", creation.cluster().0, directories.join(" "))
}
