//! fghack: run a program that goes into the background, and wait until the last of its processes has ended.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use base::{Call, Die};
use sys::process::End;
use sys::signal::Signal;

use crate::child::Child;

/// How many copies of the pipe the program inherits: it may close some descriptors that it does not know.
const COPIES: usize = 30;

/// Runs `fghack child`: waits for everything that the child leaves behind; its exit code becomes ours.
pub fn run(call: &Call) -> Result<(), Die> {
    let child = Child::new(&call.args).ok_or_else(|| Die::usage("fghack child"))?;

    // A caller that ignores the ends of its children would keep this one from us.
    let _ = sys::signal::default(Signal::SIGCHLD);
    let (reader, writer) = sys::fd::pipe().map_err(|e| Die::unable("create pipe", &e))?;
    let copies = inheritable(writer);
    let pid = child.start()?;
    drop(copies);

    wait_until_closed(&reader);
    match sys::process::wait_for(pid) {
        Ok(End::Exit(0)) => Ok(()),
        Ok(End::Exit(code)) => Err(Die::silent(code)),
        Ok(End::Signal(_)) => Err(Die::fatal(base::die::TEMPORARY, "child crashed")),
        Err(e) => Err(failed_wait(&e)),
    }
}

fn failed_wait(error: &io::Error) -> Die {
    let text = ["wait failed: ", &base::die::system_text(error)].concat();
    Die::fatal(base::die::TEMPORARY, text)
}

/// The writing end and as many copies of it as there are descriptors for, all left open for the child.
fn inheritable(writer: OwnedFd) -> Vec<OwnedFd> {
    let mut copies: Vec<OwnedFd> = (0..COPIES).map_while(|_| writer.try_clone().ok()).collect();
    copies.push(writer);
    copies.retain(|copy| sys::fd::close_on_exec(copy, false).is_ok());
    copies
}

/// Reads until no process holds the writing end. What is written meanwhile is nobody's message.
fn wait_until_closed(reader: &OwnedFd) {
    let mut bytes = [0; 512];
    loop {
        match sys::fd::read(reader, &mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
