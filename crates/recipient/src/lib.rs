//! recipient: who gets this mail? One answer for check and delivery.
//!
//! Programs   none; a library
//! Runs as    whoever calls
//! Reads      control/{me,locals,virtualdomains,percenthack,envnoathost}, users/cdb, accounts, names of .qmail files
//! Writes     nothing
//! May use    base control sys
//! Source     qmail-send(8), qmail-users(5), qmail-getpw(8), dot-qmail(5)
//!
//! Every function works relative to the working directory, which is the home of qmail.

pub mod dot;
pub mod judge;
pub mod passwd;
pub mod rewrite;
pub mod single;
pub mod users;

pub use judge::{Judge, Verdict};
pub use rewrite::{Rewrite, Route};
pub use users::User;
