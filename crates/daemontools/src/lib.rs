//! daemontools: keep services running, log what they say, run programs with another user, environment or limits.
//!
//! Programs   svscanboot(8) svscan(8) supervise(8) svc(8) svok(8) svstat(8) multilog(8) tai64n(8) tai64nlocal(8)
//!            setuidgid(8) envuidgid(8) envdir(8) softlimit(8) setlock(8) fghack(8) pgrphack(8) readproctitle(8)
//! Runs as    root and others; whoever calls
//! Reads      service directories, fd 0 lines, the passwd file, variable files
//! Writes     DIR/supervise/{lock,control,ok,status}, log directories, fd 1 lines
//! May use    base control sys
//! Source     the manual pages of the programs; docs/architecture.md

mod announce;
mod child;
mod envdir;
mod envuidgid;
mod fghack;
mod filter;
mod multilog;
mod options;
mod pgrphack;
mod readproctitle;
mod setlock;
mod setuidgid;
mod softlimit;
mod stamp;
mod status;
mod supervise;
mod svc;
mod svok;
mod svscan;
mod svscanboot;
mod svstat;
mod tai64n;
mod tai64nlocal;

pub use envdir::run as envdir;
pub use envuidgid::run as envuidgid;
pub use fghack::run as fghack;
pub use multilog::{promises as multilog_promises, run as multilog};
pub use pgrphack::run as pgrphack;
pub use readproctitle::run as readproctitle;
pub use setlock::run as setlock;
pub use setuidgid::run as setuidgid;
pub use softlimit::run as softlimit;
pub use supervise::run as supervise;
pub use svc::run as svc;
pub use svok::run as svok;
pub use svscan::run as svscan;
pub use svscanboot::run as svscanboot;
pub use svstat::run as svstat;
pub use tai64n::run as tai64n;
pub use tai64nlocal::run as tai64nlocal;
