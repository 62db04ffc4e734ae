//! What must not be in a history, with the records that show it.

use crate::history::record::Record;

/// What is wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// A value was seen that nobody wrote to the key.
    #[error("a value that nobody wrote: {seen}")]
    Nowhere {
        /// By whom.
        seen: Record,
    },
    /// A value was seen whose write was refused.
    #[error("a write that was not executed shows: {seen}, written by {writer}")]
    NotExecuted {
        /// By whom.
        seen: Record,
        /// The refused write.
        writer: Record,
    },
    /// A value was seen at another version than its write's.
    #[error("a value shows at another version than it was written at: {seen}, written by {writer}")]
    OtherVersion {
        /// By whom.
        seen: Record,
        /// The write, which was acknowledged.
        writer: Record,
    },
    /// A write whose outcome is unknown shows at two versions.
    #[error("one write shows at versions {first} and {second}, so it was applied twice: {writer}")]
    AppliedTwice {
        /// The write.
        writer: Record,
        /// One version.
        first: u64,
        /// The other.
        second: u64,
    },
    /// Two writes have one version.
    #[error("two writes have version {version}: {one} and {other}")]
    VersionTwice {
        /// The version.
        version: u64,
        /// One.
        one: Record,
        /// The other.
        other: Record,
    },
    /// A refusal names a version at which the key was deleted.
    #[error("version {version} is a deletion, and yet the key is said to exist at it: {seen}")]
    ExistsDeleted {
        /// The version.
        version: u64,
        /// By whom.
        seen: Record,
    },
    /// An answer contradicts itself: a done exchange of another value than the expected one, a done delete of nothing.
    #[error("an answer that contradicts itself: {seen}")]
    Senseless {
        /// Whose.
        seen: Record,
    },
    /// Two operations write the same value, so nobody can tell whose it is.
    #[error("value {value} is written twice, which no recorder may do: {one} and {other}")]
    ValueTwice {
        /// The value.
        value: u64,
        /// One.
        one: Record,
        /// The other.
        other: Record,
    },
    /// No order explains the answers.
    #[error("no order explains {stuck}: {placed} of {answered} answers are in order when it had to come, and then {standing}")]
    NoOrder {
        /// The operation that fitted nowhere in the longest attempt.
        stuck: Record,
        /// Answers placed by then.
        placed: usize,
        /// All answers of the key.
        answered: usize,
        /// What stood at that time, in words.
        standing: String,
    },
}
