//! qmail-popup: from the arguments to the checker, which becomes the server of the session.
//!
//! Two processes. The front hears the stranger, and may do nothing else; when it knows what the client wants it says so in
//! a letter and ends. The back never reads from the client: it gets letters, runs the checker, and tells the client when
//! that says no. After STLS a new front begins, which knows nothing of what was said before.
//!
//! Source  qmail-popup(8); docs/architecture.md

mod back;

use std::fs::File;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use auth::Mechanism;
use auth::sasl::Request;
use auth::throttle::{self, Throttle};
use base::io::Timed;
use base::{Bytes, Call, Die};
use net::peer::Peer;
use net::starttls;
use sys::sandbox::Promises;
use sys::signal::Signal;

use crate::client::{Client, Stdio};
use crate::front::{Back, front};
use crate::letter::{self, Letter};
use crate::rules::Rules;

/// The exit code of everything, as in the original.
const CODE: u8 = 1;
/// Blocks that are thrown away at the end.
const DRAIN_BLOCKS: u32 = 16;
/// One byte at a time: what the client has sent ahead belongs to the server behind us.
const BLOCK: usize = 1;

/// Finds out who a POP3 client is, and runs a server for it. See qmail-popup(8).
///
/// # Errors
/// Always: exit code 1, silently.
pub fn qmail_popup(call: &Call) -> Result<(), Die> {
    let _ = sys::signal::ignore(Signal::SIGPIPE);
    let [host, words @ ..] = call.args.as_slice() else {
        return Err(say("usage: popup hostname subprogram"));
    };
    if words.is_empty() {
        return Err(say("usage: popup hostname subprogram"));
    }
    sys::sandbox::no_core();

    let rules = rules(host);

    let throttle = Throttle::open(control::home::home().join(throttle::PATH));
    let mut back = back::State::new(words, rules, throttle, address());
    let die = match back.serve() {
        Some(text) => say(text),
        None => Die::silent(CODE),
    };
    drain();
    Err(die)
}

/// The last word of a session.
fn say(text: &str) -> Die {
    let mut client = Client::new(Stdio::open(), BLOCK);
    // A client that is gone hears nothing.
    let _ = client.err(text).and_then(|()| client.flush());
    Die::silent(CODE)
}

/// Throws away what the client has sent already: the kernel would answer it with a reset, and the client might lose our
/// last word.
fn drain() {
    let Ok(fd) = sys::fd::inherited(0) else {
        return;
    };
    let mut input = Timed::new(fd, Duration::ZERO);
    let mut block = [0; 4096];
    for _ in 0..DRAIN_BLOCKS {
        match input.read(&mut block) {
            Ok(count) if count > 0 => {}
            _ => return,
        }
    }
}

fn rules(host: &[u8]) -> Rules {
    let left = format!("<{}.{}@", std::process::id(), base::tai::unix_now());
    let stamp = [left.as_bytes(), host, b">"].concat();
    let mut rules = Rules::new(base::env, &knows(), host, stamp);
    rules.tls = starttls::is_on();
    rules.offered = !rules.tls && starttls::offered().is_some();
    rules
}

/// The client's address.
fn address() -> Option<IpAddr> {
    let text = String::from_utf8(Peer::from_env().remote_ip?).ok()?;
    text.parse().ok()
}

/// What the checker knows beyond the classic ways: from the environment, or from control/checkerknows of the home of qmail.
/// The working directory stays, since the checker may be named relative to it.
fn knows() -> Vec<Mechanism> {
    if base::env("CHECKERKNOWS").is_some() {
        return auth::checker::knows().unwrap_or_default();
    }
    let Ok(here) = sys::Dir::open(".") else {
        return Vec::new();
    };
    let known = match control::home::enter() {
        Ok(()) => auth::checker::knows().unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    match here.enter() {
        Ok(()) => known,
        Err(_) => Vec::new(),
    }
}

/// What the front promises before it hears the first command: to hear and to speak.
pub fn popup_promises() -> Promises {
    Promises::new()
}

/// The front: a process of its own, which ends when it has said what the client wants.
fn hear(rules: &Rules, letters: OwnedFd, greet: bool) -> u8 {
    popup_promises().enforce();
    let mut client = Client::new(Stdio::open_for_once(), BLOCK);
    let mut post = Post {
        letters: File::from(letters),
    };
    let wish = front(&mut client, rules, &mut post, greet);
    let sent = post.send(&Letter::Wish(wish));
    u8::from(sent.is_none())
}

/// The way to the back.
struct Post {
    letters: File,
}

impl Post {
    fn send(&mut self, letter: &Letter) -> Option<()> {
        let text = letter.write().ok()?;
        self.letters.write_all(&text).ok()
    }

    fn ask(&mut self, letter: &Letter) -> Option<Vec<Bytes>> {
        self.send(letter)?;
        let (_, fields) = letter::read(&mut self.letters).ok()??;
        Some(fields)
    }
}

impl Back for Post {
    fn salted(&mut self, mechanism: Mechanism, request: &Request) -> Option<(Bytes, u32)> {
        let fields = self.ask(&Letter::Salt(mechanism, request.clone()))?;
        let [salt, rounds] = fields.as_slice() else {
            return None;
        };
        let rounds = base::bytes::number(rounds)?;
        Some((salt.clone(), u32::try_from(rounds).ok()?))
    }

    fn prove(&mut self, message: &[u8], proof: &[u8]) -> Option<Bytes> {
        let letter = Letter::Prove(message.to_vec(), proof.to_vec());
        self.ask(&letter)?.pop()
    }

    fn cancel(&mut self) {
        // Without an exchange under way it means nothing.
        let _ = self.send(&Letter::Cancel);
    }
}
