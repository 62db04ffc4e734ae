//! Bugs planted on purpose, to prove that the simulator's checkers find them.
//!
//! A value of [`Planted`] is given to a core when it is made. Production gives [`Planted::NONE`]; only the
//! simulator can make another.

/// The bugs that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// What must wait for a flush does not wait.
    AckBeforeFlush,
    /// Nothing is wrong, but a checker is told that every history is bad: the simulator must fail.
    Canary,
    /// Reclaim writes no checkpoints.
    CheckpointForgotten,
    /// Nothing is wrong but the world: clocks stray further than tenure allows for.
    ClocksBeyondBound,
    /// Reclaim copies no deletes.
    DeleteForgotten,
    /// A member says that it has an image before that is in its log.
    ImageAcknowledgedEarly,
    /// A start takes damage for a torn tail: what follows it is dropped.
    DamageTakenForTorn,
    /// The index takes entries whose commit is not durable in the log.
    IndexAheadOfCommit,
    /// The marks of a generation are taken when it leaves, not when its rows are frozen.
    MarkAheadOfIndex,
    /// A promise to a leader ends when raft forgets that leader.
    PromiseForgotten,
    /// A start takes a batch that its successor proves, and that is rotten, for torn: it was never acknowledged, so nobody has lost it.
    ProvenTakenForTorn,
    /// Reads are answered without asking a quorum whether this replica still leads.
    ReadUnconfirmed,
    /// At a start with an index, a copied value is taken for a newer one.
    RelocationAsNewer,
    /// Members give the version of a value that they have, and it is taken as it comes.
    RepairUnchecked,
    /// Conditions are decided without the effects that are proposed and not yet applied.
    ResolveIgnoresPending,
    /// Tenure begins when a round is confirmed, not when it began.
    TenureFromConfirmation,
    /// A leader that told another to campaign keeps its tenure.
    TenureSurvivesTransfer,
    /// Tenure is longer than the time others keep still.
    TenureTooLong,
    /// A start takes a torn tail for damage.
    TornTakenForDamage,
    /// A replica that has just started gives votes.
    VotesRightAfterStart,
    /// A heartbeat is stepped that says that more is committed here than the log holds.
    HeartbeatStepped,
    /// A start takes records of a former space, and of a replica that has ended.
    OldRecordsReplayed,
    /// Reclaim frees a segment unread though a row points into it.
    RowForgotten,
    /// Refusals that reveal state are answered at once.
    RefusalUnproven,
    /// A replica is told that it is no member by one that may not have heard of it yet.
    RemovedTooEarly,
    /// Tenure begins with leadership, before an entry of the own term is applied.
    TenureBeforeOwnEntry,
    /// Tenure goes on when the members change.
    TenureSurvivesMembers,
    /// A round that began prolongs tenure, whether or not a quorum answers it.
    TenureUnconfirmed,
    /// A wiped node comes back as the replicas it was created with, and votes.
    WipedVotes,
    /// Term and vote are never written.
    VoteNotPersisted,
}

/// At most one planted bug.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted(Option<Bug>);

impl Bug {
    /// All of them, in the order they are reported.
    pub const ALL: [Self; 30] = [
        Self::AckBeforeFlush,
        Self::VoteNotPersisted,
        Self::ReadUnconfirmed,
        Self::ResolveIgnoresPending,
        Self::IndexAheadOfCommit,
        Self::MarkAheadOfIndex,
        Self::TenureTooLong,
        Self::TenureFromConfirmation,
        Self::TenureSurvivesTransfer,
        Self::VotesRightAfterStart,
        Self::PromiseForgotten,
        Self::ClocksBeyondBound,
        Self::CheckpointForgotten,
        Self::DeleteForgotten,
        Self::RowForgotten,
        Self::RelocationAsNewer,
        Self::ImageAcknowledgedEarly,
        Self::TornTakenForDamage,
        Self::DamageTakenForTorn,
        Self::ProvenTakenForTorn,
        Self::HeartbeatStepped,
        Self::OldRecordsReplayed,
        Self::RefusalUnproven,
        Self::RepairUnchecked,
        Self::RemovedTooEarly,
        Self::TenureBeforeOwnEntry,
        Self::TenureSurvivesMembers,
        Self::TenureUnconfirmed,
        Self::WipedVotes,
        Self::Canary,
    ];

    /// Its name at the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AckBeforeFlush => "ack-before-flush",
            Self::Canary => "canary",
            Self::CheckpointForgotten => "checkpoint-forgotten",
            Self::ClocksBeyondBound => "clocks-beyond-bound",
            Self::DeleteForgotten => "delete-forgotten",
            Self::RowForgotten => "row-forgotten",
            Self::ImageAcknowledgedEarly => "image-acknowledged-early",
            Self::DamageTakenForTorn => "damage-taken-for-torn",
            Self::IndexAheadOfCommit => "index-ahead-of-commit",
            Self::MarkAheadOfIndex => "mark-ahead-of-index",
            Self::PromiseForgotten => "promise-forgotten",
            Self::ProvenTakenForTorn => "proven-taken-for-torn",
            Self::ReadUnconfirmed => "read-unconfirmed",
            Self::RelocationAsNewer => "relocation-as-newer",
            Self::ResolveIgnoresPending => "resolve-ignores-pending",
            Self::TenureFromConfirmation => "tenure-from-confirmation",
            Self::TenureSurvivesTransfer => "tenure-survives-transfer",
            Self::TenureTooLong => "tenure-too-long",
            Self::TornTakenForDamage => "torn-taken-for-damage",
            Self::VotesRightAfterStart => "votes-right-after-start",
            Self::HeartbeatStepped => "heartbeat-stepped",
            Self::OldRecordsReplayed => "old-records-replayed",
            Self::RefusalUnproven => "refusal-unproven",
            Self::RepairUnchecked => "repair-unchecked",
            Self::RemovedTooEarly => "removed-too-early",
            Self::TenureBeforeOwnEntry => "tenure-before-own-entry",
            Self::TenureSurvivesMembers => "tenure-survives-members",
            Self::TenureUnconfirmed => "tenure-unconfirmed",
            Self::WipedVotes => "wiped-votes",
            Self::VoteNotPersisted => "vote-not-persisted",
        }
    }
}

impl Planted {
    /// No bug: what production runs with.
    pub const NONE: Self = Self(None);

    /// Plants a bug; only the simulator may.
    #[must_use]
    pub(crate) fn bug(bug: Bug) -> Self {
        Self(Some(bug))
    }

    /// The planted bug, if any.
    #[must_use]
    pub(crate) fn planted(self) -> Option<Bug> {
        self.0
    }

    pub(crate) fn ack_before_flush(self) -> bool {
        self.0 == Some(Bug::AckBeforeFlush)
    }

    pub(crate) fn checkpoint_forgotten(self) -> bool {
        self.0 == Some(Bug::CheckpointForgotten)
    }

    pub(crate) fn delete_forgotten(self) -> bool {
        self.0 == Some(Bug::DeleteForgotten)
    }

    pub(crate) fn relocation_as_newer(self) -> bool {
        self.0 == Some(Bug::RelocationAsNewer)
    }

    /// Rows that point into a segment and are not seen.
    pub(crate) fn rows_forgotten(self) -> u64 {
        u64::from(self.0 == Some(Bug::RowForgotten))
    }

    pub(crate) fn clocks_beyond_bound(self) -> bool {
        self.0 == Some(Bug::ClocksBeyondBound)
    }

    pub(crate) fn image_acknowledged_early(self) -> bool {
        self.0 == Some(Bug::ImageAcknowledgedEarly)
    }

    pub(crate) fn damage_taken_for_torn(self) -> bool {
        self.0 == Some(Bug::DamageTakenForTorn)
    }

    pub(crate) fn index_ahead_of_commit(self) -> bool {
        self.0 == Some(Bug::IndexAheadOfCommit)
    }

    pub(crate) fn mark_ahead_of_index(self) -> bool {
        self.0 == Some(Bug::MarkAheadOfIndex)
    }

    pub(crate) fn promise_forgotten(self) -> bool {
        self.0 == Some(Bug::PromiseForgotten)
    }

    pub(crate) fn proven_taken_for_torn(self) -> bool {
        self.0 == Some(Bug::ProvenTakenForTorn)
    }

    pub(crate) fn read_unconfirmed(self) -> bool {
        self.0 == Some(Bug::ReadUnconfirmed)
    }

    pub(crate) fn resolve_ignores_pending(self) -> bool {
        self.0 == Some(Bug::ResolveIgnoresPending)
    }

    pub(crate) fn tenure_from_confirmation(self) -> bool {
        self.0 == Some(Bug::TenureFromConfirmation)
    }

    pub(crate) fn tenure_survives_transfer(self) -> bool {
        self.0 == Some(Bug::TenureSurvivesTransfer)
    }

    pub(crate) fn tenure_too_long(self) -> bool {
        self.0 == Some(Bug::TenureTooLong)
    }

    pub(crate) fn torn_taken_for_damage(self) -> bool {
        self.0 == Some(Bug::TornTakenForDamage)
    }

    pub(crate) fn votes_right_after_start(self) -> bool {
        self.0 == Some(Bug::VotesRightAfterStart)
    }

    pub(crate) fn heartbeat_stepped(self) -> bool {
        self.0 == Some(Bug::HeartbeatStepped)
    }

    pub(crate) fn old_records_replayed(self) -> bool {
        self.0 == Some(Bug::OldRecordsReplayed)
    }

    pub(crate) fn refusal_unproven(self) -> bool {
        self.0 == Some(Bug::RefusalUnproven)
    }

    pub(crate) fn repair_unchecked(self) -> bool {
        self.0 == Some(Bug::RepairUnchecked)
    }

    pub(crate) fn removed_too_early(self) -> bool {
        self.0 == Some(Bug::RemovedTooEarly)
    }

    pub(crate) fn tenure_before_own_entry(self) -> bool {
        self.0 == Some(Bug::TenureBeforeOwnEntry)
    }

    pub(crate) fn tenure_survives_members(self) -> bool {
        self.0 == Some(Bug::TenureSurvivesMembers)
    }

    pub(crate) fn tenure_unconfirmed(self) -> bool {
        self.0 == Some(Bug::TenureUnconfirmed)
    }

    pub(crate) fn wiped_votes(self) -> bool {
        self.0 == Some(Bug::WipedVotes)
    }

    pub(crate) fn vote_not_persisted(self) -> bool {
        self.0 == Some(Bug::VoteNotPersisted)
    }
}
