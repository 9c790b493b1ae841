//! qmail-send: decides which message goes where and when, with the helpers that do what it may not.
//!
//! Programs   qmail-send(8) qmail-clean(8) qmail-rspawn(8) qmail-getpw(8)
//! Runs as    qmails, qmailq, qmailr, qmailp
//! Reads      queue/*, control/*, lock/trigger; descriptors 1 to 6 of qmail-send, 0 of the others
//! Writes     queue/{info,local,remote,bounce}, lock/sendmutex, the log on descriptor 0; qmail-clean removes
//!            queue/{pid,mess,intd,todo}
//! May use    base control mail queue recipient sys
//! Source     qmail-send(8), qmail-log(5), qmail-queue(5); docs/architecture.md

mod clean;
mod getpw;
mod rspawn;
mod send;

pub use clean::{promises as clean_promises, qmail_clean};
pub use getpw::getpw;
pub use rspawn::qmail_rspawn;
pub use send::{promises as send_promises, qmail_send};
