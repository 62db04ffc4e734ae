//! The open loop: operations begin when the clock says so.
//!
//! An operation's latency counts from when it was due, so whatever held it back is in it: the generator's own
//! tardiness, and other operations where as many are under way as may be. That cap is there for the memory of this
//! process and of the system. Who meets it waits in the order of the clock, and is counted. Who has not begun a second
//! after the window has closed never does, and is counted too, with the time it had waited.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::alarm::Alarm;
use super::measured::{Unmet, nanos};
use super::schedule::Schedule;
use super::{Plan, Run, UNHARMED, Window, join};
use crate::target::Target;

/// How long after the window what was due in it may begin.
const LATE_MAX: Duration = Duration::from_secs(1);

/// Begins what is due until the window closes and returns once the last operation is answered.
///
/// # Errors
/// The kernel has no timer.
pub(super) async fn run<T: Target>(
    run: &Arc<Run<T>>,
    plan: &Plan,
    window: Window,
    schedule: Schedule,
    in_flight_max: usize,
) -> io::Result<Unmet> {
    let alarm = Alarm::new()?;
    let mut drawer = run.workload.drawer(plan.recipe, plan.phase, 0);
    let mut places = Places::new(in_flight_max, window.closes + LATE_MAX);
    let mut unmet = Unmet::nothing();
    let dues = (0u64..).map(|number| (number, schedule.due(number)));
    for (number, due) in dues.take_while(|(_, due)| *due < window.closes) {
        alarm.wait_until(due).await?;
        let place = places.find(due).await;
        if window.holds(due) {
            match place {
                Place::Free => {}
                Place::FreeLate => unmet.held_back += 1,
                Place::None => unmet
                    .never_begun
                    .saturating_record(nanos(places.last_begin.saturating_duration_since(due))),
            }
        }
        if place != Place::None {
            let (run, step) = (run.clone(), drawer.draw());
            let worker = usize::try_from(number).unwrap_or_default();
            places.under_way.spawn(async move { run.carry_out(worker, step, due).await });
        }
    }
    join(places.under_way).await;
    Ok(unmet)
}

/// What an operation found that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It can begin.
    Free,
    /// It can begin, later than it was due because there was no place.
    FreeLate,
    /// It cannot any more.
    None,
}

/// Operations under way, and how many there may be.
struct Places {
    under_way: JoinSet<()>,
    max: usize,
    last_begin: Instant,
    /// When the last wait for a place ended.
    freed: Option<Instant>,
}

impl Places {
    fn new(max: usize, last_begin: Instant) -> Self {
        Self {
            under_way: JoinSet::new(),
            max,
            last_begin,
            freed: None,
        }
    }

    /// Waits for a place for what was due then, as long as anything may begin.
    async fn find(&mut self, due: Instant) -> Place {
        while let Some(ended) = self.under_way.try_join_next() {
            ended.expect(UNHARMED);
        }
        if self.under_way.len() >= self.max {
            let Ok(ended) = timeout_at(self.last_begin.into(), self.under_way.join_next()).await else {
                return Place::None;
            };
            ended.expect("some are under way").expect(UNHARMED);
            self.freed = Some(Instant::now());
        }
        if Instant::now() > self.last_begin {
            return Place::None;
        }
        if self.freed.is_some_and(|freed| due < freed) {
            Place::FreeLate
        } else {
            Place::Free
        }
    }
}
