//! qmail-start
