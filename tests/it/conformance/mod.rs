//! The model product's behaviour, scenario by scenario, under the numbers of the list that was measured on it.

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
mod watch;
