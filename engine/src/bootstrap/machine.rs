//! The machine of the folder's text: events in, effects out.
//!
//! Invariants: nothing leaves that rests on an identity not yet durable (every change is an [`Effect::Persist`],
//! and the next message goes only after [`Event::Persisted`]); the cluster id is drawn once per directory.

use std::collections::{BTreeMap, BTreeSet};

use margate_net::codec::{CreateAnswer, CreateRefusal, DirectoryState, ProbeAnswer};
use margate_net::ids::{ClusterId, DirectoryId, NodeId};
use margate_net::map::{Map, MapError};

use super::identity::{Creation, Identity, Membership};
use crate::config::{NodeConfig, static_map};

/// What happens to a node that is not a member yet.
#[derive(Clone, Debug)]
pub enum Event {
    /// A peer answered a creation record.
    CreateAnswered {
        /// Which.
        node: NodeId,
        /// What.
        answer: CreateAnswer,
    },
    /// A creation record came; it is answered by [`Effect::AnswerCreate`] with this number.
    CreateReceived {
        /// Number of the question.
        question: u64,
        /// The record.
        creation: Creation,
    },
    /// The identity last handed out is durable.
    Persisted,
    /// A peer answered a probe.
    ProbeAnswered {
        /// What.
        answer: ProbeAnswer,
    },
    /// Time to ask again those who have not answered.
    Retry,
}

/// What it wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer a creation record.
    AnswerCreate {
        /// Number of the question.
        question: u64,
        /// The answer.
        answer: CreateAnswer,
    },
    /// Make this identity durable and say so.
    Persist(Identity),
    /// Ask a peer what it is.
    Probe {
        /// Which.
        node: NodeId,
    },
    /// Send a peer the creation record.
    SendCreation {
        /// Which.
        node: NodeId,
        /// The record.
        creation: Creation,
    },
}

/// Why this node cannot bootstrap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// A peer refused the creation record.
    #[error("node {node} refused to become a member: {refusal}")]
    Refused {
        /// The peer.
        node: NodeId,
        /// Why.
        refusal: CreateRefusal,
    },
    /// Only the first node of the list may bootstrap.
    #[error("only node {first}, the first of the list, may bootstrap; start this one without --bootstrap")]
    NotFirst {
        /// The first node.
        first: NodeId,
    },
    /// The configured nodes and bounds do not make a map.
    #[error(transparent)]
    Topology(#[from] MapError),
    /// The data directory belongs to a deployment of other nodes, addresses, cores or shards.
    #[error("the data directory was created with other nodes, addresses, cores or shard bounds; start with those, or give a new directory")]
    TopologyDiffers,
}

/// See the module's text.
#[derive(Debug)]
pub struct Bootstrap {
    identity: Identity,
    persisting: bool,
    planned: Map,
    config: NodeConfig,
    /// What the peers that are members say they are part of.
    told: BTreeMap<NodeId, ClusterId>,
    bootstraps: bool,
    answered: BTreeMap<NodeId, DirectoryId>,
    accepted: BTreeSet<NodeId>,
    answer_when_durable: Option<u64>,
    cluster: ClusterId,
}

impl Bootstrap {
    /// A node with this identity and configuration. `cluster` is a fresh random id, used only if this node bootstraps.
    ///
    /// # Errors
    /// [`BootstrapError`]: the configuration does not fit the identity or itself.
    pub fn new(config: &NodeConfig, identity: Identity, cluster: ClusterId) -> Result<Self, BootstrapError> {
        let first = config.nodes.first().map_or(config.node, |node| node.id);
        if config.bootstrap && first != config.node {
            return Err(BootstrapError::NotFirst { first });
        }
        let planned = static_map(cluster, &config.nodes, &config.bounds, config.replication)?;
        let bootstraps = config.bootstrap || matches!(identity.membership, Membership::Creating(_));
        if let Membership::Creating(creation) | Membership::Member { creation, .. } = &identity.membership
            && !same_topology(&creation.map, &planned)
        {
            return Err(BootstrapError::TopologyDiffers);
        }
        Ok(Self {
            identity,
            persisting: false,
            planned,
            config: config.clone(),
            told: BTreeMap::new(),
            bootstraps,
            answered: BTreeMap::new(),
            accepted: BTreeSet::new(),
            answer_when_durable: None,
            cluster,
        })
    }

    /// The identity, durable or about to be.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The record of the deployment this node is durably a member of.
    #[must_use]
    pub fn member(&self) -> Option<&Creation> {
        match &self.identity.membership {
            Membership::Member { creation, .. } if !self.persisting => Some(creation),
            Membership::Member { .. } | Membership::Creating(_) | Membership::Empty => None,
        }
    }

    /// Peers that are members of something this node has not joined.
    pub fn members_heard(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.told.keys().copied().filter(|_| self.identity.membership == Membership::Empty)
    }

    /// What to answer a probe with.
    #[must_use]
    pub fn probe_answer(&self) -> ProbeAnswer {
        let state = match &self.identity.membership {
            // Until all have accepted there is no deployment to join.
            Membership::Empty | Membership::Creating(_) => DirectoryState::Empty,
            Membership::Member { creation, .. } => DirectoryState::Member {
                cluster: creation.cluster(),
            },
        };
        ProbeAnswer {
            node: self.identity.node,
            directory: self.identity.directory,
            state,
        }
    }

    /// Takes one event.
    ///
    /// # Errors
    /// [`BootstrapError`]: this node cannot bootstrap, nor become a member by waiting.
    pub fn handle(&mut self, event: Event, out: &mut Vec<Effect>) -> Result<(), BootstrapError> {
        match event {
            Event::CreateAnswered { node, answer } => self.create_answered(node, answer, out),
            Event::CreateReceived { question, creation } => {
                self.create_received(question, creation, out);
                Ok(())
            }
            Event::Persisted => {
                self.persisted(out);
                Ok(())
            }
            Event::ProbeAnswered { answer } => self.probe_answered(answer, out),
            Event::Retry => {
                self.retry(out);
                Ok(())
            }
        }
    }

    fn peers(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.planned
            .nodes()
            .iter()
            .map(|node| node.id)
            .filter(|id| *id != self.identity.node)
    }

    fn retry(&mut self, out: &mut Vec<Effect>) {
        if self.persisting {
            return;
        }
        match &self.identity.membership {
            Membership::Empty => {
                if self.bootstraps {
                    self.create_if_all_answered(out);
                }
                // Where some are members, those that were empty may get their data back.
                let open = |node: &NodeId| !self.answered.contains_key(node) || !self.told.is_empty();
                out.extend(self.peers().filter(open).map(|node| Effect::Probe { node }));
            }
            Membership::Creating(creation) => {
                let missing = self.peers().filter(|node| !self.accepted.contains(node));
                out.extend(missing.map(|node| Effect::SendCreation {
                    node,
                    creation: creation.clone(),
                }));
                self.finish_if_all_accepted(out);
            }
            Membership::Member { .. } => {}
        }
    }

    fn probe_answered(&mut self, answer: ProbeAnswer, out: &mut Vec<Effect>) -> Result<(), BootstrapError> {
        if self.identity.membership != Membership::Empty || self.persisting || !self.peers().any(|node| node == answer.node) {
            return Ok(());
        }
        match answer.state {
            DirectoryState::Member { cluster } => {
                self.told.insert(answer.node, cluster);
                if self.is_made(cluster) {
                    self.join(cluster, out)?;
                }
            }
            DirectoryState::Empty => {
                self.told.remove(&answer.node);
                if self.bootstraps {
                    self.answered.insert(answer.node, answer.directory);
                    self.create_if_all_answered(out);
                }
            }
        }
        Ok(())
    }

    /// Whether a deployment is made, so that no creation record is on its way here any more. Its members do not know that: they are told
    /// one by one. The first node does, which is a member itself once all have accepted; and if that one has lost its directory, nobody
    /// is left who could send the record. It takes the word of most nodes, lest what was half made looks like a deployment.
    fn is_made(&self, cluster: ClusterId) -> bool {
        let nodes = &self.config.nodes;
        let first = nodes.first().map_or(self.identity.node, |node| node.id);
        if first != self.identity.node {
            return self.told.get(&first) == Some(&cluster);
        }
        let agree = self.told.values().filter(|told| **told == cluster).count();
        agree >= (nodes.len() / 2 + 1).min(nodes.len() - 1)
    }

    /// The deployment exists without this directory: it becomes a member without replicas.
    fn join(&mut self, cluster: ClusterId, out: &mut Vec<Effect>) -> Result<(), BootstrapError> {
        let config = &self.config;
        let creation = Creation {
            directories: vec![(self.identity.node, self.identity.directory)],
            map: static_map(cluster, &config.nodes, &config.bounds, config.replication)?,
        };
        self.persist(
            Membership::Member {
                creation,
                cores_created: false,
                joined: true,
            },
            out,
        );
        Ok(())
    }

    fn create_if_all_answered(&mut self, out: &mut Vec<Effect>) {
        if self.persisting || self.peers().any(|node| !self.answered.contains_key(&node)) {
            return;
        }
        let own = (self.identity.node, self.identity.directory);
        let directories = std::iter::once(own).chain(self.answered.iter().map(|(node, directory)| (*node, *directory)));
        debug_assert_eq!(self.planned.cluster(), self.cluster, "the planned map carries the fresh id");
        let creation = Creation {
            directories: directories.collect(),
            map: self.planned.clone(),
        };
        self.persist(Membership::Creating(creation), out);
    }

    fn create_answered(&mut self, node: NodeId, answer: CreateAnswer, out: &mut Vec<Effect>) -> Result<(), BootstrapError> {
        match answer {
            CreateAnswer::Refused(refusal) => Err(BootstrapError::Refused { node, refusal }),
            CreateAnswer::Accepted => {
                self.accepted.insert(node);
                self.finish_if_all_accepted(out);
                Ok(())
            }
        }
    }

    fn finish_if_all_accepted(&mut self, out: &mut Vec<Effect>) {
        if self.persisting || self.peers().any(|node| !self.accepted.contains(&node)) {
            return;
        }
        if let Membership::Creating(creation) = &self.identity.membership {
            let creation = creation.clone();
            self.persist(
                Membership::Member {
                    creation,
                    cores_created: false,
                    joined: false,
                },
                out,
            );
        }
    }

    fn create_received(&mut self, question: u64, creation: Creation, out: &mut Vec<Effect>) {
        let answer = match answer_create(&self.identity, &creation) {
            Some(answer) => answer,
            None if !same_topology(&creation.map, &self.planned) => CreateAnswer::Refused(CreateRefusal::TopologyDiffers),
            None => {
                self.answer_when_durable = Some(question);
                return self.persist(
                    Membership::Member {
                        creation,
                        cores_created: false,
                        joined: false,
                    },
                    out,
                );
            }
        };
        // The same record again, while it is being made durable: the first question's answer will do.
        if !self.persisting {
            out.push(Effect::AnswerCreate { question, answer });
        }
    }

    fn persist(&mut self, membership: Membership, out: &mut Vec<Effect>) {
        self.identity.membership = membership;
        self.persisting = true;
        out.push(Effect::Persist(self.identity.clone()));
    }

    fn persisted(&mut self, out: &mut Vec<Effect>) {
        self.persisting = false;
        if let Some(question) = self.answer_when_durable.take() {
            out.push(Effect::AnswerCreate {
                question,
                answer: CreateAnswer::Accepted,
            });
        }
        self.retry(out);
    }
}

/// What a directory that is not empty answers to a creation record; `None` if it is empty and named by it.
#[must_use]
pub fn answer_create(identity: &Identity, creation: &Creation) -> Option<CreateAnswer> {
    match &identity.membership {
        Membership::Empty if creation.directory_of(identity.node) == Some(identity.directory) => None,
        Membership::Empty => Some(CreateAnswer::Refused(CreateRefusal::DirectoryDiffers { ours: identity.directory })),
        Membership::Member { creation: ours, .. } if ours == creation => Some(CreateAnswer::Accepted),
        // It has joined already, under no name of the record's; whoever creates need not wait for it.
        Membership::Member {
            creation: ours,
            joined: true,
            ..
        } if ours.cluster() == creation.cluster() => Some(CreateAnswer::Accepted),
        Membership::Creating(ours) | Membership::Member { creation: ours, .. } => {
            Some(CreateAnswer::Refused(CreateRefusal::OtherCluster { ours: ours.cluster() }))
        }
    }
}

/// Whether two maps differ in nothing but the cluster id.
fn same_topology(one: &Map, other: &Map) -> bool {
    one.nodes() == other.nodes() && one.shards() == other.shards()
}
