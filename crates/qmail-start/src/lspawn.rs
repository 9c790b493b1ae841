//! qmail-lspawn(8): the local spawner.

use std::fs::File;
use std::os::fd::OwnedFd;

use base::{Bytes, Call, Die};
use control::Owners;
use queue::spawner::Deliver;
use sys::process::End;

use crate::delivery::Delivery;
use crate::lookup::Mode;
use crate::qlx;

/// The longest report of one delivery, bytes: the original's 3000, less the 3 that it leaves free when it cuts.
const REPORT_LIMIT: usize = 2997;

/// What the spawner's loop asks of us.
#[derive(Debug)]
struct Local {
    /// instructions for an empty .qmail
    aliasempty: Bytes,
    /// `None`: not root, single-uid mode
    owners: Option<Owners>,
}

/// The program.
pub fn lspawn(call: &Call) -> Result<(), Die> {
    let Some(aliasempty) = call.args.first() else {
        return Err(Die::silent(base::die::PERMANENT));
    };

    control::home::enter().map_err(|e| Die::unable("switch to the home of qmail", &e))?;
    let owners = match sys::ids::euid() {
        0 => Some(Owners::find().map_err(|e| Die::unable("find the users of qmail", &e))?),
        _ => None,
    };
    // Descriptors that we do not know are not for the users' programs.
    sys::fd::close_on_exec_from(3);

    queue::spawner::run(Local {
        aliasempty: aliasempty.clone(),
        owners,
    })
}

impl Deliver for Local {
    fn output_limit(&self) -> usize {
        REPORT_LIMIT
    }

    fn cut_note(&self) -> &'static [u8] {
        b"\nError report too long, sorry.\n"
    }

    fn start(
        &mut self,
        message: File,
        report: OwnedFd,
        sender: &[u8],
        recipient: &[u8],
        at: usize,
    ) -> Result<u32, Bytes> {
        let (local, host) = recipient.split_at_checked(at).unwrap_or((recipient, b""));
        // Mail to nobody is taken, and gone.
        if local.is_empty() {
            return Err(b"K".to_vec());
        }
        let delivery = Delivery {
            message,
            report,
            sender,
            local,
            host: host.get(1..).unwrap_or_default(),
            aliasempty: &self.aliasempty,
            mode: self.owners.as_ref().map_or(Mode::Single, Mode::Owners),
        };
        sys::process::fork(|| delivery.run())
            .map_err(|_| b"Zqmail-spawn unable to fork. (#4.3.0)\n".to_vec())
    }

    fn report(&self, end: End, output: &[u8]) -> Bytes {
        qlx::report(end, output)
    }
}
