//! A node's creation, step by step: its identity, its folders, the first segment with its replicas' checkpoints (none where it
//! joins a deployment), and the identity that says that all of it is there.
//!
//! A start that finds no such identity begins the creation of its logs anew, for nobody has voted on them.

use std::path::Path;

use margate_engine::bootstrap::identity::{Creation, Identity, Membership};
use margate_engine::core::replay::CoreConfig;
use margate_engine::runtime::directory::DataDirectory;
use margate_engine::runtime::node::create_log;
use margate_net::ids::{CoreId, DirectoryId, NodeId};

use super::deployment::{config, map};
use super::files::ledger::found;
use super::files::node::Node;
use super::place::Places;
use super::report::Enumerator;
use super::snapshot::{Item, Snapshot};
use super::states::{Left, Stride, crash_states};

const NODE: NodeId = NodeId(1);
const DIRECTORY: DirectoryId = DirectoryId(1);
/// Bytes a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Creates a node, perhaps one that joins, and judges every crash on the way.
pub(crate) fn enumerate(joined: bool) -> Enumerator {
    let home = Places::default().take();
    let config = CoreConfig {
        joined,
        ..config(&map(1), NODE)
    };
    let root = home.path().join("data");
    let mut enumerator = Enumerator::new(Stride::NONE);
    std::fs::create_dir_all(&root).expect("a new folder");
    let mut step = |name, act: &dyn Fn()| {
        let before = Snapshot::take(&root);
        act();
        let after = Snapshot::take(&root);
        enumerator.point(name);
        let renames = half_written(&before, &after).map(|state| (Left::Torn, state));
        for (left, state) in crash_states(&before, &after, Stride::NONE).into_iter().chain(renames) {
            let judged = check(&state, &config).map_err(|violation| format!("{name} {left}: {violation}"));
            enumerator.judged(name, left, judged);
        }
    };
    let member = |created| member(&config, created);
    step("identity", &|| drop(open(&root).expect("a new directory")));
    step("identity", &|| store(&root, &member(false)));
    step("folders", &|| {
        open(&root).expect("its own").0.make_core(CoreId(0)).expect("new folders")
    });
    step("log", &|| create(&root, &config).expect("a new log"));
    step("member", &|| store(&root, &member(true)));
    enumerator
}

/// States in which the new identity is on its way to be renamed.
fn half_written<'a>(before: &'a Snapshot, after: &Snapshot) -> impl Iterator<Item = Snapshot> + use<'a> {
    let name = Path::new("IDENTITY");
    let new = after.file(name).filter(|new| before.file(name) != Some(new)).map(<[u8]>::to_vec);
    let lengths = new
        .iter()
        .flat_map(|new| (0..=new.len()).step_by(SECTOR_BYTES).chain([new.len()]))
        .collect::<Vec<_>>();
    lengths.into_iter().map(move |length| {
        let mut state = before.clone();
        let bytes = new.as_ref().map_or_else(Vec::new, |new| new[..length].to_vec());
        state.0.insert("IDENTITY.new".into(), Item::File(bytes));
        state
    })
}

fn open(root: &Path) -> Result<(DataDirectory, Identity), String> {
    DataDirectory::open(root, NODE, DIRECTORY).map_err(|error| error.to_string())
}

fn store(root: &Path, identity: &Identity) {
    let (directory, _) = open(root).expect("its own");
    directory.store(identity).expect("the disk takes it");
}

fn member(config: &CoreConfig, cores_created: bool) -> Identity {
    let creation = Creation {
        directories: vec![(NODE, DIRECTORY)],
        map: config.map.clone(),
    };
    Identity {
        directory: DIRECTORY,
        node: NODE,
        membership: Membership::Member {
            creation,
            cores_created,
            joined: config.joined,
        },
    }
}

fn create(root: &Path, config: &CoreConfig) -> Result<(), String> {
    let (directory, _) = open(root)?;
    let map = (!config.joined).then_some(&config.map);
    create_log(&directory.log(CoreId(0)), config.log, map).map_err(|error| error.to_string())
}

/// A start goes on where the creation ended, and ends with a node that runs.
fn check(state: &Snapshot, config: &CoreConfig) -> Result<(), String> {
    let crashed = Places::default().take();
    let root = crashed.path().join("data");
    state.put(&root);
    let (directory, mut identity) = open(&root)?;
    if identity.membership == Membership::Empty {
        identity = member(config, false);
        directory.store(&identity).map_err(|error| error.to_string())?;
    }
    drop(directory);
    let Membership::Member { cores_created, .. } = identity.membership else {
        return Err("the identity is none that was stored".to_owned());
    };
    if !cores_created {
        let (directory, _) = open(&root)?;
        directory.make_core(CoreId(0)).map_err(|error| error.to_string())?;
        drop(directory);
        create(&root, config)?;
        store(&root, &member(config, true));
    }
    let ledger = found(&root, config)?;
    let node = Node::open(&root, config.clone(), ledger)?;
    match node.core.replicas().count() {
        0 if config.joined => Ok(()),
        1 if !config.joined => Ok(()),
        count => Err(format!("{count} replicas were started")),
    }
}
