//! The model product's behaviour, scenario by scenario, under the numbers of the list that was measured on it.
//!
//! Watches (58 to 76) are not here yet, as they are not in the API.

mod basics;
mod batches;
mod buckets;
mod create_update;
mod delete;
mod history;
mod keys;
mod limits;
mod purge;
mod ttl;
