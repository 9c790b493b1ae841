//! checkpassword: who is it, by every place where passwords are kept.
//!
//! Programs   checkpassword(8) cmd5checkpw(8) cmd5apoppw(8) apoppasswd(1) vusercheck(8) vuser(8) deliverquota(8)
//!            vchkpw(8) vdelivermail(8) clearopensmtp(8)
//! Runs as    root, then the user; the managers and those who deliver as the user
//! Reads      fd 3 login, secret, stamp; accounts, /etc/poppasswd, ~/.apop*, .vusers.cdb, control/{locals,
//!            virtualdomains,scramsecret}, users/cdb; vpopmail's vpasswd.cdb and etc/
//! Writes     the managers their tables, .qmail files, maildirs; etc/open-smtp of vpopmail; /dev/log
//! May use    auth base control mailbox recipient sys
//! Source     checkpassword's interface page; docs/compat/checkpassword.md
//!
//! Checkers end with 1: not him; 2: no program in the arguments; 111: nobody can tell now.

mod apop;
mod apoppasswd;
mod deliverquota;
mod files;
mod place;
mod poppasswd;
mod quota;
mod store;
mod system;
mod vpopmail;
mod vtable;
mod vuser;
mod vusercheck;

pub use apop::cmd5apoppw;
pub use apoppasswd::apoppasswd;
pub use deliverquota::deliverquota;
pub use poppasswd::cmd5checkpw;
pub use system::checkpassword;
pub use vpopmail::check::{vchkpw, vchkpw_with};
pub use vpopmail::deliver::{vdelivermail, vdelivermail_with};
pub use vpopmail::opensmtp::clearopensmtp;
pub use vpopmail::{Accounts as VpopmailAccounts, Entry as VpopmailUser, Told, flag, limits};
pub use vuser::vuser;
pub use vusercheck::vusercheck;
