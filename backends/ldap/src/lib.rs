//! ldapcheck: accounts in a directory.
//!
//! Programs   ldapcheck(8)
//! Runs as    root, then the user; what talks to the directory as qmaild
//! Reads      fd 3 login, secret, stamp; control/{ldapcheck,scramsecret}; a directory
//! Writes     nothing
//! May use    aside auth base cafile control sys
//! Source     RFC 4511 4513 4514 4515; docs/compat/backends.md
//!
//! Checkers end with 1: not him; 2: no program in the arguments; 111: nobody can tell now.

mod ask;
mod directory;
mod ldapcheck;

pub use ldapcheck::ldapcheck;
