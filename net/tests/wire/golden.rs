//! What `docs/protocol.md` says is so; a change here is a change of the protocol.

use bytes::Bytes;
use margate_net::error::{Fault, Refusal, RetryClass, WireRefusal};
use margate_net::ids::{RangeEpoch, ShardId};
use margate_net::message::{Operation, Precondition, Request, Returning};

use crate::words::written;

const PROTOCOL: &str = include_str!("../../../docs/protocol.md");

#[test]
fn a_set_is_these_bytes() {
    let request = Request {
        id: 7,
        shard: ShardId(2),
        range_epoch: RangeEpoch(1),
        timeout_ms: 5_000,
        operation: Operation::Set {
            key: Bytes::from_static(b"key"),
            value: Bytes::from_static(b"value"),
            precondition: Precondition::Absent,
            returning: Returning::default(),
        },
    };
    let bytes = written(|writer, out| writer.requests(out, &[request]));
    let lines: Vec<_> = bytes.chunks(16).map(hexadecimal).collect();
    let drawn = format!("```text\n{}\n```", lines.join("\n"));
    assert!(PROTOCOL.contains(&drawn), "docs/protocol.md does not draw this frame:\n{drawn}");
}

fn hexadecimal(line: &[u8]) -> String {
    line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_table_of_refusals_is_that_of_the_code() {
    for code in 1..=17 {
        let refusal = Refusal::from_wire(WireRefusal { code, a: 1, b: 1 }).expect("codes are dense");
        let name = format!("{refusal:?}");
        let name = name.split([' ', '(']).next().unwrap_or_default();
        let retry = match refusal.retry() {
            RetryClass::Never => "never",
            RetryClass::NowWithNewMap => "now, with new map or leader",
            RetryClass::AfterMs(_) => "after ",
            RetryClass::OutcomeUnknown => "it may have been executed",
        };
        let fault = match refusal.fault() {
            Fault::Caller => "caller",
            Fault::State => "nobody: state",
            Fault::Route => "route",
            Fault::Server => "server",
        };
        let row = PROTOCOL.lines().find(|line| line.starts_with(&format!("| {code} | {name} |")));
        let row = row.unwrap_or_else(|| panic!("no row for {code} {name}"));
        assert!(row.contains(&format!("| {fault} | {retry}")), "{row}");
    }
    let beyond = Refusal::from_wire(WireRefusal { code: 18, a: 1, b: 1 });
    assert!(beyond.is_err(), "docs/protocol.md lacks {beyond:?}");
}
