//! `status` for people: tables as wide as a screen, and below them what is too long for a column.

use comfy_table::Table;
use margate_client::CoreStatusReply;
use margate_net::ids::{CoreId, NodeId};
use margate_net::message::{CoreStatus, ReplicaStatus};

use super::{Overview, role};
use crate::cmd::cores::{no_answer, obstacle, room};
use crate::cmd::spans;
use crate::error::Failure;
use crate::key::show;
use crate::output::{Output, plain_table};
use crate::units::show_size;

/// A table of shards, one of cores, and why some do not answer.
pub(super) fn print_text(output: &mut Output, overview: &Overview<'_>, replies: &[CoreStatusReply]) -> Result<(), Failure> {
    output.line(&shards(overview).to_string())?;
    output.line("")?;
    output.line(&cores(replies).to_string())?;
    print_why_down(output, replies)
}

/// A table of the spans that each core has measured, and why some do not answer.
pub(super) fn print_stages(output: &mut Output, replies: &[CoreStatusReply]) -> Result<(), Failure> {
    output.line(&stages(replies).to_string())?;
    print_why_down(output, replies)
}

fn print_why_down(output: &mut Output, replies: &[CoreStatusReply]) -> Result<(), Failure> {
    let why = why_down(replies);
    if !why.is_empty() {
        output.line("")?;
    }
    why.iter().try_for_each(|line| output.line(line))
}

pub(super) fn stages(replies: &[CoreStatusReply]) -> Table {
    let mut table = plain_table(&[&["node", "core"][..], &spans::COLUMNS].concat());
    let answered = replies.iter().filter_map(|reply| reply.status.as_ref().ok());
    for status in answered {
        for measured in status.measures.iter().flat_map(|measures| spans::measured(&measures.times)) {
            let who = [status.node.to_string(), status.core.to_string()];
            table.add_row(who.into_iter().chain(spans::cells(&measured)));
        }
    }
    table
}

pub(super) fn shards(overview: &Overview<'_>) -> Table {
    let mut table = plain_table(&[
        "shard", "from", "to", "leader", "node", "core", "replica", "role", "term", "commit", "applied", "last",
    ]);
    for view in &overview.shards {
        let to = if view.shard.high.is_empty() {
            "(end)".to_owned()
        } else {
            show(&view.shard.high)
        };
        let leader = view.leader.map_or_else(|| "none".to_owned(), |node| format!("node {node}"));
        let mut first = [view.shard.id.to_string(), show(&view.shard.low), to, leader];
        if view.replicas.is_empty() && view.silent.is_empty() {
            table.add_row(first.iter().map(String::as_str).chain(["no core has a replica"]));
        }
        let known = view.replicas.iter().map(|(core, replica)| replica_columns(core, replica));
        for rest in known.chain(view.silent.iter().map(|place| unknown_columns(*place))) {
            // A shard's own columns are shown once, on its first line.
            table.add_row(std::mem::take(&mut first).into_iter().chain(rest));
        }
    }
    table
}

fn replica_columns(core: &CoreStatus, replica: &ReplicaStatus) -> [String; 8] {
    [
        core.node.to_string(),
        core.core.to_string(),
        replica.replica.to_string(),
        role(replica.role).to_owned(),
        replica.term.to_string(),
        replica.commit.to_string(),
        replica.applied.to_string(),
        replica.last.to_string(),
    ]
}

fn unknown_columns((node, core): (NodeId, CoreId)) -> [String; 8] {
    let unknown = ["-", "unknown", "-", "-", "-", "-"].map(str::to_owned);
    let [replica, role, term, commit, applied, last] = unknown;
    [node.to_string(), core.to_string(), replica, role, term, commit, applied, last]
}

pub(super) fn cores(replies: &[CoreStatusReply]) -> Table {
    let mut table = plain_table(&[
        "node",
        "core",
        "address",
        "up",
        "log",
        "ready",
        "index",
        "overlay rows",
        "segment waits",
        "disk free",
        "disk",
        "refused for it",
    ]);
    for reply in replies {
        let who = [reply.node.to_string(), reply.core.to_string(), reply.address.to_string()];
        match &reply.status {
            Ok(status) => table.add_row(who.into_iter().chain([
                format!("{} s", status.uptime_secs),
                show_size(status.log_bytes),
                show_size(status.log_ready_bytes),
                show_size(status.index_bytes),
                status.overlay_rows.to_string(),
                status.segment_waits.to_string(),
                show_size(status.disk.free_bytes),
                room(status.disk.room).to_owned(),
                status.writes_refused.to_string(),
            ])),
            Err(_) => table.add_row(who.into_iter().chain(["down".to_owned()])),
        };
    }
    table
}

/// What stands in the way of an answer, by core.
pub(super) fn why_down(replies: &[CoreStatusReply]) -> Vec<String> {
    let why = |reply: &CoreStatusReply| {
        let error = reply.status.as_ref().err()?;
        Some(no_answer(reply.node, reply.core, &obstacle(error)))
    };
    replies.iter().filter_map(why).collect()
}
