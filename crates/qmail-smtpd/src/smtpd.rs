//! The program: from the environment and the control files to one session on descriptors 0 and 1.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use auth::checker::{Checker, Client, PATIENCE};
use auth::throttle::{self, Throttle};
use base::io::Timed;
use base::{Bytes, Call, Die};
use net::forkserver::{self, Role};
use net::starttls;
use sys::sandbox::{Access, Network, Promises, Ready, Walls};
use sys::signal::Signal;

use crate::channel::Link;
use crate::gate::{Gate, Guard, Keeper, Launcher, Shut};
use crate::judge::Here;
use crate::log::{Line, Outcome};
use crate::login::{self, State};
use crate::reply::{NO_CONTROLS, Reply};
use crate::session::{End, session};
use crate::settings::{Settings, Trouble};
use crate::sink::Queue;
use crate::tls::Cover;

/// As warnings begin.
const NAME: &str = "qmail-smtpd";
/// The exit code of every session that did not end with QUIT.
const CUT_SHORT: u8 = 1;
/// How long the reader of the log may keep us waiting before a line is dropped.
const LOG_WAIT: Duration = Duration::from_secs(10);

/// The connection on descriptors 0 and 1.
struct Stdio {
    input: Timed<BorrowedFd<'static>>,
    output: Timed<BorrowedFd<'static>>,
    begun: Instant,
}

impl Stdio {
    fn open() -> io::Result<Stdio> {
        Ok(Stdio {
            input: Timed::new(sys::fd::inherited(0)?, Duration::ZERO),
            output: Timed::new(sys::fd::inherited(1)?, Duration::ZERO).eager(),
            begun: Instant::now(),
        })
    }
}

impl Link for Stdio {
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        self.input.set_timeout(wait);
        self.input.read(buffer)
    }

    fn write(&mut self, bytes: &[u8], wait: Duration) -> io::Result<()> {
        self.output.set_timeout(wait);
        self.output.write_all(bytes)
    }

    fn start_tls(&mut self) -> io::Result<Cover> {
        let offer = starttls::offered().ok_or(io::ErrorKind::Unsupported)?;
        Ok(Cover::told(offer.start(starttls::HANDSHAKE_TIME)?))
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn unix(&self) -> i64 {
        base::tai::unix_now()
    }
}

/// Receives mail over SMTP. See qmail-smtpd(8).
///
/// # Errors
/// Exit code 1, silently, unless the client said QUIT.
pub fn qmail_smtpd(call: &Call) -> Result<(), Die> {
    let mut ready = None;
    if forkserver::role(call, || ready = Some(prepare(&call.args))) == Role::Leave {
        return Ok(());
    }
    let _ = sys::signal::ignore(Signal::SIGPIPE);
    let mut link = Stdio::open().map_err(|_| Die::silent(CUT_SHORT))?;
    let settings = match world(&call.args) {
        Ok(settings) => settings,
        Err(trouble) => return Err(refuse(&mut link, &trouble)),
    };
    let mut judge = Here::new(settings.check_recipients);
    let mut gate = open_gate(&settings);

    confine(settings.check_recipients, &mut judge, ready);

    let gate = gate.as_mut();
    match session(link, &settings, &mut judge, gate, Queue, &mut write_log) {
        End::Quit => Ok(()),
        End::Gone(_) | End::Closed(_) => Err(Die::silent(CUT_SHORT)),
    }
}

/// What a fork server has ready for its copies: the account service, which reads its settings and loads its modules at
/// the first question, and looks itself whether they have changed; the control files, of which each copy asks that; and the
/// promises of those that check recipients.
fn prepare(args: &[Bytes]) -> Ready {
    sys::users::prepare();
    control::ahead(|| {
        if let Ok(settings) = world(args) {
            Here::new(settings.check_recipients).prepare();
        }
    });
    promises(true).0.ready()
}

/// The process that runs checkers, if there is AUTH. It must be there before promises are made.
fn open_gate(settings: &Settings) -> Box<dyn Gate> {
    let words = match &settings.words {
        Ok(Some(words)) if settings.login.state == State::On => words,
        Ok(_) => return Box::new(Shut),
        Err(unclear) => {
            base::warn(NAME, format!("AUTH is off: {}", unclear.sentence()));
            return Box::new(Shut);
        }
    };
    let checker = Checker {
        words: words.command.clone(),
        order: login::order(words, base::env("CRAMORDER").as_deref()),
        client: Client::Hidden,
        limit: Some(PATIENCE),
        environment: Vec::new(),
    };
    let guard = Guard {
        throttle: Throttle::open(throttle::PATH),
        address: settings.peer.remote_address(),
    };
    let keeper = Keeper::new(checker, !words.by_place, guard);
    let foreign = starttls::offered().map_or_else(Vec::new, |o| o.descriptors().to_vec());
    match Launcher::start(keeper, &foreign) {
        Ok(launcher) => Box::new(launcher),
        Err(error) => {
            let text = base::die::system_text(&error);
            base::warn(
                NAME,
                format!("AUTH fails: unable to make a process: {text}"),
            );
            Box::new(Shut)
        }
    }
}

/// Promises, if the queue service takes the messages. Otherwise qmail-queue must be run, with the rights of its owner,
/// or what QMAILQUEUE names, which may need anything. `ready` are the promises with `check`, if they have been made ready.
fn confine(check: bool, judge: &mut Here, ready: Option<Ready>) {
    if !queue::submit::is_served() {
        return sys::sandbox::no_core();
    }
    if !check {
        judge.prepare();
    }
    let (promises, walls) = promises(check);
    match ready.filter(|_| check) {
        Some(ready) => ready.enforce_with(walls),
        None => promises.enforce_with(walls),
    };
}

/// What qmail-smtpd promises before it hears the first command, and which walls hold it: to talk to the queue service.
///
/// With `check` it asks for the accounts of recipients. Whatever code and whatever connections the account service of
/// this system needs, it must find them, or known users would be refused: so it may read, and no call is filtered.
pub fn promises(check: bool) -> (Promises, Walls) {
    if check {
        let reading = Promises::new().path("/", Access::Read);
        (reading.network(Network::Any), Walls::Landlock)
    } else {
        (Promises::new().network(Network::Local), Walls::All)
    }
}

fn world(args: &[Bytes]) -> Result<Settings, Trouble> {
    control::home::enter().map_err(|error| Trouble {
        file: "home".to_owned(),
        error,
    })?;
    Settings::load(args)
}

/// Sends the client away for now, and tells the log why.
fn refuse(link: &mut Stdio, trouble: &Trouble) -> Die {
    let _ = link.write(&NO_CONTROLS.line(), LOG_WAIT);
    let peer = net::peer::Peer::from_env();
    let line = Line::new(std::process::id())
        .value("ip", Some(peer.ip()))
        .outcome(Outcome::Deferred, Some(&NO_CONTROLS), NO_CONTROLS.reason)
        .value("detail", Some(&detail(&trouble.file, &trouble.error)));
    write_log(&line.end());
    Die::silent(CUT_SHORT)
}

/// What could not be read, and why, in one word.
pub(crate) fn detail(file: &str, error: &io::Error) -> Vec<u8> {
    let text = base::die::system_text(error).replace(' ', "-");
    format!("{file}:{text}").into_bytes()
}

fn write_log(line: &[u8]) {
    if let Ok(log) = sys::fd::inherited(2) {
        let _ = Timed::new(log, LOG_WAIT).write_all(line);
    }
}

/// The session is over for a reason that the client learnt from `reply`.
impl From<Reply> for End {
    fn from(reply: Reply) -> End {
        End::Closed(Box::new(reply))
    }
}
