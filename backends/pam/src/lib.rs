//! pamcheck: accounts that PAM knows.
//!
//! Programs   pamcheck(8)
//! Runs as    root, then the user
//! Reads      fd 3 login, secret, stamp; control/pamcheck; what the modules of PAM read
//! Writes     what the modules of PAM write
//! May use    aside auth base control libpam sys
//! Source     pam(3); docs/compat/backends.md
//!
//! Checkers end with 1: not him; 2: no program in the arguments; 111: nobody can tell now.

mod pamcheck;

pub use pamcheck::pamcheck;
