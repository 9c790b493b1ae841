//! dovecotcheck: accounts that Dovecot knows.
//!
//! Programs   dovecotcheck(8)
//! Runs as    root, then the user; what talks to Dovecot as qmaild
//! Reads      fd 3 login, secret, stamp; control/dovecotcheck; Dovecot's sockets auth-client and auth-userdb
//! Writes     those sockets
//! May use    aside auth base control sys
//! Source     Dovecot's documentation of the auth protocol; docs/compat/backends.md
//!
//! Checkers end with 1: not him; 2: no program in the arguments; 111: nobody can tell now.

mod dovecotcheck;
mod talk;

pub use dovecotcheck::dovecotcheck;
