//! What happened between two looks, printed once: tables for people, one document for programs.

use serde_json::Value;

use super::between::{Between, CoreRow, Did, Rates};
use crate::cmd::cores::{self, no_answer, room};
use crate::cmd::is_text;
use crate::cmd::spans::{self, Latency, show_nanos};
use crate::error::Failure;
use crate::output::{Object, Output, plain_table};
use crate::units::show_size;

/// Columns of the table of cores.
pub(super) const CORE_COLUMNS: [&str; 17] = [
    "node",
    "core",
    "leads",
    "writes/s",
    "p50",
    "p99",
    "reads/s",
    "p50",
    "p99",
    "refused/s",
    "flushes/s",
    "p99",
    "log/s",
    "log",
    "disk free",
    "turn p99",
    "stalls",
];

/// Prints it as the output asks for.
pub(super) fn print(output: &mut Output, between: &Between) -> Result<(), Failure> {
    if !is_text(output) {
        return output.object(document(between));
    }
    output.line(&headline(between))?;
    let mut table = plain_table(&CORE_COLUMNS);
    table.add_rows(between.cores.iter().map(core_cells));
    output.line(&format!("\n{table}\n"))?;
    let mut table = plain_table(&spans::COLUMNS);
    table.add_rows(span_rows(between));
    output.line(&table.to_string())?;
    let why = why_down(between);
    why.iter().try_for_each(|line| output.line(line))
}

/// The deployment in one line.
pub(super) fn headline(between: &Between) -> String {
    let (writes, reads, refused) = between.totals();
    format!(
        "cluster {}, {} cores, {} shards, {} without leader; in {} ms: {writes} writes/s, {reads} reads/s, {refused} refused/s",
        between.cluster,
        between.cores.len(),
        between.shards,
        between.leaderless,
        between.span.as_millis(),
    )
}

/// A row of the table of cores.
pub(super) fn core_cells(row: &CoreRow) -> Vec<String> {
    let mut cells = vec![row.node.to_string(), row.core.to_string()];
    match &row.did {
        Err(_) => cells.push("down".to_owned()),
        Ok(did) => cells.extend(did_cells(did)),
    }
    cells
}

fn did_cells(did: &Did) -> Vec<String> {
    let unknown = || "-".to_owned();
    let of = |value: &dyn Fn(&Rates) -> String| did.rates.as_ref().map_or_else(unknown, value);
    let p50 = |latency: &Option<Latency>| latency.map_or_else(unknown, |latency| show_nanos(latency.p50_ns));
    let p99 = |latency: &Option<Latency>| latency.map_or_else(unknown, |latency| show_nanos(latency.p99_ns));
    vec![
        format!("{} of {}", did.leads, did.replicas),
        of(&|rates| rates.writes.to_string()),
        of(&|rates| p50(&rates.write)),
        of(&|rates| p99(&rates.write)),
        of(&|rates| rates.reads.to_string()),
        of(&|rates| p50(&rates.read)),
        of(&|rates| p99(&rates.read)),
        of(&|rates| rates.refused.to_string()),
        of(&|rates| rates.flushes.to_string()),
        of(&|rates| p99(&rates.flush)),
        of(&|rates| show_size(rates.log_bytes)),
        show_size(did.log_bytes),
        format!("{} {}", show_size(did.disk.free_bytes), room(did.disk.room)),
        of(&|rates| p99(&rates.turn)),
        of(&|rates| rates.stalls.to_string()),
    ]
}

/// The rows of the table of spans.
pub(super) fn span_rows(between: &Between) -> impl Iterator<Item = Vec<String>> + '_ {
    between.latencies.iter().map(|measured| spans::cells(measured).into())
}

/// What stands in the way of an answer, by core.
pub(super) fn why_down(between: &Between) -> Vec<String> {
    let why = |row: &CoreRow| {
        let why = row.did.as_ref().err()?;
        Some(no_answer(row.node, row.core, why))
    };
    between.cores.iter().filter_map(why).collect()
}

fn document(between: &Between) -> Object {
    let cores: Vec<Value> = between.cores.iter().map(|row| core_object(row).into()).collect();
    let millis = u64::try_from(between.span.as_millis()).unwrap_or(u64::MAX);
    Object::default()
        .field("cluster", between.cluster.to_string())
        .field("interval_ms", millis)
        .field("shards", between.shards)
        .field("shards_without_leader", between.leaderless)
        .field("cores", cores)
        .field("spans", spans::objects(&between.latencies))
}

fn core_object(row: &CoreRow) -> Object {
    let who = cores::object(row.node, row.core);
    let did = match &row.did {
        Err(why) => return who.field("error", why.as_str()),
        Ok(did) => did,
    };
    let who = who
        .field("leads", did.leads)
        .field("replicas", did.replicas)
        .field("apply_lag_entries", did.lag)
        .field("log_bytes", did.log_bytes)
        .field("disk_free_bytes", did.disk.free_bytes)
        .field("disk", room(did.disk.room))
        .field("connections", did.connections);
    match &did.rates {
        None => who,
        Some(rates) => rates_fields(who, rates),
    }
}

fn rates_fields(core: Object, rates: &Rates) -> Object {
    let p50 = |latency: &Option<Latency>| latency.map(|latency| latency.p50_ns);
    let p99 = |latency: &Option<Latency>| latency.map(|latency| latency.p99_ns);
    core.field("writes_per_sec", rates.writes)
        .field("reads_per_sec", rates.reads)
        .field("refused_per_sec", rates.refused)
        .field("write_p50_ns", p50(&rates.write))
        .field("write_p99_ns", p99(&rates.write))
        .field("read_p50_ns", p50(&rates.read))
        .field("read_p99_ns", p99(&rates.read))
        .field("flushes_per_sec", rates.flushes)
        .field("flush_p99_ns", p99(&rates.flush))
        .field("log_bytes_per_sec", rates.log_bytes)
        .field("peer_bytes_per_sec", rates.peer_bytes)
        .field("turn_p99_ns", p99(&rates.turn))
        .field("stalls", rates.stalls)
}

#[cfg(test)]
mod tests {
    use super::super::between::tests::two_seconds;
    use super::*;

    #[test]
    fn tables_and_document_say_the_same() {
        let between = two_seconds();
        let cells = core_cells(&between.cores[0]);
        assert_eq!(cells.len(), CORE_COLUMNS.len());
        assert_eq!(cells[..5], ["1", "0", "1 of 2", "500", "3.14 ms"]);
        assert_eq!(core_cells(&between.cores[1])[3], "-");
        assert_eq!(core_cells(&between.cores[2]), ["3", "0", "down"]);
        assert!(headline(&between).ends_with("in 2000 ms: 500 writes/s, 5 reads/s, 2 refused/s"));
        assert!(why_down(&between)[0].starts_with("node 3, core 0, no answer: "));
        let document = Value::from(document(&between));
        assert_eq!(document["cores"][0]["writes_per_sec"], 500);
        assert_eq!(document["cores"][0]["read_p50_ns"], Value::Null);
        assert_eq!(document["cores"][1].get("writes_per_sec"), None);
        assert!(document["cores"][2]["error"].is_string());
        assert_eq!(document["spans"][0]["name"], "set");
        let rows: Vec<_> = span_rows(&between).collect();
        assert!(rows.iter().all(|row| row.len() == spans::COLUMNS.len()) && rows.len() == 2);
    }
}
