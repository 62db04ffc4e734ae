//! Margate as this binary sees it: its public client, its processes, the deployments it starts.

pub(crate) mod behind;
pub(crate) mod cores;
pub(crate) mod deployment;
pub(crate) mod dev;
pub(crate) mod nodes;
pub(crate) mod power;
mod process;
pub(crate) mod room;
pub(crate) mod sizes;
pub(crate) mod started;
pub(crate) mod target;
