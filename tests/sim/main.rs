//! Exhaustive small cases on the simulated disk.
#![allow(clippy::unwrap_used, reason = "tests")]

mod damage;
mod full_disk;
mod ledger;
mod scenarios;
mod script;
mod sweep;
mod world;
