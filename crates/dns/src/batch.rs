//! Many questions at once: every one has a socket of its own, one poll waits for all.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use domain::base::{Name, Rtype};
use sys::poll::{self, Wait};

use crate::answer::{self, Answer, Edns, Reply};
use crate::transport::{self, ROUNDS, STRAY_LIMIT, UDP_LIMIT};
use crate::{Resolver, Trouble, name};

/// The most questions that are under way at once; the others wait for their turn. Each takes one descriptor.
const FLIGHT_LIMIT: usize = 64;

/// Questions to the resolvers, all under way at the same time.
///
/// Shape   the answers are taken by number, in the order in which the questions were given.
/// Waits   until the end that `Resolver::ask_all` was given, all of them together; an answer over TCP may take ten
///         seconds more.
#[derive(Debug)]
pub struct Batch<'a> {
    resolver: &'a Resolver,
    questions: Vec<Question>,
    end: Instant,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        resolver: &'a Resolver,
        questions: impl IntoIterator<Item = (Vec<u8>, Rtype)>,
        end: Instant,
    ) -> Batch<'a> {
        let questions = questions.into_iter().map(|(host, kind)| Question {
            state: match name::parse(&host).filter(|_| !host.is_empty()) {
                Some(name) => State::Waiting(Attempt::first(name)),
                None => State::Done(Err(Trouble::NoName)),
            },
            kind,
        });
        let mut batch = Batch {
            resolver,
            questions: questions.collect(),
            end,
        };
        batch.start_some();
        batch
    }

    /// The answer to question `number`; waits for it, and lets the others come meanwhile. Each can be taken once.
    ///
    /// # Errors
    /// As `Resolver::ask`; `Temporary` for what was not asked or has been taken.
    pub fn take(&mut self, number: usize) -> Result<Answer, Trouble> {
        loop {
            match self.questions.get_mut(number).map(Question::finish) {
                Some(Some(result)) => return result,
                Some(None) => self.go_on(),
                None => return Err(Trouble::Temporary("not asked".to_owned())),
            }
        }
    }

    /// Sends off what waits, as far as there is room.
    fn start_some(&mut self) {
        let flying = |q: &&Question| matches!(q.state, State::Flying(..));
        let mut room = FLIGHT_LIMIT.saturating_sub(self.questions.iter().filter(flying).count());
        for question in &mut self.questions {
            if room == 0 {
                return;
            }
            if matches!(question.state, State::Waiting(_)) {
                question.start(&self.resolver.servers, self.end);
                room -= 1;
            }
        }
    }

    /// Waits for a packet or a moment to ask again, and acts on it.
    fn go_on(&mut self) {
        let mut list: Vec<Wait> = Vec::new();
        let mut first = self.end;
        for flight in self.questions.iter().filter_map(Question::flight) {
            list.push(Wait::readable(&flight.socket));
            first = first.min(flight.limit);
        }
        let left = first.saturating_duration_since(Instant::now());
        // An interruption or an error shows nothing as ready; the clock goes on.
        if poll::wait(&mut list, Some(left)).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut ready = list.iter().map(Wait::is_ready);
        let now = Instant::now();
        for question in &mut self.questions {
            let Some(flight) = question.flight() else {
                continue;
            };
            let over = flight.limit <= now;
            if ready.next() == Some(true) {
                question.receive(self.resolver, self.end);
            } else if over {
                question.try_next("timed out".to_owned(), &self.resolver.servers, self.end);
            }
        }
        self.start_some();
    }
}

#[derive(Debug)]
struct Question {
    kind: Rtype,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting(Attempt),
    Flying(Attempt, Flight),
    Done(Result<Answer, Trouble>),
}

/// What is asked of whom, and why it was not told before.
#[derive(Clone, Debug)]
struct Attempt {
    name: Name<Vec<u8>>,
    /// counts over all servers and all rounds
    number: usize,
    edns: Edns,
    reason: String,
}

impl Attempt {
    fn first(name: Name<Vec<u8>>) -> Attempt {
        Attempt {
            name,
            number: 0,
            edns: Edns::Offered,
            reason: "no resolver".to_owned(),
        }
    }

    /// The server of this attempt and how long it has.
    fn target(&self, servers: &[SocketAddr]) -> Option<(SocketAddr, Duration)> {
        let round = self.number.checked_div(servers.len())?;
        let server = servers.get(self.number.checked_rem(servers.len())?)?;
        Some((*server, *ROUNDS.get(round)?))
    }
}

/// A query on its way.
#[derive(Debug)]
struct Flight {
    socket: UdpSocket,
    server: SocketAddr,
    id: u16,
    limit: Instant,
    strays: usize,
}

impl Question {
    fn flight(&self) -> Option<&Flight> {
        match &self.state {
            State::Flying(_, flight) => Some(flight),
            _ => None,
        }
    }

    /// The result if there is one.
    fn finish(&mut self) -> Option<Result<Answer, Trouble>> {
        if !matches!(self.state, State::Done(_)) {
            return None;
        }
        let taken = State::Done(Err(Trouble::Temporary("taken before".to_owned())));
        match std::mem::replace(&mut self.state, taken) {
            State::Done(result) => Some(result),
            _ => None,
        }
    }

    fn attempt(&mut self) -> Option<&mut Attempt> {
        match &mut self.state {
            State::Waiting(attempt) | State::Flying(attempt, _) => Some(attempt),
            State::Done(_) => None,
        }
    }

    /// Sends the query of the attempt, or of the first later one that can be sent.
    fn start(&mut self, servers: &[SocketAddr], end: Instant) {
        loop {
            let kind = self.kind;
            let Some(attempt) = self.attempt() else {
                return;
            };
            let target = attempt.target(servers).filter(|_| Instant::now() < end);
            let Some((server, time)) = target else {
                self.state = State::Done(Err(Trouble::Temporary(attempt.reason.clone())));
                return;
            };
            match send(attempt, &server, kind, end.min(Instant::now() + time)) {
                Ok(flight) => {
                    self.state = State::Flying(attempt.clone(), flight);
                    return;
                }
                Err(error) => {
                    attempt.reason = base::die::system_text(&error);
                    attempt.number += 1;
                }
            }
        }
    }

    /// Gives this attempt up for `reason` and asks the next server.
    fn try_next(&mut self, reason: String, servers: &[SocketAddr], end: Instant) {
        if let Some(attempt) = self.attempt() {
            attempt.reason = reason;
            attempt.number += 1;
            attempt.edns = Edns::Offered;
        }
        self.start(servers, end);
    }

    /// Reads one packet.
    fn receive(&mut self, resolver: &Resolver, end: Instant) {
        let kind = self.kind;
        let State::Flying(attempt, flight) = &mut self.state else {
            return;
        };
        let found = match flight.read(attempt, kind) {
            Ok(None) if flight.strays < STRAY_LIMIT => return,
            Ok(None) => Err("stray answers".to_owned()),
            Ok(Some(Reply::Plain)) if attempt.edns == Edns::Offered => {
                attempt.edns = Edns::Absent;
                return self.start(&resolver.servers, end);
            }
            Ok(Some(Reply::Truncated)) => {
                transport::over_tcp(&flight.server, &attempt.name, kind, attempt.edns)
                    .map_err(|e| base::die::system_text(&e))
            }
            Ok(Some(reply)) => Ok(reply),
            Err(error) => Err(base::die::system_text(&error)),
        };
        let reason = match found {
            Ok(Reply::NoName) => {
                self.state = State::Done(Err(Trouble::NoName));
                return;
            }
            Ok(Reply::Answer(message)) => {
                match Answer::new(message, &attempt.name, kind, resolver.trusted) {
                    Some(answer) => {
                        self.state = State::Done(Ok(answer));
                        return;
                    }
                    None => "CNAME loop".to_owned(),
                }
            }
            Ok(Reply::Failed(text)) | Err(text) => text,
            Ok(Reply::Truncated | Reply::Plain) => "bad answer".to_owned(),
        };
        self.try_next(reason, &resolver.servers, end);
    }
}

impl Flight {
    /// The reply, or `None` for a packet that is none.
    fn read(&mut self, attempt: &Attempt, kind: Rtype) -> io::Result<Option<Reply>> {
        let mut buffer = [0; UDP_LIMIT];
        let count = match self.socket.recv(&mut buffer) {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(None);
            }
            done => done?,
        };
        let packet = buffer.get(..count).unwrap_or_default().to_vec();
        let reply = answer::reply(packet, self.id, &attempt.name, kind);
        self.strays += usize::from(reply.is_none());
        Ok(reply)
    }
}

fn send(attempt: &Attempt, server: &SocketAddr, kind: Rtype, limit: Instant) -> io::Result<Flight> {
    let socket = transport::open(server)?;
    socket.set_nonblocking(true)?;
    let (id, query) = transport::fresh_query(&attempt.name, kind, attempt.edns)?;
    socket.send(&query)?;
    Ok(Flight {
        socket,
        server: *server,
        id,
        limit,
        strays: 0,
    })
}
