//! The model product's behaviour, scenario by scenario, under the numbers of the list that was measured on it.
//!
//! Watches, limits of bytes and of time, and batches (from 58 on) are not here yet, as they are not in the API.

mod basics;
mod create_update;
mod delete;
mod history;
mod keys;
mod purge;
