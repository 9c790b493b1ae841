//! tai64n: put a time label in front of every line.

use base::{Call, Die};
use sys::sandbox::Promises;

use crate::filter;
use crate::stamp::Stamper;

/// Copies descriptor 0 to descriptor 1 with a label and a blank in front of every line. Arguments are ignored.
pub fn run(_: &Call) -> Result<(), Die> {
    Promises::new().enforce();

    let mut stamper = Stamper::new();
    let mut inside = false;
    filter::copy(|block, output| {
        let mut rest = block;
        while !rest.is_empty() {
            if !inside {
                output.push(stamper.now())?;
            }
            let end = filter::newline(rest);
            let (line, after) = rest
                .split_at_checked(end.map_or(rest.len(), |at| at + 1))
                .unwrap_or_default();
            output.push(line)?;
            inside = end.is_none();
            rest = after;
        }
        Ok(())
    })?;
    Ok(())
}
