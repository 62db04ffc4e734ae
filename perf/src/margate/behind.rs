//! Nodes behind proxies: each listens at one address and is reached at another, so `margate dev` cannot start them.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::dev::folder_of;
use crate::child::Child;
use crate::error::PerfError;

/// A deployment to be started: node 1 is the first of each list.
#[derive(Debug)]
pub(crate) struct Behind<'a> {
    /// The `margate` program.
    pub(crate) program: PathBuf,
    /// The deployment's folder.
    pub(crate) data: &'a Path,
    /// Shards.
    pub(crate) shards: u16,
    /// Where the nodes listen.
    pub(crate) listens: &'a [SocketAddr],
    /// Where everybody reaches them.
    pub(crate) reached: &'a [SocketAddr],
    /// MiB in each segment of the log, unless as usual.
    pub(crate) segment_mib: Option<u32>,
}

impl Behind<'_> {
    /// Writes a node's configuration; the command line that starts it.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub(crate) fn prepare(&self, node: u64, listens: SocketAddr) -> Result<Vec<String>, PerfError> {
        let folder = folder_of(self.data, node);
        fs::create_dir_all(&folder).map_err(PerfError::file(&folder))?;
        let file = folder.join("node.toml");
        fs::write(&file, self.config(node, &folder, listens)).map_err(PerfError::file(&file))?;
        let words = [&self.program.display() as &dyn ToString, &"node", &"--config", &file.display()];
        Ok(words.map(ToString::to_string).into())
    }

    fn config(&self, node: u64, folder: &Path, listens: SocketAddr) -> String {
        let nodes = self.reached.iter().zip(1u64..);
        let nodes: Vec<String> = nodes
            .map(|(reached, id)| format!("{{ id = {id}, cores = [\"{reached}\"] }}"))
            .collect();
        // A string of JSON is one of TOML too.
        let data = serde_json::Value::from(folder.join("data").to_string_lossy().into_owned());
        let segments = self.segment_mib.map(|mib| format!("\n[storage]\nsegment_size = \"{mib}MiB\"\n"));
        format!(
            "[node]\nid = {node}\ndata = {data}\npin = false\nlisten = [\"{listens}\"]\n\n\
             [cluster]\nshards = {}\nnodes = [{}]\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n[log]\nlevel = \"warn\"\n{}",
            self.shards,
            nodes.join(", "),
            segments.unwrap_or_default()
        )
    }
}

/// Starts a node; its output goes to `talk`.
///
/// # Errors
/// The program is not there.
pub(crate) fn spawn(words: &[String], more: &[&str], talk: &Path) -> Result<Child, PerfError> {
    let (program, rest) = words
        .split_first()
        .map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
    let mut command = Command::new(program);
    command.args(rest).args(more);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MARGATE_")) {
        command.env_remove(name);
    }
    Child::spawn(&mut command, talk).map_err(|source| PerfError::Start {
        program: program.to_owned(),
        source,
        advice: "build it with `cargo build --release`, or pass --margate",
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_node_is_told_where_it_listens_and_where_all_are_reached() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let behind = Behind {
            program: PathBuf::from("/x/margate"),
            data: folder.path(),
            shards: 4,
            listens: &[address(1), address(2)],
            reached: &[address(3), address(4)],
            segment_mib: Some(4),
        };
        let words = behind.prepare(2, address(2)).expect("the folder is writable");
        assert_eq!(words[..3], ["/x/margate", "node", "--config"]);
        let text = fs::read_to_string(&words[3]).expect("it was written");
        assert!(text.contains("id = 2\n") && text.contains("listen = [\"127.0.0.1:2\"]"), "{text}");
        assert!(
            text.contains("{ id = 1, cores = [\"127.0.0.1:3\"] }, { id = 2, cores = [\"127.0.0.1:4\"] }"),
            "{text}"
        );
        assert!(text.ends_with("[storage]\nsegment_size = \"4MiB\"\n"), "{text}");
    }
}
