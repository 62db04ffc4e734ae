//! Tidiness as a test: rules of the whole repository that no compiler checks.
//!
//! Each test is one rule and prints every place that breaks it. `tree` lists what is tracked, `source` takes Rust
//! text apart just far enough, `code` holds the rules of code, `crates` those between crates, `documents` those
//! of the texts. A list of exceptions is in each rule; an exception that is no longer needed breaks it too.
//!
//! Not here, on purpose: what rustfmt, clippy and the compiler can say.

mod code;
mod crates;
mod documents;
mod source;
mod tree;

/// Fails with every finding on a line of its own.
fn assert_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
