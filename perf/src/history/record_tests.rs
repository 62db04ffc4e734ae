//! Lines: what is written can be read, what is read was or could have been written, nothing panics.

use super::*;
use proptest::prelude::*;

fn old() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(0u64..9)
}

fn operation_and_outcome() -> impl Strategy<Value = (Operation, Outcome)> {
    let value = || 1u64..9;
    let asked = || prop_oneof![Just(Old::NotAsked), old().prop_map(Old::Was)];
    prop_oneof![
        (value(), 0u64..9, asked()).prop_map(|(value, version, old)| (Operation::Set { value }, Outcome::Wrote { version, old })),
        (value(), 0u64..9).prop_map(|(value, version)| (Operation::Create { value }, Outcome::Exists { version })),
        (value(), old()).prop_map(|(value, old)| (Operation::Exchange { expected: 0, value }, Outcome::Mismatch { old })),
        (0u64..9, 0u64..9).prop_map(|(version, value)| (Operation::Get, Outcome::Found { version, value })),
        (0u64..9, old()).prop_map(|(version, old)| (
            Operation::Delete,
            Outcome::Wrote {
                version,
                old: Old::Was(old)
            }
        )),
        Just((Operation::Delete, Outcome::Missing)),
        Just((Operation::Get, Outcome::Failed)),
        value().prop_map(|value| (Operation::Create { value }, Outcome::Unknown)),
    ]
}

fn line(record: &Record) -> Vec<u8> {
    let mut line = Vec::new();
    record.write(&mut line).expect("a vector takes every byte");
    line
}

proptest! {
    #[test]
    fn what_is_written_is_read(process: u64, key: u64, (operation, outcome) in operation_and_outcome(), call in 0u64..1000, took in 0u64..1000) {
        let returned = (outcome != Outcome::Unknown).then_some(call + took);
        let record = Record { process, key, operation, call, returned, outcome };
        prop_assert_eq!(Record::parse(&line(&record)), Ok(record));
        prop_assert_eq!(record.to_string().into_bytes(), line(&record));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = Record::parse(&bytes);
    }

    #[test]
    fn any_fields_are_a_record_or_refused(
        op in prop_oneof![Just("get"), Just("set"), Just("create"), Just("cmpxchg"), Just("delete")],
        outcome in prop_oneof![Just("ok"), Just("found"), Just("missing"), Just("exists"), Just("mismatch"), Just("failed"), Just("unknown")],
        rest in "(,\"(value|expected|version|return)\":[0-9]{1,3}){0,4}(,\"old\":(null|[0-9]))?",
    ) {
        let text = format!("{{\"process\":1,\"key\":1,\"op\":\"{op}\",\"call\":1,\"outcome\":\"{outcome}\"{rest}}}");
        if let Ok(record) = Record::parse(text.as_bytes()) {
            prop_assert_eq!(Record::parse(&line(&record)), Ok(record));
        }
    }
}

#[test]
fn lines_that_mean_nothing_are_refused_by_name() {
    let refused = |rest: &str| {
        let text = format!("{{\"process\":1,\"key\":1,\"call\":5,{rest}}}");
        Record::parse(text.as_bytes()).expect_err(rest)
    };
    for (rest, error) in [
        (
            r#""op":"get","outcome":"found","return":9,"version":1"#,
            RecordError::Field("value"),
        ),
        (
            r#""op":"get","outcome":"missing","return":9,"version":1"#,
            RecordError::Field("version"),
        ),
        (r#""op":"get","outcome":"missing"#, RecordError::NotJson),
        (r#""op":"get","outcome":"missing""#, RecordError::Field("return")),
        (
            r#""op":"set","value":1,"outcome":"unknown","return":9"#,
            RecordError::Field("return"),
        ),
        (r#""op":"set","value":0,"outcome":"failed","return":9"#, RecordError::Field("value")),
        (r#""op":"set","value":1,"outcome":"failed","return":4"#, RecordError::Time),
        (r#""op":"set","value":1,"outcome":"missing","return":9"#, RecordError::Outcome),
        (r#""op":"delete","outcome":"ok","version":1,"return":9"#, RecordError::Outcome),
        (r#""op":"get","outcome":"unknown""#, RecordError::Outcome),
        (
            r#""op":"set","value":1,"outcome":"failed","return":9,"more":1"#,
            RecordError::NotJson,
        ),
    ] {
        assert_eq!(refused(rest), error, "{rest}");
    }
}
