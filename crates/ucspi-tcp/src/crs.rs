//! addcr and delcr: line ends of standard input, with CR or without.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;

use base::{Bytes, Call, Die};

use crate::filter::{AddCr, DelCr, Filter};

/// The most bytes read at once; what is read is written before more is read.
const BLOCK: usize = 64 * 1024;

/// Copies descriptor 0 to 1 with a CR before every LF. See addcr(1).
///
/// # Errors
/// Silent, 111: reading or writing failed.
pub fn addcr(_: &Call) -> Result<(), Die> {
    copy(&mut AddCr)
}

/// Copies descriptor 0 to 1 without the CR before every LF. See delcr(1).
///
/// # Errors
/// Silent, 111: reading or writing failed.
pub fn delcr(_: &Call) -> Result<(), Die> {
    copy(&mut DelCr::default())
}

fn copy(filter: &mut impl Filter) -> Result<(), Die> {
    let failed = |_| Die::silent(111);
    let input = sys::fd::inherited(0).map_err(failed)?;
    let mut block = vec![0; BLOCK];
    let mut out = Bytes::with_capacity(2 * BLOCK);
    loop {
        let count = read(&input, &mut block).map_err(failed)?;
        out.clear();
        match block.get(..count).filter(|b| !b.is_empty()) {
            Some(read) => filter.pass(read, &mut out),
            None => filter.end(&mut out),
        }
        if !out.is_empty() {
            let output = sys::fd::inherited(1).map_err(failed)?;
            sys::fd::write_all(&output, &out).map_err(failed)?;
        }
        if count == 0 {
            return Ok(());
        }
    }
}

fn read(input: &impl AsRawFd, block: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match sys::fd::read(input, block) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
