//! What we tell qmail-rspawn: reports, each ended by a NUL.
//!
//! First one for each recipient (`r` accepted, `h` refused for good, `s` refused for now), then one for the message
//! (`K`, `D`, `Z`). Each reader splits at NULs, so nothing that a stranger sent may bring one in.

use std::net::IpAddr;

use base::Bytes;
use tls::agreed::Agreed;
use wire::reply::Reply;

/// Bytes that the last report has at most: the words of a host and ours.
const VERDICT_ROOM: usize = wire::reply::TEXT_LIMIT + 1024;

/// The most bytes of the reason why TLS failed.
const WHY_LIMIT: usize = 300;

/// The last report: letter and text, without the NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict(Bytes);

/// The reports on recipients so far.
#[derive(Debug)]
pub(crate) struct Report {
    recipients: Bytes,
    /// the most bytes of one
    share: usize,
}

impl Default for Report {
    fn default() -> Report {
        Report {
            recipients: Bytes::new(),
            share: usize::MAX,
        }
    }
}

impl Report {
    /// Reports on so many recipients that together are not longer than `limit`; each is cut where they would be.
    pub(crate) fn within(limit: usize, recipients: usize) -> Report {
        let room = limit.saturating_sub(VERDICT_ROOM);
        Report {
            recipients: Bytes::new(),
            share: (room / recipients.max(1)).saturating_sub(1),
        }
    }

    pub(crate) fn accepted(&mut self) {
        self.recipients.extend_from_slice(b"r\0");
    }

    /// `letter` is h or s.
    pub(crate) fn refused(&mut self, letter: u8, host: IpAddr, reply: &Reply) {
        let start = self.recipients.len();
        self.recipients.push(letter);
        self.recipients
            .extend_from_slice(format!("{host} does not like recipient.\n").as_bytes());
        self.recipients.extend_from_slice(&said(reply));
        self.recipients.truncate(start.saturating_add(self.share));
        self.recipients.push(0);
    }

    /// A recipient that cannot be named in SMTP at all.
    pub(crate) fn unspeakable(&mut self) {
        self.recipients.extend_from_slice(
            b"hSorry, that recipient address cannot be sent by SMTP. (#5.1.3)\n\0",
        );
    }

    /// All reports, each with its NUL.
    pub(crate) fn bytes(&self, verdict: &Verdict) -> Bytes {
        [&self.recipients[..], &verdict.0, b"\0"].concat()
    }

    /// Writes all at once. Trouble cannot be reported to anybody.
    pub(crate) fn write(&self, verdict: &Verdict) {
        let all = self.bytes(verdict);
        if let Ok(out) = sys::fd::inherited(1) {
            let _ = sys::fd::write_all(&out, &all);
        }
    }
}

impl Verdict {
    /// Tells that everything went under TLS.
    pub(crate) fn under(mut self, agreed: &Agreed) -> Verdict {
        let line = format!("Sent under {}, {}.\n", agreed.protocol, agreed.cipher);
        self.0.extend_from_slice(line.as_bytes());
        self
    }
}

fn plain(text: impl AsRef<[u8]>) -> Verdict {
    Verdict(text.as_ref().to_vec())
}

/// Letter, host and what it did, then its words: `Z1.2.3.4 failed on DATA command.`
pub(crate) fn blame(before: &str, host: IpAddr, after: &str, reply: Option<&Reply>) -> Verdict {
    let mut text = format!("{before}{host}{after}.\n").into_bytes();
    text.extend(reply.map(said).unwrap_or_default());
    Verdict(text)
}

/// The words of the other host, safe to pass on: line ends stay, other control bytes become question marks.
fn said(reply: &Reply) -> Bytes {
    if reply.text.is_empty() {
        return Bytes::new();
    }
    let mut text = b"Remote host said: ".to_vec();
    text.extend(reply.text.iter().map(|&b| match b {
        b'\n' | b'\t' => b,
        0..32 | 127 => b'?',
        _ => b,
    }));
    if text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
    text
}

/// Whether the other side may have taken the message already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Danger {
    None,
    Duplicate,
}

/// The connection broke, or made no sense any more.
pub(crate) fn died(host: IpAddr, how: &str, danger: Danger) -> Verdict {
    let warning = match danger {
        Danger::None => "",
        Danger::Duplicate => "Possible duplicate! ",
    };
    plain(format!(
        "ZConnected to {host} but {how}. {warning}(#4.4.2)\n"
    ))
}

pub(crate) fn usage() -> Verdict {
    plain("DI (qmail-remote) was invoked improperly. (#5.3.5)\n")
}

pub(crate) fn system() -> Verdict {
    plain("ZSystem resources temporarily unavailable. (#4.3.0)\n")
}

pub(crate) fn chdir() -> Verdict {
    plain("ZUnable to switch to home directory. (#4.3.0)\n")
}

pub(crate) fn control() -> Verdict {
    plain("ZUnable to read control files. (#4.3.0)\n")
}

pub(crate) fn unreadable() -> Verdict {
    plain("ZUnable to read message. (#4.3.0)\n")
}

pub(crate) fn partial_line() -> Verdict {
    plain("DSMTP cannot transfer messages with partial final lines. (#5.6.2)\n")
}

pub(crate) fn bad_sender() -> Verdict {
    plain("DSorry, the sender address cannot be sent by SMTP. (#5.1.7)\n")
}

pub(crate) fn dns_temporary() -> Verdict {
    plain("ZSorry, I couldn't find any host by that name. (#4.1.2)\n")
}

pub(crate) fn no_host(host: &[u8]) -> Verdict {
    let shown: Bytes = host
        .iter()
        .map(|&b| if (33..127).contains(&b) { b } else { b'?' })
        .collect();
    plain(
        [
            b"DSorry, I couldn't find any host named ".as_slice(),
            &shown,
            b". (#5.1.2)\n",
        ]
        .concat(),
    )
}

pub(crate) fn no_exchanger() -> Verdict {
    plain("DSorry, I couldn't find a mail exchanger or IP address. (#5.4.4)\n")
}

pub(crate) fn null_mx() -> Verdict {
    plain("DSorry, that host says that it accepts no mail. (#5.1.10)\n")
}

pub(crate) fn best_is_me() -> Verdict {
    plain(
        "DSorry. Although I'm listed as a best-preference MX or A for that host,\n\
         it isn't in my control/locals file, so I don't treat it as local. (#5.4.6)\n",
    )
}

pub(crate) fn no_connection() -> Verdict {
    plain("ZSorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n")
}

/// `why` may hold words of the other side.
pub(crate) fn tls(host: IpAddr, why: &str) -> Verdict {
    let why = base::bytes::printable(why.as_bytes());
    plain(
        [
            format!("ZConnected to {host} but ").as_bytes(),
            why.get(..WHY_LIMIT).unwrap_or(&why),
            b". (#4.7.5)\n",
        ]
        .concat(),
    )
}

pub(crate) fn no_tls(host: IpAddr) -> Verdict {
    plain(format!(
        "ZConnected to {host} but it offers no TLS, and control/tlspolicy asks for it. (#4.7.4)\n"
    ))
}

pub(crate) fn no_login(host: IpAddr) -> Verdict {
    plain(format!(
        "ZConnected to {host} but it offers no way to log in that I may use there. (#4.7.11)\n"
    ))
}

pub(crate) fn too_large(host: IpAddr, limit: u64) -> Verdict {
    plain(format!(
        "DConnected to {host} but it takes no message over {limit} bytes. (#5.3.4)\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_words_cannot_break_the_frame() {
        let reply = Reply {
            code: 550,
            text: b"550-no\0K\x07\x1b[31m\x7f\xc3\xa4\n550 T\x00\n".to_vec(),
        };
        let text = said(&reply);
        assert_eq!(
            text,
            b"Remote host said: 550-no?K??[31m?\xc3\xa4\n550 T?\n".to_vec()
        );
        assert_eq!(said(&Reply::default()), b"");
        let Verdict(text) = no_host(b"a b\n\xff.test");
        assert_eq!(
            text,
            b"DSorry, I couldn't find any host named a?b??.test. (#5.1.2)\n"
        );
    }
}
