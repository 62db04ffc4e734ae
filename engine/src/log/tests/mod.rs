//! The log as a whole: writer, disk and scan against each other.

mod crash;
mod damage;
mod effects;
mod fetch;
mod golden;
mod open;
mod parsers;
mod support;
mod writing;
