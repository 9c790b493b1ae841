//! sendmail: the calls that other programs make to /usr/lib/sendmail, turned into ours.

use base::opt::{Opt, Options};
use base::{Bytes, Call, Die};
use sys::spawn::Spawn;

const USAGE: &str = "sendmail [ -t ] [ -fsender ] [ -Fname ] [ -bp ] [ -bs ] [ arg ... ]";
/// The letters of qmail's sendmail, then those that other sendmails have and that callers use: mutt gives `-N` and `-R`
/// for delivery reports, mailx gives `-r`, and `-h -n -U -V` come from older ones.
const LETTERS: &str = concat!("vimte:f:p:o:B:F:EJxb:", "N:R:V:h:nUr:");

/// What a call asks for.
enum Job {
    Send,
    ListQueue,
    SpeakSmtp,
}

/// The options of a call.
#[derive(Default)]
struct Wish {
    from_header: bool,
    sender: Option<Bytes>,
    name: Option<Bytes>,
}

/// Becomes qmail-inject, qmail-smtpd or qmail-qread.
///
/// # Errors
/// 100 for options that mean nothing here, and when called as newaliases; 111 when the program cannot be run.
pub fn sendmail(call: &Call) -> Result<(), Die> {
    let mut options = Options::new(&call.args, LETTERS);
    let mut wish = Wish::default();
    let mut job = read_options(&mut options, &mut wish)?;
    match (&job, called_as(&call.program)) {
        (Job::Send, b"mailq") => job = Job::ListQueue,
        (Job::Send, b"newaliases") => {
            return Err(Die::fatal(100, "please use fastforward/newaliases instead"));
        }
        _ => {}
    }

    control::home::enter()
        .map_err(|_| Die::fatal(111, "unable to switch to qmail home directory"))?;

    Err(match job {
        Job::Send => send(wish, options.rest()),
        Job::ListQueue => list_queue(),
        Job::SpeakSmtp => speak_smtp(),
    })
}

/// Becomes qmail-qread; options are read as sendmail reads them.
///
/// # Errors
/// As `sendmail`.
pub fn mailq(call: &Call) -> Result<(), Die> {
    sendmail(&Call {
        program: b"mailq".to_vec(),
        args: call.args.clone(),
    })
}

fn called_as(program: &[u8]) -> &[u8] {
    program.rsplit(|&b| b == b'/').next().unwrap_or_default()
}

fn read_options(options: &mut Options<'_>, wish: &mut Wish) -> Result<Job, Die> {
    while let Some(option) = options.next() {
        match option {
            Opt::Flag(b't') => wish.from_header = true,
            Opt::Value(b'f' | b'r', sender) => wish.sender = Some(sender),
            Opt::Value(b'F', name) => wish.name = Some(name),
            Opt::Value(b'b', mode) => match mode.first() {
                Some(b'm') => {}
                Some(b'p') => return Ok(Job::ListQueue),
                Some(b's') => return Ok(Job::SpeakSmtp),
                _ => return Err(Die::usage(USAGE)),
            },
            // Of the NEWS-OS sendmail: what follows in the same word belongs to them.
            Opt::Flag(b'E' | b'J') => options.skip_word(),
            Opt::Flag(_) | Opt::Value(..) => {}
            Opt::Unknown(letter) => return Err(complaint("illegal option", letter)),
            Opt::Missing(letter) => return Err(complaint("option requires an argument", letter)),
        }
    }
    Ok(Job::Send)
}

fn complaint(what: &str, letter: u8) -> Die {
    let letter = base::bytes::printable(&[letter]);
    Die::plain(
        100,
        [
            b"sendmail: ",
            what.as_bytes(),
            b" -- ",
            &letter,
            b"\nsendmail: usage: ",
            USAGE.as_bytes(),
            b"\n",
        ]
        .concat(),
    )
}

/// Every word of the caller comes after `-f` or `--`: none can become an option of qmail-inject.
fn send(wish: Wish, recipients: &[Bytes]) -> Die {
    let mut inject = Spawn::new("bin/qmail-inject").arg(if wish.from_header { "-H" } else { "-a" });
    if let Some(name) = wish.name {
        inject = inject.set("MAILNAME", name);
    }
    inject = match wish.sender {
        // The usual way to ask for the empty sender; a user name to the original.
        Some(sender) if sender == b"<>" => inject.arg("-f").arg(""),
        Some(sender) => from_sender(inject.arg("-f").arg(&sender), &sender),
        None => inject,
    };
    let _ = inject.arg("--").args(recipients).exec();
    Die::fatal(111, "unable to run qmail-inject")
}

/// The sender of the envelope is the author too.
fn from_sender<'a>(mut inject: Spawn<'a>, sender: &[u8]) -> Spawn<'a> {
    for name in ["QMAILNAME", "MAILNAME", "NAME", "QMAILHOST", "MAILHOST"] {
        inject = inject.unset(name);
    }
    match base::bytes::rsplit_once(sender, b'@') {
        Some((user, host)) => inject.set("QMAILUSER", user).set("QMAILHOST", host),
        None => inject.set("QMAILUSER", sender),
    }
}

fn list_queue() -> Die {
    let _ = Spawn::new("bin/qmail-qread").exec();
    Die::fatal(111, "unable to run qmail-qread")
}

/// A caller behind no server is a user of this machine, who may relay.
fn speak_smtp() -> Die {
    let mut smtpd = Spawn::new("bin/qmail-smtpd");
    if base::env("PROTO").is_none() {
        smtpd = smtpd
            .set("RELAYCLIENT", "")
            .set("DATABYTES", "0")
            .set("PROTO", "TCP")
            .set("TCPLOCALIP", "127.0.0.1")
            .set("TCPLOCALHOST", "localhost")
            .set("TCPREMOTEIP", "127.0.0.1")
            .set("TCPREMOTEHOST", "localhost")
            .set("TCPREMOTEINFO", "sendmail-bs");
    }
    let _ = smtpd.exec();
    Die::fatal(111, "unable to run qmail-smtpd")
}
