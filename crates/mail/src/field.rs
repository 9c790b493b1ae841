//! Names of header fields (djb's `hfield`).
//!
//! Source  RFC 5322 3.6, RFC 822 4.1; qmail-header(5)

/// Fields that a mail program treats by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "every variant is the name of its field")]
pub enum Field {
    Sender,
    From,
    ReplyTo,
    To,
    Cc,
    Bcc,
    Date,
    MessageId,
    Subject,
    ResentSender,
    ResentFrom,
    ResentReplyTo,
    ResentTo,
    ResentCc,
    ResentBcc,
    ResentDate,
    ResentMessageId,
    ReturnReceiptTo,
    ErrorsTo,
    ApparentlyTo,
    Received,
    ReturnPath,
    DeliveredTo,
    ContentLength,
    ContentType,
    ContentTransferEncoding,
    NoticeRequestedUponDeliveryTo,
    MailFollowupTo,
}

const NAMES: [(&str, Field); 28] = [
    ("sender", Field::Sender),
    ("from", Field::From),
    ("reply-to", Field::ReplyTo),
    ("to", Field::To),
    ("cc", Field::Cc),
    ("bcc", Field::Bcc),
    ("date", Field::Date),
    ("message-id", Field::MessageId),
    ("subject", Field::Subject),
    ("resent-sender", Field::ResentSender),
    ("resent-from", Field::ResentFrom),
    ("resent-reply-to", Field::ResentReplyTo),
    ("resent-to", Field::ResentTo),
    ("resent-cc", Field::ResentCc),
    ("resent-bcc", Field::ResentBcc),
    ("resent-date", Field::ResentDate),
    ("resent-message-id", Field::ResentMessageId),
    ("return-receipt-to", Field::ReturnReceiptTo),
    ("errors-to", Field::ErrorsTo),
    ("apparently-to", Field::ApparentlyTo),
    ("received", Field::Received),
    ("return-path", Field::ReturnPath),
    ("delivered-to", Field::DeliveredTo),
    ("content-length", Field::ContentLength),
    ("content-type", Field::ContentType),
    ("content-transfer-encoding", Field::ContentTransferEncoding),
    (
        "notice-requested-upon-delivery-to",
        Field::NoticeRequestedUponDeliveryTo,
    ),
    ("mail-followup-to", Field::MailFollowupTo),
];

/// The bytes in front of the first colon, without blanks and tabs at their end; `None` without a colon.
///
/// Blanks before the colon are allowed, as RFC 822 allowed them.
pub fn name(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|&b| b == b':')?;
    Some(base::bytes::trim_end(line.get(..colon)?))
}

/// Which field a line begins, if it is one of those known.
pub fn known(line: &[u8]) -> Option<Field> {
    let name = name(line)?;
    NAMES
        .iter()
        .find(|(text, _)| name.eq_ignore_ascii_case(text.as_bytes()))
        .map(|(_, field)| *field)
}

/// Whether a line can begin a field: a name of printable ASCII without blanks, then a colon.
pub fn is_valid(line: &[u8]) -> bool {
    name(line).is_some_and(|name| !name.is_empty() && name.iter().all(|b| (33..127).contains(b)))
}

/// What follows the name and the colon, without white space at its start; everything if there is no colon.
pub fn value(line: &[u8]) -> &[u8] {
    let start = line
        .iter()
        .position(|&b| b == b':')
        .map_or(line.len(), |at| at + 1);
    let value = line.get(start..).unwrap_or_default();
    let blanks = value.iter().take_while(|b| b" \t\r\n".contains(*b)).count();
    value.get(blanks..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Field::{ResentMessageId, To};
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(known(b"To: a"), Some(To));
        assert_eq!(known(b"tO \t:a"), Some(To));
        assert_eq!(
            known(b"RESENT-MESSAGE-ID:\n folded\n"),
            Some(ResentMessageId)
        );
        assert_eq!(known(b"Tox: a"), None);
        assert_eq!(known(b" To: a"), None);
        assert_eq!(known(b"To"), None);
        assert_eq!(known(b""), None);
        assert_eq!(known(b"Reply\rTo: a"), None);
    }

    #[test]
    fn a_name_is_printable_without_blanks() {
        for good in ["a:", "X-Y: z", "a :b", "!\t: x"] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "a",
            ":",
            " a:",
            "a b: c",
            " : x",
            "a\x7f: b",
            "\u{e9}: x",
        ] {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn the_value_begins_at_its_first_byte() {
        assert_eq!(value(b"A: \n b c"), b"b c");
        assert_eq!(value(b"A:"), b"");
        assert_eq!(value(b"none"), b"");
    }
}
