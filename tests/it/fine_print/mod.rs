//! The decisions and the fine print of the product's page, line by line, where the model's scenarios do not decide.

mod batches;
mod bulk;
mod config;
mod expiry;
mod markers;
mod past;
mod refusals;
mod size;
