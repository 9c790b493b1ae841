//! qmail-remote
