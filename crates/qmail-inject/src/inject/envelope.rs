//! The envelope as it grows.

use base::bytes::printable;
use base::{Bytes, Die};

/// The most recipients of one message.
pub(super) const RECIPIENT_LIMIT: usize = 1_000_000;

/// Addresses, each ended by a NUL: a million of them take no more memory than their bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    text: Bytes,
    count: usize,
}

impl Addresses {
    /// One more address.
    pub(super) fn push(&mut self, address: &[u8]) -> Result<(), Die> {
        check(address)?;
        if self.count >= RECIPIENT_LIMIT {
            return Err(Die::fatal(
                100,
                format!("more than {RECIPIENT_LIMIT} recipients"),
            ));
        }
        self.text.extend_from_slice(address);
        self.text.push(0);
        self.count += 1;
        Ok(())
    }

    /// The addresses in the order they came.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        let text = self.text.strip_suffix(b"\0");
        text.into_iter().flat_map(|t| t.split(|&b| b == 0))
    }
}

/// A line end or a NUL in an address would be read as something else further on: cut short, or a command of its own.
///
/// # Errors
/// Exit code 100 for such an address.
pub(super) fn check(address: &[u8]) -> Result<(), Die> {
    if address.iter().any(|b| b"\r\n\0".contains(b)) {
        let shown = printable(address);
        let text = [b"line end or NUL in address: ", shown.as_slice()].concat();
        return Err(Die::fatal(100, text));
    }
    Ok(())
}

/// Who gets a message, and who hears when it cannot be delivered.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    /// `None` until somebody says so
    pub(super) sender: Option<Bytes>,
    pub(super) from_arguments: Addresses,
    pub(super) from_header: Addresses,
    /// from the Resent fields, which replace the others if there is any Resent field
    pub(super) from_resent: Addresses,
    pub(super) is_resent: bool,
}

impl Envelope {
    /// The recipients that count.
    pub(super) fn recipients(&self, header: bool) -> impl Iterator<Item = &[u8]> {
        let of_header = match (header, self.is_resent) {
            (false, _) => None,
            (true, false) => Some(&self.from_header),
            (true, true) => Some(&self.from_resent),
        };
        self.from_arguments
            .iter()
            .chain(of_header.into_iter().flat_map(Addresses::iter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_in_order() {
        let mut addresses = Addresses::default();
        assert_eq!(addresses.iter().count(), 0);
        for address in ["", "a@b", ""] {
            addresses.push(address.as_bytes()).unwrap();
        }
        assert_eq!(
            addresses.iter().collect::<Vec<_>>(),
            [&b""[..], b"a@b", b""]
        );
        assert!(addresses.push(b"a\nb").is_err());
        assert!(addresses.push(b"a\0b").is_err());
    }
}
