//! The public API, as its pages and the model product's behaviour state it. One binary, a module for each subject.
//!
//! `conformance` holds the numbered scenarios that were measured on the model product; a comment says so where annals decides otherwise.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests look at real files and start real threads")]

mod catch_up;
mod changes;
mod clocks;
mod closing;
mod conformance;
mod damage;
mod files;
mod fine_print;
mod fixture;
mod known_bugs;
mod last_items;
mod lifecycle;
mod linear;
mod machine;
mod markers;
mod pins;
mod reads;
mod refusals;
mod space;
mod tokens;
mod told;
mod watch;
mod wishes;
mod writes;
