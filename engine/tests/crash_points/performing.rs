//! What a deployment does to its nodes' files, and where crashes come in.

use margate_engine::core::event::Event;
use margate_net::ids::Incarnation;

use super::deployment::Deployment;
use super::judge::found;
use super::node::{Deed, Node};
use super::report::kind;
use super::snapshot::Snapshot;
use super::states::{Left, Stride, crash_states};

impl Deployment {
    /// Does something to a node's files; every crash around it is judged.
    pub(crate) fn perform(&mut self, at: usize, deed: &Deed) {
        self.effects += 1;
        if let Some((_, left)) = self.crash.take_if(|(effect, _)| *effect == self.effects) {
            return self.crash_one(at, deed, left);
        }
        let now = self.enumerator.as_ref().map(|_| {
            let snapshots = self.nodes.iter().map(|node| Snapshot::take(&node.folders.root));
            snapshots.collect::<Vec<_>>()
        });
        if self.early {
            self.nodes[at].ledger = self.nodes[at].ledger.with(deed);
        }
        let event = self.nodes[at].perform(deed);
        if let (Some(before), Some(mut enumerator)) = (now, self.enumerator.take()) {
            enumerator.judge(self, at, deed, &before);
            self.enumerator = Some(enumerator);
        }
        if !self.early {
            self.nodes[at].ledger = self.nodes[at].ledger.with(deed);
        }
        self.nodes[at].events.push_back(event);
    }

    /// A node crashes with an effect, if that may leave this, and starts again on it. What was said to it meanwhile is lost.
    fn crash_one(&mut self, at: usize, deed: &Deed, left: Left) {
        let mut node = self.nodes.remove(at);
        let before = Snapshot::take(&node.folders.root);
        let event = node.perform(deed);
        let states = crash_states(&before, &Snapshot::take(&node.folders.root), Stride::NONE);
        let states: Vec<_> = states.into_iter().filter(|(kind, _)| *kind == left).collect();
        let Some((_, state)) = states.get(states.len() / 2) else {
            node.events.push_back(event);
            return self.nodes.insert(at, node);
        };
        self.crashed = Some(kind(&node, deed));
        let (root, config, incarnation) = (node.folders.root.clone(), node.config.clone(), node.incarnation);
        // It must be gone before its index is opened anew.
        drop(node);
        state.put(&root);
        let ledger = found(&root, &config).expect("a crash damages nothing");
        let mut node = Node::open(&root, config, ledger).expect("a node starts after a crash");
        node.incarnation = Incarnation(incarnation.0 + 1);
        let peer = node.name();
        for other in &mut self.nodes {
            other.events.push_back(Event::PeerLost { peer });
        }
        self.nodes.insert(at, node);
    }
}
