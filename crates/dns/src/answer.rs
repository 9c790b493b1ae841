//! Messages: the question that goes out, and what an answer holds.

use std::net::IpAddr;
use std::time::Duration;

use base::Bytes;
use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::message_builder::PushError;
use domain::base::{Message, MessageBuilder, Name, ParsedRecord, Rtype};
use domain::rdata::{A, Aaaa, Cname, Mx as MxData, Ptr, Txt};

use crate::{Mx, Trouble, name};

/// The largest answer over UDP that we ask for, bytes: it passes everywhere without fragments (DNS flag day 2020).
const EDNS_SIZE: u16 = 1232;
/// The longest chain of CNAME records that is followed.
const CNAME_LIMIT: usize = 16;

/// Whether a query offers EDNS: some old servers refuse what they do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edns {
    Offered,
    Absent,
}

/// A query for `kind` of `name`. The AD bit asks for the AD bit (RFC 6840 5.7).
pub(crate) fn query(
    id: u16,
    name: &Name<Vec<u8>>,
    kind: Rtype,
    edns: Edns,
) -> Result<Bytes, PushError> {
    let mut builder = MessageBuilder::new_vec();
    let header = builder.header_mut();
    header.set_id(id);
    header.set_rd(true);
    header.set_ad(true);
    let mut question = builder.question();
    question.push((name, kind))?;
    let mut additional = question.additional();
    if edns == Edns::Offered {
        additional.opt(|opt| {
            opt.set_udp_payload_size(EDNS_SIZE);
            Ok(())
        })?;
    }
    Ok(additional.finish())
}

/// What came back for a query.
#[derive(Debug)]
pub(crate) enum Reply {
    /// records, or the certainty that there are none
    Answer(Message<Bytes>),
    /// the name does not exist
    NoName,
    /// cut short: ask over TCP
    Truncated,
    /// the server does not understand EDNS
    Plain,
    /// the server could not answer: ask another
    Failed(String),
}

/// Reads a packet as the reply to our query; `None` when it is not one.
pub(crate) fn reply(packet: Bytes, id: u16, name: &Name<Vec<u8>>, kind: Rtype) -> Option<Reply> {
    let message = Message::from_octets(packet).ok()?;
    let header = message.header();
    if !header.qr() || header.id() != id || header.opcode() != Opcode::QUERY {
        return None;
    }
    let rcode = header.rcode();
    let confused = matches!(rcode, Rcode::FORMERR | Rcode::NOTIMP);
    if !(confused && message.header_counts().qdcount() == 0) {
        let question = message.sole_question().ok()?;
        if question.qname() != name || question.qtype() != kind || question.qclass() != Class::IN {
            return None;
        }
    }
    Some(match rcode {
        Rcode::NOERROR | Rcode::NXDOMAIN if header.tc() => Reply::Truncated,
        Rcode::NOERROR if is_sound(&message) => Reply::Answer(message),
        Rcode::NOERROR => Reply::Failed("malformed answer".to_owned()),
        Rcode::NXDOMAIN => Reply::NoName,
        _ if confused => Reply::Plain,
        other => Reply::Failed(format!("server says {other}")),
    })
}

/// Whether the whole answer section can be walked.
fn is_sound(message: &Message<Bytes>) -> bool {
    message
        .answer()
        .is_ok_and(|mut section| section.all(|record| record.is_ok()))
}

/// Records of one question.
#[derive(Clone, Debug)]
pub struct Answer {
    message: Message<Bytes>,
    kind: Rtype,
    name: Name<Vec<u8>>,
    authentic: bool,
}

impl Answer {
    /// `None` when the CNAME records go in a circle or too far.
    pub(crate) fn new(
        message: Message<Bytes>,
        asked: &Name<Vec<u8>>,
        kind: Rtype,
        trusted: bool,
    ) -> Option<Answer> {
        Some(Answer {
            name: canonical(&message, asked)?,
            authentic: trusted && message.header().ad(),
            message,
            kind,
        })
    }

    /// Whether a resolver that we trust has verified the answer by DNSSEC.
    pub fn is_authentic(&self) -> bool {
        self.authentic
    }

    /// The name that the records belong to, at the end of its CNAME records.
    pub fn canonical(&self) -> Bytes {
        name::text(&self.name)
    }

    /// How long the shortest-lived record of the answer lives; `None` if there is none.
    pub(crate) fn life(&self) -> Option<Duration> {
        let records = self.message.answer().ok()?.flatten();
        records.map(|record| record.ttl().into_duration()).min()
    }

    /// Turns each record that belongs to the question into a value; the first of equal ones is kept.
    ///
    /// # Errors
    /// `NoData` when there are none; `Temporary` when one cannot be read.
    fn collect<T: PartialEq>(
        &self,
        take: impl Fn(&ParsedRecord<'_, Bytes>) -> Option<T>,
    ) -> Result<Vec<T>, Trouble> {
        let malformed = || Trouble::Temporary("malformed record".to_owned());
        let mut list = Vec::new();
        for record in self.message.answer().map_err(|_| malformed())? {
            let record = record.map_err(|_| malformed())?;
            if record.rtype() != self.kind
                || record.class() != Class::IN
                || record.owner() != self.name
            {
                continue;
            }
            let value = take(&record).ok_or_else(malformed)?;
            if !list.contains(&value) {
                list.push(value);
            }
        }
        if list.is_empty() {
            return Err(Trouble::NoData);
        }
        Ok(list)
    }

    pub(crate) fn mx(&self) -> Result<Vec<Mx>, Trouble> {
        self.collect(|record| {
            let data = record.to_record::<MxData<_>>().ok()??.into_data();
            Some(Mx {
                preference: data.preference(),
                host: name::text(data.exchange()),
            })
        })
    }

    /// The addresses, each once.
    ///
    /// # Errors
    /// `NoData` when there are none; `Temporary` when one cannot be read.
    pub fn addresses(&self) -> Result<Vec<IpAddr>, Trouble> {
        self.collect(|record| {
            if let Some(v4) = record.to_record::<A>().ok()? {
                return Some(v4.data().addr().into());
            }
            Some(record.to_record::<Aaaa>().ok()??.data().addr().into())
        })
    }

    pub(crate) fn ptr(&self) -> Result<Vec<Bytes>, Trouble> {
        self.collect(|record| {
            let data = record.to_record::<Ptr<_>>().ok()??.into_data();
            Some(name::text(data.ptrdname()))
        })
    }

    /// The texts: one for each TXT record, its strings joined.
    ///
    /// # Errors
    /// `NoData` when there are none; `Temporary` when one cannot be read.
    pub fn txt(&self) -> Result<Vec<Bytes>, Trouble> {
        self.collect(|record| {
            let data = record.to_record::<Txt<_>>().ok()??.into_data();
            Some(data.iter().flatten().copied().collect())
        })
    }
}

/// Follows CNAME records inside the answer.
fn canonical(message: &Message<Bytes>, asked: &Name<Vec<u8>>) -> Option<Name<Vec<u8>>> {
    let mut current = asked.clone();
    for _ in 0..=CNAME_LIMIT {
        let next = message
            .answer()
            .ok()?
            .flatten()
            .filter(|r| r.rtype() == Rtype::CNAME && r.class() == Class::IN)
            .find(|r| r.owner() == current);
        let Some(record) = next else {
            return Some(current);
        };
        let data = record.to_record::<Cname<_>>().ok()??.into_data();
        current = domain::base::name::ToName::to_name(data.cname());
    }
    None
}
