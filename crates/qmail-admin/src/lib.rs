//! qmail-admin: what an administrator asks and compiles.
//!
//! Programs   config-fast(8) qmail-newmrh(8) qmail-newu(8) qmail-qread(8) qmail-qstat(8) qmail-showctl(8) qmail-tcpok(8)
//!            qmail-tcpto(8) splogger(8)
//! Runs as    root, or who may read the queue; splogger: qmaill
//! Reads      queue/*, control/*, users/assign; splogger: fd 0
//! Writes     fd 1; users/cdb, control/morercpthosts.cdb, queue/lock/tcpto; config-fast: control/*; splogger: /dev/log
//! May use    base control mail queue sys
//! Source     the pages of these programs; qmail-control(5), qmail-users(5)

mod compile;
mod config_fast;
mod output;
mod qread;
mod qstat;
mod showctl;
mod splogger;
mod tcpto;

pub use compile::{newmrh, newmrh_promises, newu, newu_promises};
pub use config_fast::config_fast;
pub use qread::{qread, qread_promises};
pub use qstat::qstat;
pub use showctl::showctl;
pub use splogger::splogger;
pub use tcpto::{tcpok, tcpto, tcpto_promises};
