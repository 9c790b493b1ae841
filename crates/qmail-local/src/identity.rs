//! How others see that a file holds this very qmail-local.

/// Everything that decides what a delivery does and says.
const SOURCES: &[&[u8]] = &[
    include_bytes!("args.rs"),
    include_bytes!("deliver.rs"),
    include_bytes!("die.rs"),
    include_bytes!("dotfile.rs"),
    include_bytes!("environment.rs"),
    include_bytes!("forwarding.rs"),
    include_bytes!("instruction.rs"),
    include_bytes!("local.rs"),
    include_bytes!("message.rs"),
    include_bytes!("once.rs"),
    include_bytes!("program.rs"),
    include_bytes!("within.rs"),
    include_bytes!("../../mailbox/src/lib.rs"),
    include_bytes!("../../mailbox/src/limit.rs"),
    include_bytes!("../../mailbox/src/maildir.rs"),
    include_bytes!("../../mailbox/src/maildir/batch.rs"),
    include_bytes!("../../mailbox/src/maildir/look.rs"),
    include_bytes!("../../mailbox/src/mbox.rs"),
    include_bytes!("../../mailbox/src/mbox/quote.rs"),
    include_bytes!("../../recipient/src/dot.rs"),
];

const WORDS: &[u8] = b"qmail-rs qmail-local delivers as ";
const LENGTH: usize = WORDS.len() + 16;

/// A mark that stands in every qmail-local built from these sources, and in no other program but those that look for
/// it. It tells builds apart, it does not keep a secret.
pub static MARK: [u8; LENGTH] = mark();

/// FNV-1a, worked out by the compiler.
#[expect(
    clippy::indexing_slicing,
    reason = "the compiler runs it, and stops at a wrong index"
)]
const fn mark() -> [u8; LENGTH] {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut source = 0;
    while source < SOURCES.len() {
        let mut at = 0;
        while at < SOURCES[source].len() {
            hash = (hash ^ SOURCES[source][at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        source += 1;
    }
    let mut mark = [0; LENGTH];
    let mut at = 0;
    while at < LENGTH {
        mark[at] = if at < WORDS.len() {
            WORDS[at]
        } else {
            let shift = 60 - 4 * (at - WORDS.len());
            b"0123456789abcdef"[(hash >> shift & 15) as usize]
        };
        at += 1;
    }
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_words_and_sixteen_digits() {
        let (words, digits) = MARK.split_at(WORDS.len());
        assert_eq!(words, WORDS);
        assert!(digits.iter().all(u8::is_ascii_hexdigit));
        assert!(digits.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
