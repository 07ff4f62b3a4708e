//! Which entries of one key survive, pure.
