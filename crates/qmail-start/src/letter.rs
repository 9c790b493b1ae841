//! What qmail-lspawn and its workers say to each other, one message of the socket each. A worker is some user's
//! process: its answers are a stranger's bytes.

use base::Bytes;
use qmail_local::once::Once;
use qmail_local::within::Answer;
use queue::spawner::Ticket;

/// The longest order, bytes. Longer ones go to qmail-local itself.
pub(crate) const ORDER_LIMIT: usize = 64 * 1024;
/// The longest answer, bytes; more than a report may have.
pub(crate) const ANSWER_LIMIT: usize = 4096;
/// Bytes of a ticket.
const TICKET: usize = 8;

const OVER: u8 = b'o';
const NOT_HERE: u8 = b'n';

/// An order: the ticket; how the delivery can be known again, or nothing, and seven words, each ended by NUL. `None`: too
/// long.
pub(crate) fn order(ticket: Ticket, once: Option<Once>, words: [&[u8]; 7]) -> Option<Bytes> {
    let mut letter = ticket.0.to_le_bytes().to_vec();
    let once = once.map(|once| once.word()).unwrap_or_default();
    for word in std::iter::once(once.as_slice()).chain(words) {
        letter.extend_from_slice(word);
        letter.push(0);
    }
    (letter.len() <= ORDER_LIMIT).then_some(letter)
}

/// What is in an order.
pub(crate) type Order = (Ticket, Option<Once>, [Bytes; 8]);

/// Reads an order; `default` is the eighth word of qmail-local.
pub(crate) fn read_order(letter: &[u8], default: &[u8]) -> Option<Order> {
    let (ticket, rest) = letter.split_first_chunk::<TICKET>()?;
    let mut words = rest.strip_suffix(b"\0")?.split(|&b| b == 0);
    let once = Once::read(words.next()?);
    let words: Vec<Bytes> = words
        .chain(std::iter::once(default))
        .map(<[u8]>::to_vec)
        .collect();
    let ticket = Ticket(u64::from_le_bytes(*ticket));
    Some((ticket, once, words.try_into().ok()?))
}

/// An answer: the ticket, how it went, the exit code, the words, cut to `ANSWER_LIMIT`.
pub(crate) fn answer(ticket: Ticket, answer: &Answer) -> Bytes {
    let mut letter = ticket.0.to_le_bytes().to_vec();
    match answer {
        Answer::Over { code, text } => {
            letter.extend([OVER, *code]);
            letter.extend_from_slice(text);
            letter.truncate(ANSWER_LIMIT);
        }
        Answer::NotHere => letter.push(NOT_HERE),
    }
    letter
}

/// Reads an answer. `None`: it is none.
pub(crate) fn read_answer(letter: &[u8]) -> Option<(Ticket, Answer)> {
    let (ticket, rest) = letter.split_first_chunk::<TICKET>()?;
    let answer = match rest {
        [OVER, code, text @ ..] => Answer::Over {
            code: *code,
            text: text.to_vec(),
        },
        [NOT_HERE] => Answer::NotHere,
        _ => return None,
    };
    Some((Ticket(u64::from_le_bytes(*ticket)), answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let words: [&[u8]; 7] = [b"joe", b"/h", b"joe-x", b"-", b"x", b"host", b""];
        for once in [None, Once::read(b"0123456789abcdef?")] {
            let letter = order(Ticket(77), once, words).unwrap();
            let (ticket, read, _) = read_order(&letter, b"./M/").unwrap();
            assert_eq!((ticket, read), (Ticket(77), once));
        }
        let letter = order(Ticket(77), None, words).unwrap();
        let (.., read) = read_order(&letter, b"./M/").unwrap();
        assert_eq!(read[..7], words.map(<[u8]>::to_vec));
        assert_eq!(read[7], b"./M/");
        let long = vec![b'x'; ORDER_LIMIT];
        assert_eq!(
            order(Ticket(1), None, [&long, b"", b"", b"", b"", b"", b""]),
            None
        );
        for said in [
            Answer::NotHere,
            Answer::Over {
                code: 111,
                text: b"no\n".to_vec(),
            },
        ] {
            let letter = answer(Ticket(u64::MAX), &said);
            assert_eq!(read_answer(&letter), Some((Ticket(u64::MAX), said)));
        }
        let text = vec![b'x'; 10_000];
        let letter = answer(Ticket(1), &Answer::Over { code: 0, text });
        assert_eq!(letter.len(), ANSWER_LIMIT);
    }

    #[test]
    fn nonsense_is_no_answer() {
        for letter in [
            &b""[..],
            b"1234567",
            b"12345678",
            b"12345678o",
            b"12345678nx",
            b"12345678x\0",
        ] {
            assert_eq!(read_answer(letter), None);
            assert_eq!(read_order(letter, b""), None);
        }
    }
}
