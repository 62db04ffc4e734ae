//! What a deployment does to its nodes' files, and where crashes come in.

use margate_engine::core::event::Event;
use margate_net::ids::Incarnation;

use super::deployment::{Crashes, Deployment};
use super::files::deployment::Hand;
use super::files::ledger::found;
use super::files::node::{Deed, Node};
use super::report::kind;
use super::snapshot::Snapshot;
use super::states::{Left, Stride, crash_states};

impl Hand for Crashes {
    /// Every crash around it is judged.
    fn perform(deployment: &mut Deployment, at: usize, deed: &Deed) {
        deployment.hand.effects += 1;
        let effects = deployment.hand.effects;
        match deployment.hand.crash.take_if(|(effect, _)| *effect == effects) {
            Some((_, left)) => deployment.crash_one(at, deed, left),
            None => deployment.perform(at, deed),
        }
    }
}

impl Deployment {
    fn perform(&mut self, at: usize, deed: &Deed) {
        let now = self.hand.enumerator.as_ref().map(|_| {
            let snapshots = self.nodes.iter().map(|node| Snapshot::take(&node.folders.root));
            snapshots.collect::<Vec<_>>()
        });
        if self.hand.early {
            self.nodes[at].ledger = self.nodes[at].ledger.with(deed);
        }
        let event = self.nodes[at].perform(deed);
        if let (Some(before), Some(mut enumerator)) = (now, self.hand.enumerator.take()) {
            enumerator.judge(self, at, deed, &before);
            self.hand.enumerator = Some(enumerator);
        }
        if !self.hand.early {
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
        self.hand.crashed = Some(kind(&node, deed));
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
