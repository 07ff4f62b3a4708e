//! Watches: what they guarantee, under everything that may happen to them; and the known bugs of others that are about that.

mod slow;
mod stress;
mod validators;
mod wide;
