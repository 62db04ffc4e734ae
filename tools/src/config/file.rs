//! The configuration file: TOML in six sections, unknown keys refused with their line.
//!
//! What is read here is only what the file says; [`super::settings`] merges it with the defaults, the
//! environment and the flags.

use std::fmt::Formatter;
use std::path::{Path, PathBuf};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use toml::de::{DeTable, DeValue};

use crate::suggest::nearest;

/// A whole configuration file. Every key may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct FileConfig {
    /// This node.
    pub(crate) node: NodeSection,
    /// All nodes together; the same in every node's file.
    pub(crate) cluster: ClusterSection,
    /// Timing; the same in every node's file.
    pub(crate) raft: RaftSection,
    /// Files on disk.
    pub(crate) storage: StorageSection,
    /// Looking at the node while it runs.
    pub(crate) admin: AdminSection,
    /// What is logged.
    pub(crate) log: LogSection,
}

/// `[node]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct NodeSection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pin: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpus: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) insecure: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) volatile: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<Vec<String>>,
}

/// `[cluster]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct ClusterSection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shards: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bounds: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replication: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nodes: Option<Vec<ClusterNode>>,
}

/// One element of `cluster.nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct ClusterNode {
    /// The node's id, from 1.
    pub(crate) id: u64,
    /// Address of each of its cores.
    pub(crate) cores: Vec<String>,
}

/// `[raft]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct RaftSection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tick: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) election: Option<String>,
}

/// `[storage]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct StorageSection {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "size")]
    pub(crate) segment_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "size")]
    pub(crate) index_map_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "size")]
    pub(crate) reserve: Option<String>,
}

/// `[admin]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct AdminSection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stall: Option<String>,
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct LogSection {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<String>,
}

/// A size may be a bare number of bytes; it becomes text as from a flag, and is judged with it.
fn size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    struct Size;
    impl Visitor<'_> for Size {
        type Value = String;

        fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
            write!(f, "a size like \"64MiB\", or a number of bytes")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_i64<E: Error>(self, bytes: i64) -> Result<String, E> {
            Ok(bytes.to_string())
        }
    }
    from.deserialize_any(Size).map(Some)
}

/// Why a file is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It could not be read.
    #[error("cannot read the configuration {}: {source}; check the path given with --config", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not TOML, or a value has the wrong type.
    #[error("{}, line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What the parser said.
        message: String,
    },
    /// A key does not exist.
    #[error("{}, line {line}: unknown key {key:?} {place}; {help}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What was written.
        key: String,
        /// The section it was written in.
        place: String,
        /// The nearest key that exists, or all of them.
        help: String,
    },
}

/// Reads and checks a configuration file.
pub(crate) fn read(path: &Path) -> Result<FileConfig, FileError> {
    let text = std::fs::read_to_string(path).map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

/// Parses a configuration's text; `path` is only for messages.
pub(crate) fn parse(path: &Path, text: &str) -> Result<FileConfig, FileError> {
    let syntax = |error: toml::de::Error| FileError::Syntax {
        path: path.to_owned(),
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    };
    let table = DeTable::parse(text).map_err(syntax)?;
    check_keys(path, text, table.get_ref())?;
    toml::from_str(text).map_err(syntax)
}

/// Every section and its keys: the one list against which files are checked.
const SECTIONS: [(&str, &[&str]); 6] = [
    ("node", &["id", "data", "pin", "cpus", "insecure", "volatile", "listen"]),
    ("cluster", &["shards", "bounds", "replication", "nodes"]),
    ("raft", &["tick", "election"]),
    ("storage", &["segment_size", "index_map_size", "reserve"]),
    ("admin", &["listen", "stall"]),
    ("log", &["level", "format"]),
];
const CLUSTER_NODE: &[&str] = &["id", "cores"];

fn check_keys(path: &Path, text: &str, root: &DeTable<'_>) -> Result<(), FileError> {
    let sections = SECTIONS.map(|(name, _)| name);
    check_table(path, text, root, "at the top level", &sections)?;
    for (section, value) in root {
        let keys = SECTIONS
            .iter()
            .find(|(name, _)| *name == section.get_ref())
            .map_or(&[][..], |(_, keys)| keys);
        let Some(table) = value.get_ref().as_table() else { continue };
        check_table(path, text, table, &format!("in [{}]", section.get_ref()), keys)?;
        for node in nodes_in(table) {
            check_table(path, text, node, "in cluster.nodes", CLUSTER_NODE)?;
        }
    }
    Ok(())
}

/// The tables of a section's `nodes` list.
fn nodes_in<'a, 'i>(section: &'a DeTable<'i>) -> impl Iterator<Item = &'a DeTable<'i>> {
    section
        .iter()
        .filter(|(key, _)| key.get_ref() == "nodes")
        .filter_map(|(_, value)| value.get_ref().as_array())
        .flat_map(|array| array.iter())
        .filter_map(|item| DeValue::as_table(item.get_ref()))
}

fn check_table(path: &Path, text: &str, table: &DeTable<'_>, place: &str, known: &[&str]) -> Result<(), FileError> {
    let Some(unknown) = table.keys().find(|key| !known.contains(&key.get_ref().as_ref())) else {
        return Ok(());
    };
    let key = unknown.get_ref().to_string();
    Err(FileError::UnknownKey {
        path: path.to_owned(),
        line: line_of(text, unknown.span().start),
        help: nearest(&key, known.iter().copied()).map_or_else(
            || format!("the keys there are {}", known.join(", ")),
            |near| format!("did you mean {near:?}?"),
        ),
        key,
        place: place.to_owned(),
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(text: &str) -> String {
        parse(Path::new("n.toml"), text).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_full_file_is_read() {
        let text = r#"
            [node]
            id = 2
            data = "/data"
            pin = false
            [cluster]
            bounds = ["m", "0xff"]
            nodes = [{ id = 1, cores = ["127.0.0.1:7400"] }, { id = 2, cores = ["127.0.0.1:7500"] }]
            [raft]
            tick = "50ms"
        "#;
        let config = parse(Path::new("n.toml"), text).expect("valid");
        assert_eq!(config.node.id, Some(2));
        assert_eq!(config.cluster.nodes.map(|nodes| nodes.len()), Some(2));
        assert_eq!(config.raft.tick.as_deref(), Some("50ms"));
    }

    #[test]
    fn unknown_keys_are_refused_with_line_and_suggestion() {
        assert_eq!(
            refused("[raft]\ntick = \"1s\"\nelecton = \"2s\"\n"),
            "n.toml, line 3: unknown key \"electon\" in [raft]; did you mean \"election\"?"
        );
        assert_eq!(
            refused("[rafft]\n"),
            "n.toml, line 1: unknown key \"rafft\" at the top level; did you mean \"raft\"?"
        );
        assert_eq!(
            refused("[cluster]\nnodes = [\n{ id = 1, core = [] }]"),
            "n.toml, line 3: unknown key \"core\" in cluster.nodes; did you mean \"cores\"?"
        );
        assert_eq!(
            refused("[log]\ncolour = true"),
            "n.toml, line 2: unknown key \"colour\" in [log]; the keys there are level, format"
        );
    }

    #[test]
    fn wrong_types_and_syntax_name_their_line() {
        assert!(
            refused("[node]\nid = \"one\"").starts_with("n.toml, line 2: "),
            "{}",
            refused("[node]\nid = \"one\"")
        );
        assert!(refused("[node]\n\nid = ").starts_with("n.toml, line 3: "));
        assert!(refused("node = 3").starts_with("n.toml, line 1: "));
    }

    #[test]
    fn sizes_are_texts_or_numbers_of_bytes() {
        let storage = |value: &str| parse(Path::new("n.toml"), &format!("[storage]\nsegment_size = {value}\n")).map(|file| file.storage);
        for (value, text) in [
            ("\"4MiB\"", "4MiB"),
            ("\"4194304\"", "4194304"),
            ("4194304", "4194304"),
            ("4_194_304", "4194304"),
            ("-1", "-1"),
        ] {
            assert_eq!(storage(value).expect(value).segment_size.as_deref(), Some(text));
        }
        let said = refused("[storage]\n\nsegment_size = true\n");
        assert!(said.starts_with("n.toml, line 3: ") && said.contains("a number of bytes"), "{said}");
    }

    #[test]
    fn the_list_of_keys_matches_the_structs() {
        let full = FileConfig {
            node: NodeSection {
                id: Some(1),
                data: Some("d".into()),
                pin: Some(true),
                cpus: Some(vec![0]),
                insecure: Some(false),
                volatile: Some(true),
                listen: Some(vec!["127.0.0.1:1".into()]),
            },
            cluster: ClusterSection {
                shards: Some(1),
                bounds: Some(vec![]),
                replication: Some(1),
                nodes: Some(vec![ClusterNode { id: 1, cores: vec![] }]),
            },
            raft: RaftSection {
                tick: Some("1s".into()),
                election: Some("1s".into()),
            },
            storage: StorageSection {
                segment_size: Some("1MiB".into()),
                index_map_size: Some("1GiB".into()),
                reserve: Some("200MiB".into()),
            },
            admin: AdminSection {
                listen: Some("off".into()),
                stall: Some("50ms".into()),
            },
            log: LogSection {
                level: Some("info".into()),
                format: Some("text".into()),
            },
        };
        let text = toml::to_string(&full).expect("plain data");
        assert_eq!(parse(Path::new("n.toml"), &text).expect("every field is a known key"), full);
        let written: usize = toml::from_str::<toml::Table>(&text)
            .expect("valid")
            .values()
            .filter_map(toml::Value::as_table)
            .map(toml::Table::len)
            .sum();
        assert_eq!(written, SECTIONS.iter().map(|(_, keys)| keys.len()).sum::<usize>());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([\\[\\]a-z=\"{},0-9. \n]{0,80})|(.{0,80})") {
            let _ = parse(Path::new("n.toml"), &text);
        }
    }
}
