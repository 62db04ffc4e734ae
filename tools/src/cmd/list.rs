//! `margate list`: pages are fetched and printed one after the other, so memory stays bounded.

use bytes::Bytes;
use margate_client::{Client, Page};
use margate_net::message::Row;
use serde_json::Value;

use crate::args::{ListArgs, OutputFormat};
use crate::error::Failure;
use crate::key::show;
use crate::output::{Object, Output};

pub(crate) async fn run(client: &Client, output: &mut Output, args: &ListArgs) -> Result<(), Failure> {
    let mut rows = Rows { output, printed: 0 };
    let Some(mut span) = Span::of(args) else {
        return rows.finish();
    };
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let page = fetch(client, args, &span, left).await?;
        left = left.saturating_sub(page.rows.len() as u64);
        for row in &page.rows {
            rows.print(row)?;
        }
        let Some(resume) = page.resume else { break };
        if args.reverse {
            span.high = resume;
        } else {
            span.low = resume;
        }
    }
    rows.finish()
}

async fn fetch(client: &Client, args: &ListArgs, span: &Span, left: u64) -> Result<Page, Failure> {
    let rows = usize::try_from(left).unwrap_or(PAGE_ROWS).min(PAGE_ROWS);
    let mut request = client.list(span.low.clone(), span.high.clone()).limit(rows);
    if args.reverse {
        request = request.reverse();
    }
    if args.keys_only {
        request = request.keys_only();
    }
    if args.stale {
        request = request.stale();
    }
    Ok(request.await?)
}

/// What is still to be listed: `[low, high)`, an empty `high` is the end.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    low: Bytes,
    high: Bytes,
}

impl Span {
    /// The keys asked for; `None` if there can be none.
    fn of(args: &ListArgs) -> Option<Self> {
        let prefix = args.prefix.as_ref().map_or_else(Bytes::new, |key| key.0.clone());
        let mut span = Self {
            high: after_prefix(&prefix),
            low: prefix,
        };
        if let Some(from) = args.from.as_ref().map(|key| &key.0) {
            if args.reverse {
                span.end_at(after(from));
            } else if *from > span.low {
                span.low = from.clone();
            }
        }
        (span.high.is_empty() || span.low < span.high).then_some(span)
    }

    fn end_at(&mut self, high: Bytes) {
        if self.high.is_empty() || high < self.high {
            self.high = high;
        }
    }
}

/// The smallest key above `key`.
fn after(key: &Bytes) -> Bytes {
    let mut next = key.to_vec();
    next.push(0);
    next.into()
}

/// The smallest key above all that start with `prefix`; empty if none is.
fn after_prefix(prefix: &[u8]) -> Bytes {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX);
    let mut next = prefix.iter().copied().take(kept.map_or(0, |last| last + 1)).collect::<Vec<u8>>();
    if let Some(last) = next.last_mut() {
        *last += 1;
    }
    next.into()
}

/// Rows on their way to standard output, in the format asked for.
struct Rows<'a> {
    output: &'a mut Output,
    printed: u64,
}

impl Rows<'_> {
    fn print(&mut self, row: &Row) -> Result<(), Failure> {
        match self.output.format() {
            OutputFormat::Text => match &row.value {
                Some(value) => self.output.line(&format!("{}\t{}", show(&row.key), show(value)))?,
                None => self.output.line(&show(&row.key))?,
            },
            OutputFormat::Json => {
                let before = if self.printed == 0 { JSON_START } else { "," };
                self.output.bytes(format!("{before}{}", Value::from(object(row))).as_bytes())?;
            }
            OutputFormat::Jsonl => self.output.object(object(row))?,
        }
        self.printed += 1;
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        match self.output.format() {
            OutputFormat::Json if self.printed == 0 => self.output.line(&format!("{JSON_START}]}}")),
            OutputFormat::Json => self.output.line("]}"),
            OutputFormat::Text | OutputFormat::Jsonl => Ok(()),
        }
    }
}

/// Rows fetched at a time; they are held in memory until printed.
const PAGE_ROWS: usize = 1_024;
const JSON_START: &str = "{\"rows\":[";

fn object(row: &Row) -> Object {
    Object::default()
        .bytes("key", &row.key)
        .field("version", row.version.0)
        .optional_bytes("value", row.value.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;
    use proptest::prelude::*;

    fn span(prefix: Option<&[u8]>, from: Option<&[u8]>, reverse: bool) -> Option<Span> {
        let key = |bytes: &[u8]| Key(Bytes::copy_from_slice(bytes));
        Span::of(&ListArgs {
            prefix: prefix.map(key),
            from: from.map(key),
            limit: None,
            reverse,
            keys_only: false,
            stale: false,
        })
    }

    fn holds(span: Option<&Span>, key: &[u8]) -> bool {
        span.is_some_and(|span| span.low.as_ref() <= key && (span.high.is_empty() || key < span.high.as_ref()))
    }

    proptest! {
        #[test]
        fn a_span_holds_exactly_the_keys_asked_for(
            key in proptest::collection::vec(250u8.., 0..4),
            prefix in proptest::option::of(proptest::collection::vec(250u8.., 0..3)),
            from in proptest::option::of(proptest::collection::vec(250u8.., 0..4)),
            reverse: bool,
        ) {
            let span = span(prefix.as_deref(), from.as_deref(), reverse);
            let wanted = prefix.is_none_or(|prefix| key.starts_with(&prefix))
                && from.is_none_or(|from| if reverse { key <= from } else { key >= from });
            prop_assert_eq!(holds(span.as_ref(), &key), wanted);
        }
    }
}
