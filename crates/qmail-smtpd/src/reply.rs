//! What the server says: code, enhanced status, classic words. And the token under which the log knows it.
//!
//! Source  RFC 5321 4.2, RFC 2034 4, RFC 3463; the words are those of the original

use std::borrow::Cow;

use base::Bytes;
use queue::submit::Outcome;

/// One reply of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599
    pub code: u16,
    /// enhanced status code
    pub status: Cow<'static, str>,
    /// the words; no line end in them
    pub text: Cow<'static, [u8]>,
    /// why, in one word, for the log
    pub reason: &'static str,
}

const fn reply(code: u16, status: &'static str, reason: &'static str, text: &'static str) -> Reply {
    Reply {
        code,
        status: Cow::Borrowed(status),
        text: Cow::Borrowed(text.as_bytes()),
        reason,
    }
}

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident = $code:literal $status:literal $reason:literal $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Reply = reply($code, $status, $reason, $text);)*
    };
}

replies! {
    /// RSET
    FLUSHED = 250 "2.0.0" "reset" "flushed";
    /// NOOP
    NOOP = 250 "2.0.0" "noop" "ok";
    /// MAIL
    SENDER_OK = 250 "2.1.0" "ok" "ok";
    /// RCPT
    RECIPIENT_OK = 250 "2.1.5" "ok" "ok";
    /// VRFY: no name is disclosed
    VRFY = 252 "2.0.0" "vrfy" "send some mail, i'll try my best";
    /// HELP
    HELP = 214 "2.0.0" "help" "qmail-rs: see qmail-smtpd(8)";
    /// STARTTLS: the last reply in clear
    READY_FOR_TLS = 220 "2.0.0" "starttls" "ready for tls";
    /// STARTTLS under TLS
    TLS_TWICE = 503 "5.5.1" "order" "TLS is there already (#5.5.1)";
    /// STARTTLS after MAIL
    TLS_IN_TRANSACTION = 503 "5.5.1" "order" "no TLS during mail transaction (#5.5.1)";
    /// STARTTLS with an argument
    TLS_ARGUMENT = 501 "5.5.4" "syntax" "STARTTLS stands alone (#5.5.4)";
    /// commands behind STARTTLS that did not wait for TLS: they may be another's
    TLS_AHEAD = 421 "5.5.1" "ahead" "nothing may follow STARTTLS (#5.5.1)";
    /// mail or a password before the TLS that is asked for
    WANT_TLS = 530 "5.7.0" "wanttls" "must issue a STARTTLS command first (#5.7.0)";
    /// no name after STARTTLS
    WANT_EHLO = 503 "5.5.1" "order" "EHLO first (#5.5.1)";
    /// AUTH, where somebody should check passwords and nobody can
    NO_AUTH = 503 "5.3.3" "noauth" "auth not available (#5.3.3)";
    /// AUTH after a success
    AUTH_TWICE = 503 "5.5.0" "order" "you're already authenticated (#5.5.0)";
    /// AUTH after MAIL
    AUTH_IN_TRANSACTION = 503 "5.5.0" "order" "no auth during mail transaction (#5.5.0)";
    /// a mechanism that is not offered
    AUTH_UNKNOWN = 504 "5.5.1" "mechanism" "auth type unimplemented (#5.5.1)";
    /// a mechanism that would show the password to everybody on the way
    AUTH_IN_CLEAR = 538 "5.7.11" "clear" "encryption required for this auth type (#5.7.11)";
    /// a success
    AUTH_OK = 235 "2.0.0" "login" "ok, go ahead (#2.0.0)";
    /// a name and a password that do not belong together
    AUTH_FAILED = 535 "5.7.0" "badlogin" "authorization failed (#5.7.0)";
    /// too many failures lately: refused unasked, in the same words
    AUTH_BARRED = 535 "5.7.0" "guessing" "authorization failed (#5.7.0)";
    /// a response that has not the form of the mechanism
    AUTH_MALFORMED = 501 "5.5.4" "malformed" "malformed auth input (#5.5.4)";
    /// the client gave up
    AUTH_CANCELLED = 501 "5.0.0" "cancelled" "auth exchange cancelled (#5.0.0)";
    /// a response over its limit
    AUTH_TOO_LONG = 500 "5.5.6" "longline" "auth exchange line is too long (#5.5.6)";
    /// nobody can tell now
    AUTH_TROUBLE = 454 "4.3.0" "checker" "unable to check the password now (#4.3.0)";
    /// too many failures in one session
    TOO_MANY_LOGINS = 421 "4.7.0" "maxlogins" "too many failed logins (#4.7.0)";
    /// mail without AUTH, where it is required
    WANT_AUTH = 530 "5.7.0" "wantauth" "authentication required (#5.7.0)";
    /// a sender that does not belong to the account
    NOT_YOUR_SENDER = 553 "5.7.1" "ownsender" "sorry, that sender is not yours (#5.7.1)";
    /// an unknown verb
    UNIMPLEMENTED = 502 "5.5.1" "unimplemented" "unimplemented (#5.5.1)";
    /// RCPT or DATA before MAIL
    WANT_MAIL = 503 "5.5.1" "order" "MAIL first (#5.5.1)";
    /// DATA before RCPT
    WANT_RCPT = 503 "5.5.1" "order" "RCPT first (#5.5.1)";
    /// a line over its limit
    LINE_TOO_LONG = 500 "5.5.2" "longline" "line too long (#5.5.2)";
    /// LF without CR at the end of a command
    BARE_LF_COMMAND = 500 "5.5.2" "barelf" "lines end with CR LF (#5.5.2)";
    /// CR inside a command
    BARE_CR_COMMAND = 501 "5.5.2" "barecr" "CR in a command (#5.5.2)";
    /// NUL inside a command
    NUL_COMMAND = 501 "5.5.2" "nul" "NUL in a command (#5.5.2)";
    /// the argument of MAIL is not an address
    SENDER_SYNTAX = 501 "5.1.7" "syntax" "syntax error in the sender's address (#5.1.7)";
    /// the argument of RCPT is not an address
    RECIPIENT_SYNTAX = 501 "5.1.3" "syntax" "syntax error in the recipient's address (#5.1.3)";
    /// an address over its limit
    ADDRESS_TOO_LONG = 555 "5.5.4" "longaddress" "syntax error (#5.5.4)";
    /// bytes above 127 in an address
    SENDER_NON_ASCII = 550 "5.6.7" "nonascii" "sorry, I take ASCII addresses only (#5.6.7)";
    /// bytes above 127 in an address
    RECIPIENT_NON_ASCII = 553 "5.6.7" "nonascii" "sorry, I take ASCII addresses only (#5.6.7)";
    /// a parameter that was not offered
    UNKNOWN_PARAMETER = 555 "5.5.4" "parameter" "syntax error (#5.5.4)";
    /// a parameter that is not even one
    PARAMETER_SYNTAX = 501 "5.5.4" "parameter" "syntax error in a parameter (#5.5.4)";
    /// badmailfrom
    BAD_SENDER = 553 "5.7.1" "badmailfrom" "sorry, your envelope sender is in my badmailfrom list (#5.7.1)";
    /// rcpthosts
    NO_GATEWAY = 553 "5.7.1" "rcpthosts" "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)";
    /// an address without a domain, other than postmaster
    NO_DOMAIN = 553 "5.1.3" "nodomain" "sorry, that address has no domain (#5.1.3)";
    /// nobody here has this name
    UNKNOWN_USER = 550 "5.1.1" "unknown" "sorry, no mailbox here by that name (#5.1.1)";
    /// the recipient cannot be judged now
    CANNOT_JUDGE = 451 "4.3.0" "trouble" "unable to check that address now (#4.3.0)";
    /// more recipients than a message may have
    TOO_MANY_RECIPIENTS = 452 "4.5.3" "maxrcpt" "too many recipients (#4.5.3)";
    /// SIZE or the message itself is over databytes
    TOO_LARGE = 552 "5.3.4" "databytes" "sorry, that message size exceeds my databytes limit (#5.3.4)";
    /// the header is over its limit of bytes
    HEADER_TOO_LONG = 552 "5.3.4" "maxheaderbytes" "sorry, that message header is too long (#5.3.4)";
    /// the header is over its limit of lines
    HEADER_LINES = 554 "5.6.0" "maxheaderlines" "sorry, that message header has too many lines (#5.6.0)";
    /// hop count
    LOOPING = 554 "5.4.6" "hops" "too many hops, this message is looping (#5.4.6)";
    /// CR without LF in a message
    BARE_CR = 554 "5.6.0" "barecr" "sorry, that message has a CR without LF (#5.6.0)";
    /// NUL in a message
    NUL = 554 "5.6.0" "nul" "sorry, that message has a NUL in it (#5.6.0)";
    /// LF without CR in a message
    BARE_LF = 451 "4.6.0" "barelf" "See https://cr.yp.to/docs/smtplf.html.";
    /// qmail-queue cannot be started
    QQT = 451 "4.3.0" "qqt" "qqt failure (#4.3.0)";
    /// the client was silent
    TIMEOUT = 451 "4.4.2" "timeout" "timeout (#4.4.2)";
    /// the session is over its limit
    TOO_OLD = 421 "4.4.2" "timeouttotal" "session took too long (#4.4.2)";
    /// the client drips
    STALLED = 421 "4.4.2" "stalled" "too slow (#4.4.2)";
    /// the client makes too many mistakes
    TOO_MANY_ERRORS = 421 "4.7.0" "maxerrors" "too many errors (#4.7.0)";
    /// the client speaks another protocol
    NOT_SMTP = 421 "4.7.0" "notsmtp" "this is SMTP (#4.7.0)";
    /// a line without end
    FLOOD = 421 "4.7.0" "flood" "line far too long (#4.7.0)";
    /// a control file is there and cannot be read
    NO_CONTROLS = 421 "4.3.0" "control" "unable to read controls (#4.3.0)";
    /// the interfaces of this machine cannot be listed
    NO_ADDRESSES = 421 "4.3.0" "ipme" "unable to figure out my IP addresses (#4.3.0)";
}

impl Reply {
    /// The reply as it goes to the client.
    pub fn line(&self) -> Bytes {
        [
            format!("{} {} ", self.code, self.status).as_bytes(),
            &self.text,
            b"\r\n",
        ]
        .concat()
    }

    /// The message is on disk.
    pub fn accepted(unix: i64, id: u32) -> Reply {
        Reply {
            code: 250,
            status: Cow::Borrowed("2.0.0"),
            text: Cow::Owned(format!("ok {unix} qp {id}").into_bytes()),
            reason: "ok",
        }
    }

    /// What a queue program said, if it did not take the message. The status is the one that its text ends with.
    pub fn refused_by_queue(outcome: &Outcome) -> Option<Reply> {
        let (code, class, text) = match outcome {
            Outcome::Queued => return None,
            Outcome::Permanent(text) => (554, b'5', text),
            Outcome::Temporary(text) => (451, b'4', text),
        };
        let status = status_in(text, class).unwrap_or_else(|| {
            if class == b'5' {
                "5.3.0".to_owned()
            } else {
                "4.3.0".to_owned()
            }
        });
        Some(Reply {
            code,
            status: Cow::Owned(status),
            text: Cow::Owned(text.clone()),
            reason: "queue",
        })
    }
}

/// The enhanced status in a text of the form `... (#5.7.1)`, if it is of this class.
fn status_in(text: &[u8], class: u8) -> Option<String> {
    let at = base::bytes::find(text, b"(#")?;
    let rest = text.get(at + 2..)?;
    let end = rest.iter().position(|&b| b == b')')?;
    let status = rest.get(..end)?;
    let parts: Vec<&[u8]> = status.split(|&b| b == b'.').collect();
    let [first, subject, detail] = parts.as_slice() else {
        return None;
    };
    let is_number = |p: &[u8]| (1..=3).contains(&p.len()) && p.iter().all(u8::is_ascii_digit);
    if *first != [class] || !is_number(subject) || !is_number(detail) {
        return None;
    }
    String::from_utf8(status.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_stands_before_the_classic_words() {
        assert_eq!(SENDER_OK.line(), b"250 2.1.0 ok\r\n");
        assert_eq!(
            Reply::accepted(1_000_000_000, 77).line(),
            b"250 2.0.0 ok 1000000000 qp 77\r\n"
        );
    }

    #[test]
    fn the_status_of_a_queue_program_is_used_if_it_fits() {
        let status = |outcome| Reply::refused_by_queue(&outcome).unwrap().line();
        assert_eq!(
            status(Outcome::Permanent(b"no spam (#5.7.1)".to_vec())),
            b"554 5.7.1 no spam (#5.7.1)\r\n"
        );
        assert_eq!(
            status(Outcome::Temporary(b"wait (#5.7.1)".to_vec())),
            b"451 4.3.0 wait (#5.7.1)\r\n"
        );
        assert_eq!(
            status(Outcome::Permanent(b"odd (#5.7.)".to_vec())),
            b"554 5.3.0 odd (#5.7.)\r\n"
        );
        assert_eq!(Reply::refused_by_queue(&Outcome::Queued), None);
    }
}
