//! What bounds any deployment on this machine, measured without one: the disk by fio, the loopback by an echo.
//!
//! A share of such a limit means something where both were measured in the same minutes; so `sweep` measures them first.
//!
//! Not here, on purpose: which limit binds what (`sweep/limit.rs`), and fio itself (`fio.rs`).

pub(crate) mod arguments;
pub(crate) mod echo;
