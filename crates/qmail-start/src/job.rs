//! One delivery whose user is known.

use std::fs::File;

use base::Bytes;
use qmail_local::once::Once;
use recipient::User;

/// All that a delivery needs to know.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) message: File,
    pub(crate) sender: Bytes,
    /// the recipient up to its last `@`
    pub(crate) local: Bytes,
    /// and after it
    pub(crate) host: Bytes,
    pub(crate) user: User,
    /// how the delivery can be known again; `None`: qmail-send did not say
    pub(crate) once: Option<Once>,
}

impl Job {
    /// The words of qmail-local, without the last, which is the same for all.
    pub(crate) fn words(&self) -> [&[u8]; 7] {
        [
            &self.user.name,
            &self.user.home,
            &self.local,
            &self.user.dash,
            &self.user.ext,
            &self.host,
            &self.sender,
        ]
    }
}
