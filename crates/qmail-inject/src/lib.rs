//! qmail-inject
