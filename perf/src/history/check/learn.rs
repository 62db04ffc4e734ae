//! What the answers of one key prove by themselves, and what each operation needs to find.
//!
//! Versions only ever rise, so everything that has a known version stands in one **chain**: acknowledged writes, writes of unknown
//! outcome whose value somebody read, and versions that a refusal named although nobody can say whose they are. Other
//! writes of unknown outcome are the **pool**: they may come anywhere after their call, or never.
//!
//! Not here, on purpose: time. Whether the chain's order is possible is the search's question; versions are not trusted.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::violation::Violation;
use crate::history::record::{Old, Operation, Outcome, Record, Value};

/// One key, ready to be searched. Numbers of records are positions in the slice it was learnt from.
#[derive(Debug, Default)]
pub(super) struct Problem {
    /// What was answered, in the order of calls.
    pub(super) steps: Vec<Step>,
    /// Everything with a version, in its order.
    pub(super) chain: Vec<Link>,
    /// Unknown writes of a value without a version, in the order of calls.
    pub(super) pool: Vec<Hidden>,
    /// Calls of unknown deletes, rising.
    pub(super) deletes: Vec<u64>,
}

/// An operation that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Its record.
    pub(super) record: usize,
    pub(super) call: u64,
    pub(super) returned: u64,
    /// What it must find.
    pub(super) need: Need,
    /// The link it is, if it wrote.
    pub(super) link: Option<usize>,
}

/// What stands at one version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) version: u64,
    /// Whether the key exists after it.
    pub(super) exists: bool,
    pub(super) by: By,
}

/// Who made a version.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    /// One of the pool; nobody can say which.
    Nobody,
    /// This step.
    Step(usize),
    /// A write of unknown outcome whose value was read.
    Unknown { call: u64, need: Need },
}

/// A write of unknown outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hidden {
    pub(super) call: u64,
    /// What it must find.
    pub(super) need: Need,
    /// Whether anybody saw its value, or needs it.
    pub(super) seen: bool,
}

/// What must stand directly before an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Anything.
    Any,
    /// What this link of the chain left.
    Link(usize),
    /// No key.
    Missing,
    /// What cannot be: a value that was never written.
    Never,
    /// The value of this one of the pool.
    Pool(usize),
}

/// Who wrote a value.
#[derive(Clone, Copy, Debug)]
struct Writer {
    record: usize,
    fate: Fate,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Acknowledged(u64),
    Refused,
    Unknown(Option<u64>),
}

impl Problem {
    /// What another unknown write needs is seen, if that one happened.
    fn note_needed(&mut self) {
        let by_pool = self.pool.iter().map(|hidden| hidden.need);
        let by_chain = self.chain.iter().filter_map(|link| match link.by {
            By::Unknown { need, .. } => Some(need),
            By::Nobody | By::Step(_) => None,
        });
        for need in by_pool.chain(by_chain).collect::<Vec<_>>() {
            if let Need::Pool(at) = need {
                self.pool[at].seen = true;
            }
        }
    }
}

/// Learns from the records of one key, which come in the order of their calls.
///
/// # Errors
/// A [`Violation`] that needs no search.
pub(super) fn learn(records: &[Record]) -> Result<Problem, Box<Violation>> {
    Ok(Learner::new(records).learn()?.problem())
}

struct Learner<'a> {
    records: &'a [Record],
    writers: HashMap<Value, Writer>,
    /// By version: the record that made it, if one is known.
    versions: BTreeMap<u64, Option<usize>>,
    seen: Vec<bool>,
}

impl<'a> Learner<'a> {
    fn new(records: &'a [Record]) -> Self {
        Self {
            records,
            writers: HashMap::new(),
            versions: BTreeMap::new(),
            seen: vec![false; records.len()],
        }
    }

    fn learn(mut self) -> Result<Self, Box<Violation>> {
        for (at, record) in self.records.iter().enumerate() {
            check_sense(record)?;
            self.add_writer(at, record)?;
            if let Outcome::Wrote { version, .. } = record.outcome {
                self.take_version(version, at)?;
            }
        }
        for record in self.records {
            self.see(record)?;
        }
        for record in self.records {
            self.see_refusal(record)?;
        }
        Ok(self)
    }

    fn add_writer(&mut self, at: usize, record: &Record) -> Result<(), Box<Violation>> {
        let Some(value) = record.operation.value() else {
            return Ok(());
        };
        let fate = match record.outcome {
            Outcome::Wrote { version, .. } => Fate::Acknowledged(version),
            Outcome::Unknown => Fate::Unknown(None),
            Outcome::Exists { .. } | Outcome::Failed | Outcome::Found { .. } | Outcome::Mismatch { .. } | Outcome::Missing => Fate::Refused,
        };
        match self.writers.entry(value) {
            Entry::Vacant(vacant) => {
                vacant.insert(Writer { record: at, fate });
                Ok(())
            }
            Entry::Occupied(taken) => Err(Violation::ValueTwice {
                value,
                one: self.records[taken.get().record],
                other: *record,
            }
            .into()),
        }
    }

    fn take_version(&mut self, version: u64, at: usize) -> Result<(), Box<Violation>> {
        match self.versions.insert(version, Some(at)) {
            Some(Some(other)) if other != at => Err(Violation::VersionTwice {
                version,
                one: self.records[other],
                other: self.records[at],
            }
            .into()),
            Some(_) | None => Ok(()),
        }
    }

    /// What a record proves about the write whose value it saw.
    fn see(&mut self, record: &Record) -> Result<(), Box<Violation>> {
        let (value, version) = match record.outcome {
            Outcome::Found { version, value } => (value, Some(version)),
            Outcome::Mismatch { old: Some(value) }
            | Outcome::Wrote {
                old: Old::Was(Some(value)),
                ..
            } => (value, None),
            Outcome::Exists { .. }
            | Outcome::Failed
            | Outcome::Mismatch { old: None }
            | Outcome::Missing
            | Outcome::Unknown
            | Outcome::Wrote { .. } => return Ok(()),
        };
        let known = self
            .writers
            .get(&value)
            .copied()
            .ok_or_else(|| Box::new(Violation::Nowhere { seen: *record }))?;
        let (seen, writer) = (*record, self.records[known.record]);
        self.seen[known.record] = true;
        match (known.fate, version) {
            (Fate::Refused, _) => Err(Violation::NotExecuted { seen, writer }.into()),
            (Fate::Acknowledged(written), Some(version)) if written != version => Err(Violation::OtherVersion { seen, writer }.into()),
            (Fate::Unknown(Some(first)), Some(second)) if first != second => Err(Violation::AppliedTwice { writer, first, second }.into()),
            (Fate::Unknown(None), Some(version)) => {
                let fate = Fate::Unknown(Some(version));
                self.writers.insert(value, Writer { fate, ..known });
                self.take_version(version, known.record)
            }
            (Fate::Acknowledged(_) | Fate::Unknown(_), _) => Ok(()),
        }
    }

    /// A refusal may name a version that nobody is known to have made.
    fn see_refusal(&mut self, record: &Record) -> Result<(), Box<Violation>> {
        let Outcome::Exists { version } = record.outcome else {
            return Ok(());
        };
        match self.versions.entry(version).or_insert(None) {
            Some(by) if self.records[*by].operation == Operation::Delete => Err(Violation::ExistsDeleted { version, seen: *record }.into()),
            Some(_) | None => Ok(()),
        }
    }

    fn problem(&self) -> Problem {
        let links: HashMap<u64, usize> = self.versions.keys().copied().zip(0..).collect();
        let pool = self.pool();
        let needs = Needs {
            writers: &self.writers,
            links: &links,
            pool: &pool,
        };
        let mut problem = Problem::default();
        let mut step_of_record = HashMap::new();
        for (at, record) in self.records.iter().enumerate() {
            if let Some(step) = needs.step(at, record) {
                step_of_record.insert(at, problem.steps.len());
                problem.steps.push(step);
            } else if record.outcome == Outcome::Unknown && record.operation == Operation::Delete {
                problem.deletes.push(record.call);
            }
        }
        let link = |(version, by): (&u64, &Option<usize>)| self.link(*version, *by, &needs, &step_of_record);
        problem.chain = self.versions.iter().map(link).collect();
        problem.pool = self.hidden(&pool, &needs);
        problem.note_needed();
        problem
    }

    /// Unknown writes of a value whose version nobody saw, by record.
    fn pool(&self) -> BTreeMap<usize, usize> {
        let hidden = self.writers.values().filter(|writer| matches!(writer.fate, Fate::Unknown(None)));
        let mut records: Vec<usize> = hidden.map(|writer| writer.record).collect();
        records.sort_unstable();
        records.into_iter().zip(0..).collect()
    }

    fn hidden(&self, pool: &BTreeMap<usize, usize>, needs: &Needs<'_>) -> Vec<Hidden> {
        let hidden = |at: &usize| Hidden {
            call: self.records[*at].call,
            need: needs.of_operation(self.records[*at].operation),
            seen: self.seen[*at],
        };
        pool.keys().map(hidden).collect()
    }

    fn link(&self, version: u64, by: Option<usize>, needs: &Needs<'_>, step_of_record: &HashMap<usize, usize>) -> Link {
        let Some(at) = by else {
            return Link {
                version,
                exists: true,
                by: By::Nobody,
            };
        };
        let record = &self.records[at];
        Link {
            version,
            exists: record.operation != Operation::Delete,
            by: match step_of_record.get(&at) {
                Some(step) => By::Step(*step),
                None => By::Unknown {
                    call: record.call,
                    need: needs.of_operation(record.operation),
                },
            },
        }
    }
}

/// An answer must agree with its own question.
fn check_sense(record: &Record) -> Result<(), Box<Violation>> {
    let makes_sense = match (record.operation, record.outcome) {
        (Operation::Delete, Outcome::Wrote { old, .. }) => matches!(old, Old::Was(Some(_))),
        (Operation::Create { .. }, Outcome::Wrote { old, .. }) => matches!(old, Old::NotAsked | Old::Was(None)),
        (Operation::Exchange { expected, .. }, Outcome::Wrote { old, .. }) => old == Old::Was(Some(expected)),
        (Operation::Exchange { expected, .. }, Outcome::Mismatch { old }) => old != Some(expected),
        (
            Operation::Create { .. } | Operation::Delete | Operation::Exchange { .. } | Operation::Get | Operation::Set { .. },
            Outcome::Exists { .. }
            | Outcome::Failed
            | Outcome::Found { .. }
            | Outcome::Mismatch { .. }
            | Outcome::Missing
            | Outcome::Unknown
            | Outcome::Wrote { .. },
        ) => true,
    };
    if makes_sense {
        Ok(())
    } else {
        Err(Violation::Senseless { seen: *record }.into())
    }
}

/// Turns what was seen into what must stand.
struct Needs<'a> {
    writers: &'a HashMap<Value, Writer>,
    links: &'a HashMap<u64, usize>,
    pool: &'a BTreeMap<usize, usize>,
}

impl Needs<'_> {
    /// The step of a record that was answered and proves something.
    fn step(&self, at: usize, record: &Record) -> Option<Step> {
        let need = match record.outcome {
            Outcome::Failed | Outcome::Unknown => return None,
            Outcome::Exists { version } | Outcome::Found { version, .. } => self.link(version),
            Outcome::Mismatch { old } => self.value(old),
            Outcome::Missing => Need::Missing,
            Outcome::Wrote { old: Old::Was(old), .. } => self.value(old),
            Outcome::Wrote { old: Old::NotAsked, .. } => self.of_operation(record.operation),
        };
        let link = match record.outcome {
            Outcome::Wrote { version, .. } => self.links.get(&version).copied(),
            Outcome::Exists { .. }
            | Outcome::Failed
            | Outcome::Found { .. }
            | Outcome::Mismatch { .. }
            | Outcome::Missing
            | Outcome::Unknown => None,
        };
        Some(Step {
            record: at,
            call: record.call,
            returned: record.returned.unwrap_or(u64::MAX),
            need,
            link,
        })
    }

    /// What an operation must find to be done.
    fn of_operation(&self, operation: Operation) -> Need {
        match operation {
            Operation::Create { .. } => Need::Missing,
            Operation::Exchange { expected, .. } => self.value(Some(expected)),
            Operation::Delete | Operation::Get | Operation::Set { .. } => Need::Any,
        }
    }

    fn value(&self, value: Option<Value>) -> Need {
        let Some(value) = value else { return Need::Missing };
        match self.writers.get(&value) {
            None => Need::Never,
            Some(writer) => match writer.fate {
                Fate::Refused => Need::Never,
                Fate::Acknowledged(version) | Fate::Unknown(Some(version)) => self.link(version),
                Fate::Unknown(None) => self.pool.get(&writer.record).map_or(Need::Never, |at| Need::Pool(*at)),
            },
        }
    }

    fn link(&self, version: u64) -> Need {
        self.links.get(&version).map_or(Need::Never, |at| Need::Link(*at))
    }
}
