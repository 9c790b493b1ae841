//! qmail-remote: send one message to one host by SMTP.
//!
//! Programs   qmail-remote(8)
//! Runs as    qmailr; called by qmail-rspawn
//! Reads      fd 0 message or, as a worker, jobs; control/{helohost,me,smtproutes,authsenders,remotesecrets,tlspolicy,
//!            clientcert.pem,tlsroots.pem,timeoutconnect,timeoutremote}, DNS, the other host
//! Writes     fd 1 reports or, as a worker, fd 0; the other host; queue/lock/{tcpto,tcpto6}
//! May use    auth base control dns mail queue sys tls wire
//! Source     qmail-remote(8); RFC 5321, 1870, 2920, 3207, 4954, 6152, 7505, 8314
//!
//! Codes: it always exits 0; the reports tell what became of the message.

mod attempt;
mod hosts;
mod login;
mod message;
mod peer;
mod policy;
mod report;
mod route;
mod stream;
mod talk;
mod worker;

use base::{Bytes, Call, Die};
use sys::sandbox::{Access, Network, Promises};

use message::Message;
use report::{Report, Verdict};

/// Waiting for the other side, seconds, and who we are: what the control files say.
#[derive(Debug)]
struct Settings {
    helohost: Bytes,
    timeout_connect: u64,
    timeout_remote: u64,
    routes: route::Routes,
    policies: policy::Policies,
}

/// qmail-remote host sender recipient..., or with one argument of its own a worker of qmail-rspawn.
///
/// # Errors
/// None: trouble is reported on descriptor 1.
pub fn qmail_remote(call: &Call) -> Result<(), Die> {
    if let [argument] = call.args.as_slice()
        && argument == queue::remote::ARGUMENT
        && worker::is_wanted()
    {
        worker::run();
        return Ok(());
    }
    let mut report = Report::default();
    let verdict = deliver(call, &mut report).unwrap_or_else(|early| early);
    report.write(&verdict);
    Ok(())
}

/// What qmail-remote promises before it reads the message: the table of hosts that did not answer, and connections to
/// these ports.
pub fn promises(ports: impl IntoIterator<Item = u16>) -> Promises {
    Promises::new()
        .paths(&["queue/lock/tcpto", "queue/lock/tcpto6"], Access::Write)
        .network(Network::Clients(ports.into_iter().collect()))
}

/// The whole job. An early end is a verdict too.
fn deliver(call: &Call, report: &mut Report) -> Result<Verdict, Verdict> {
    let [host, sender, recipients @ ..] = call.args.as_slice() else {
        return Err(report::usage());
    };
    if recipients.is_empty() {
        return Err(report::usage());
    }

    // Without this a host that hangs up would end us without a report.
    sys::signal::ignore(sys::signal::Signal::SIGPIPE).map_err(|_| report::system())?;
    control::home::enter().map_err(|_| report::chdir())?;
    let settings = settings().map_err(|_| report::control())?;
    let envelope = talk::Envelope::new(sender, recipients)?;
    let route = settings
        .routes
        .find(host, sender)
        .ok_or_else(report::control)?;
    let machine = hosts::Machine::look(&route)?;

    promises(machine.ports().chain([route.port])).enforce();

    let mut message = Message::open().map_err(|_| report::unreadable())?;
    if message.survey().is_some_and(|s| s.is_partial()) {
        return Err(report::partial_line());
    }
    let candidates = hosts::find(&route, &machine)?;

    let mut link = attempt::reach(&candidates, &route, &settings)?;
    let end = link.transact(&envelope, &mut message, report);
    link.leave();
    // Who started us learns what became of the message when we end, and our end closes the connection too.
    std::mem::forget(link);
    match end {
        talk::End::Decided(verdict) => Ok(verdict),
        // A fresh connection is never stale.
        talk::End::Stale => Err(report::no_connection()),
    }
}

fn settings() -> std::io::Result<Settings> {
    let helohost = match control::line("helohost")? {
        Some(name) => Some(name),
        None => control::line("me")?,
    };
    Ok(Settings {
        helohost: helohost.ok_or(std::io::ErrorKind::NotFound)?,
        timeout_connect: control::int("timeoutconnect", 60)?,
        timeout_remote: control::int("timeoutremote", 1200)?,
        routes: route::Routes::read()?,
        policies: policy::Policies::read()?,
    })
}
