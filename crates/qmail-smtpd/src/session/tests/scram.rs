//! SCRAM: a client of ours, a session, and a checker that keeps the stored keys.

use auth::Mechanism;
use auth::checker::Salted;
use auth::client::{Client, Credentials};
use auth::digest::Hash;
use auth::sasl::{Binding, Bound};
use auth::scram::Stored;

use super::logins::service;
use super::*;

/// Knows alice, whose password is `secret`.
struct Keys {
    running: bool,
    asked: Vec<Question>,
    /// says yes wherever a question allows an answer
    careless: bool,
}

fn stored() -> Stored {
    Stored::make(Hash::Sha256, b"secret", b"0123456789abcdef", 4096)
}

impl Gate for Keys {
    fn ask(&mut self, question: &Question) -> Answer {
        self.asked.push(question.clone());
        if self.careless {
            return Answer::Verdict(Login::Accepted);
        }
        match question {
            Question::Ask(_) => {
                self.running = true;
                Answer::Salted(Salted {
                    salt: stored().salt,
                    rounds: 4096,
                })
            }
            Question::Prove { message, proof } => match stored().prove(message, proof) {
                Some(signature) => Answer::Signed(signature),
                None => {
                    self.running = false;
                    Answer::Failed(FAILURE)
                }
            },
            Question::Go if self.running => {
                self.running = false;
                Answer::Verdict(Login::Accepted)
            }
            Question::Go => Answer::Verdict(Login::Temporary),
            Question::GiveUp => {
                self.running = false;
                Answer::Verdict(Login::Refused)
            }
        }
    }
}

/// A client that reads before it speaks.
struct Live {
    client: Client,
    first: Option<Vec<u8>>,
    told: Rc<RefCell<Vec<u8>>>,
    seen: usize,
    /// what it says at last, then it hangs up
    last: VecDeque<&'static str>,
    gives_up: bool,
}

impl Live {
    fn next(&mut self) -> Vec<u8> {
        let told = self.told.borrow();
        let new = String::from_utf8(told[self.seen..].to_vec()).unwrap();
        self.seen = told.len();
        if let Some(line) = self.first.take() {
            return line;
        }
        let challenge = new.lines().last().and_then(|l| l.strip_prefix("334 "));
        if let Some(text) = challenge {
            if self.gives_up {
                return b"*\r\n".to_vec();
            }
            let challenge = auth::encoding::decode(text.as_bytes()).unwrap();
            let response = self.client.answer(&challenge);
            let line = response.map_or(b"*".to_vec(), |r| auth::encoding::encode(&r));
            return [line.as_slice(), b"\r\n"].concat();
        }
        self.last.pop_front().unwrap_or_default().into()
    }
}

impl Link for Live {
    fn read(&mut self, buffer: &mut [u8], _: Duration) -> io::Result<usize> {
        let line = self.next();
        buffer[..line.len()].copy_from_slice(&line);
        Ok(line.len())
    }

    fn write(&mut self, bytes: &[u8], _: Duration) -> io::Result<()> {
        self.told.borrow_mut().extend_from_slice(bytes);
        Ok(())
    }

    fn pause(&self, _: Duration) {}

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn unix(&self) -> i64 {
        0
    }
}

fn binding(byte: u8) -> Binding {
    Binding {
        kind: b"tls-exporter".to_vec(),
        data: vec![byte; 32],
    }
}

struct Try {
    bound: Bound,
    password: &'static str,
    /// of the server's side of TLS
    server: Option<u8>,
    /// of the client's
    client: Option<u8>,
    careless: bool,
    gives_up: bool,
}

const GOOD: Try = Try {
    bound: Bound::Free,
    password: "secret",
    server: None,
    client: None,
    careless: false,
    gives_up: false,
};

/// The code of the last reply, and whether a relay was opened and a checker was left alone.
fn attempt(tried: &Try) -> (u16, bool) {
    let mechanism = Mechanism::Scram(Hash::Sha256, tried.bound);
    let mut settings = service(&[("SMTPAUTH", "cram")]);
    let free = Mechanism::Scram(Hash::Sha256, Bound::Free);
    settings.login.mechanisms.push(free);
    settings.tls.cover.as_mut().unwrap().binding = tried.server.map(|b| vec![b; 32]);
    let credentials = Credentials {
        name: b"alice".to_vec(),
        password: tried.password.into(),
    };
    let nonce = auth::sasl::nonce().unwrap();
    let (client, initial) =
        Client::begin(mechanism, credentials, tried.client.map(binding), &nonce);
    let word = initial.map_or(b"=".to_vec(), |i| auth::encoding::encode(&i));
    let first = [b"AUTH ", mechanism.name().as_bytes(), b" ", &word, b"\r\n"].concat();
    let told = Rc::new(RefCell::new(Vec::new()));
    let live = Live {
        client,
        first: Some(first),
        told: Rc::clone(&told),
        seen: 0,
        last: ["MAIL FROM:<a@b.test>\r\n", "RCPT TO:<x@out.example>\r\n"].into(),
        gives_up: tried.gives_up,
    };
    let mut keys = Keys {
        running: false,
        asked: Vec::new(),
        careless: tried.careless,
    };
    let memory = Memory {
        stored: Rc::default(),
        received: Rc::default(),
        verdict: Outcome::Queued,
        closed: false,
    };
    session(live, &settings, &mut Fake, &mut keys, memory, &mut |_| {});
    assert!(!keys.running, "a checker was left alone");
    let told = String::from_utf8(told.take()).unwrap();
    let codes: Vec<u16> = told
        .lines()
        .skip(1)
        .filter(|l| !l.starts_with("334 "))
        .map(|l| l.split(' ').next().unwrap().parse().unwrap())
        .collect();
    (codes[0], codes.last() == Some(&250))
}

#[test]
fn scram_lets_in_who_knows_the_password() {
    assert_eq!(attempt(&GOOD), (235, true));
    let wrong = Try {
        password: "wrong",
        ..GOOD
    };
    assert_eq!(attempt(&wrong), (535, false));
    let gives_up = Try {
        gives_up: true,
        ..GOOD
    };
    assert_eq!(attempt(&gives_up), (501, false));
    // A yes before the end proves nothing.
    let careless = Try {
        careless: true,
        ..GOOD
    };
    assert_eq!(attempt(&careless), (454, false));
}

#[test]
fn scram_is_bound_to_the_session_under_it() {
    let plus = Try {
        bound: Bound::ToTls,
        server: Some(7),
        client: Some(7),
        ..GOOD
    };
    assert_eq!(attempt(&plus), (235, true));
    // Somebody in between has two sessions of TLS.
    let between = Try {
        client: Some(8),
        ..plus
    };
    assert_eq!(attempt(&between), (535, false));
    // He took -PLUS out of the list: the client could, and says so.
    let stripped = Try {
        bound: Bound::Free,
        ..plus
    };
    assert_eq!(attempt(&stripped), (535, false));
    // The server cannot: then nothing is wrong with a client that could.
    let unable = Try {
        bound: Bound::Free,
        server: None,
        ..plus
    };
    assert_eq!(attempt(&unable), (235, true));
    let unbound = Try {
        server: None,
        ..plus
    };
    assert_eq!(attempt(&unbound), (504, false));
}
