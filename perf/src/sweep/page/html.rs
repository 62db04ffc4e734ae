//! Text and tables.

use serde_json::Value;

/// Columns that stand first, in this order; the others follow by name.
const FIRST: [&str; 22] = [
    "system",
    "bench",
    "operation",
    "phase",
    "order",
    "end",
    "keys",
    "cores",
    "shards",
    "value_bytes",
    "block_bytes",
    "message_bytes",
    "writers",
    "in_flight",
    "ops_per_s",
    "wanted_per_s",
    "ratio",
    "p50_us",
    "p99_us",
    "p999_us",
    "max_us",
    "errors",
];

/// How it looks.
const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:75em;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;margin:1em 0;font-size:13px;display:block;overflow-x:auto}\
td,th{border:1px solid #ccc;padding:.2em .5em;text-align:left;vertical-align:top;font-variant-numeric:tabular-nums}\
th{background:#f3f3f3}pre{background:#f3f3f3;padding:.6em;overflow-x:auto}h2{margin-top:2em}svg{margin:.5em 1em .5em 0}";

/// The whole page around its body.
pub(super) fn document(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><h1>{title}</h1>{body}</body></html>\n"
    )
}

/// Text that is no markup.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A cell of a table.
pub(super) fn cell(text: &str) -> String {
    format!("<td>{}</td>", escape(text))
}

/// A cell with a value as a line has it.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => cell(""),
        Value::String(text) => cell(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => cell(&value.to_string()),
    }
}

/// A row of cells.
pub(super) fn row(cells: &[String]) -> String {
    format!("<tr>{}</tr>", cells.concat())
}

/// A table with these words on top.
pub(super) fn table(heads: &[&str], rows: impl Iterator<Item = String>) -> String {
    let heads: String = heads.iter().map(|head| format!("<th>{}</th>", escape(head))).collect();
    format!("<table><tr>{heads}</tr>{}</table>", rows.collect::<String>())
}

/// The names of a line in the order of columns.
pub(super) fn columns(line: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = line
        .as_object()
        .into_iter()
        .flat_map(|line| line.keys().map(String::as_str))
        .collect();
    let place = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
    names.sort_by_key(|name| (place(name), name.to_owned()));
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_that_tell_lines_apart_stand_first() {
        let line = json!({"p50_us": 1, "zeal": 1, "bench": "put", "asks": 1, "system": "margate"});
        assert_eq!(columns(&line), ["system", "bench", "p50_us", "asks", "zeal"]);
        assert!(columns(&json!(7)).is_empty());
    }

    #[test]
    fn what_was_printed_is_text_and_no_markup() {
        assert_eq!(value(&json!("<b>\"&")), "<td>&lt;b&gt;&quot;&amp;</td>");
        assert_eq!(value(&json!({"a": [1]})), "<td>{&quot;a&quot;:[1]}</td>");
        assert_eq!(value(&Value::Null), "<td></td>");
    }
}
