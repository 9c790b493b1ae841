//! qmail-admin
