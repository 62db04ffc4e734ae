//! Schedules that once broke an invariant of `docs/invariants.md`, kept as tests: one core driven by hand, while the test
//! speaks for its peers and its clients.
//!
//! - `fixture`: a core that has just been created; `replay`'s own tests begin there too.
//! - `driven`: that core while it runs, stops and starts again; `peers`: what other members say to it.
//! - `admission`, `appends`, `cached`, `commits`, `damage`, `full_queues`, `laggards`, `mending`, `offers`, `reclaiming`, `removed`, `replaced`, `strangers`,
//!   `suspects`, `tails`:
//!   the schedules. `measured`: what is measured of operations whose every moment is known. `reclaim`: any schedule of one core on small segments.
//!
//! Not here, on purpose: schedules from dice (`sim`), traces of every effect (the golden scripts).

mod admission;
mod appends;
mod cached;
mod commits;
mod damage;
mod driven;
pub(super) mod fixture;
mod full_queues;
mod laggards;
mod measured;
mod mending;
mod offers;
mod peers;
mod reclaim;
mod reclaiming;
mod removed;
mod replaced;
mod strangers;
mod suspects;
mod tails;
