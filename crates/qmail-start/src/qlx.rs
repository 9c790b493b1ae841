//! How a child of qmail-lspawn says what kept it from delivering, and what qmail-send is told of each end.
//!
//! Source  qmail-lspawn(8), "diagnostics"

use base::Bytes;
use sys::process::End;

/// something that cannot be: a record of the wrong form, a user that could not be become
pub(crate) const USAGE: u8 = 112;
/// the user is root
pub(crate) const ROOT: u8 = 113;
/// a home directory could not be looked at
pub(crate) const HOME: u8 = 115;
/// no user for aliases
pub(crate) const NO_ALIAS: u8 = 116;
/// users/cdb could not be read
pub(crate) const CDB: u8 = 117;
/// the system is in trouble
pub(crate) const SYSTEM: u8 = 118;
/// out of memory
pub(crate) const NO_MEMORY: u8 = 119;
/// qmail-local could not be run for now
pub(crate) const EXEC_SOFT: u8 = 120;
/// qmail-getpw could not be run
pub(crate) const EXEC_GETPW: u8 = 121;
/// qmail-local could not be run
pub(crate) const EXEC_HARD: u8 = 126;
/// the system's loader could not start a program: no memory, no descriptors, a library that cannot be read for now
pub(crate) const LOADER: u8 = 127;

/// The report of a delivery: a fixed text for our own ends, else a letter and what qmail-local said.
pub(crate) fn report(end: End, output: &[u8]) -> Bytes {
    let End::Exit(code) = end else {
        return b"Zqmail-local crashed.\n".to_vec();
    };
    let fixed = match code {
        CDB => "ZTrouble reading users/cdb in qmail-lspawn.\n",
        NO_MEMORY => "ZOut of memory in qmail-lspawn.\n",
        SYSTEM => "ZTemporary failure in qmail-lspawn.\n",
        NO_ALIAS => "ZUnable to find alias user!\n",
        ROOT => "ZNot allowed to perform deliveries as root.\n",
        USAGE => "ZInternal qmail-lspawn bug.\n",
        HOME => "ZNFS failure in qmail-local.\n",
        EXEC_HARD => "DUnable to run qmail-local.\n",
        EXEC_SOFT | LOADER => "ZUnable to run qmail-local.\n",
        EXEC_GETPW => "ZUnable to run qmail-getpw.\n",
        111 | 71 | 74 | 75 => return [b"Z", output].concat(),
        0 => return [b"K", output].concat(),
        _ => return [b"D", output].concat(),
    };
    fixed.as_bytes().to_vec()
}

/// The report of a delivery whose worker ended without an answer. Nothing that a worker can do makes this a success.
pub(crate) fn lost(end: End) -> Bytes {
    let known = [USAGE, ROOT, SYSTEM];
    match end {
        End::Exit(code) if known.contains(&code) => report(end, b""),
        _ => b"Zqmail-local crashed.\n".to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_letter() {
        let letter = |code| report(End::Exit(code), b"said\n").first().copied();
        for code in 0..=255 {
            let want = match code {
                0 => b'K',
                71 | 74 | 75 | 111..=113 | 115..=121 | 127 => b'Z',
                _ => b'D',
            };
            assert_eq!(letter(code), Some(want), "{code}");
        }
        for code in 0..=255 {
            assert_eq!(lost(End::Exit(code)).first(), Some(&b'Z'), "{code}");
        }
        assert_eq!(lost(End::Signal(9)), b"Zqmail-local crashed.\n");
        assert_eq!(report(End::Signal(9), b"said"), b"Zqmail-local crashed.\n");
        assert_eq!(report(End::Exit(100), b"said\n"), b"Dsaid\n");
        assert_eq!(report(End::Exit(0), b""), b"K");
        assert_eq!(
            report(End::Exit(CDB), b"said\n"),
            b"ZTrouble reading users/cdb in qmail-lspawn.\n"
        );
    }
}
