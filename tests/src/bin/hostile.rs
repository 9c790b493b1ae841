//! What an intruder inside a program would try: takes the promises of a program, then breaks one of them.
//!
//! `hostile PROGRAM WALLS ATTACK`, in a home of qmail; exit code 0: the attack worked, 1: the kernel refused.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;

use base::{Bytes, Call, Die};
use sys::sandbox::{Level, Promises, Walls};
use sys::signal::Signal;
use sys::spawn::Spawn;

fn main() -> std::process::ExitCode {
    base::run("hostile", body)
}

fn body(call: &Call) -> Result<(), Die> {
    let words: Vec<String> = call.args.iter().map(text).collect();
    let [program, walls, attack] = words.as_slice() else {
        return Err(Die::usage("hostile program walls attack"));
    };
    let confined = tests::confined();
    let found = confined.into_iter().find(|c| c.program == program);
    let promises = found.map(|c| c.promises).unwrap_or_default();
    let parent = std::os::unix::process::parent_id();
    let port = number("PORT");

    let level = enforce(&promises, walls);

    if attack == "level" {
        return Err(Die::plain(0, level.to_string()));
    }
    attempt(attack, parent, port).map_err(|e| Die::unable(attack, &e).with_code(1))
}

fn enforce(promises: &Promises, walls: &str) -> Level {
    let nothing = Level {
        landlock: 0,
        seccomp: false,
    };
    match walls {
        "all" => promises.enforce(),
        "landlock" => promises.enforce_with(Walls::Landlock),
        "seccomp" => promises.enforce_with(Walls::Seccomp),
        _ => nothing,
    }
}

fn attempt(attack: &str, parent: u32, port: u16) -> io::Result<()> {
    let host = "127.0.0.1";
    match attack {
        "read /etc/passwd" => File::open("/etc/passwd").map(drop),
        "read a secret of the home" => File::open("secret").map(drop),
        "write in the service tree" => File::create("service/x/run").map(drop),
        "remove from the service tree" => std::fs::remove_file("service/x/down"),
        "connect out" => TcpStream::connect((host, port)).map(drop),
        "listen" => TcpListener::bind((host, 0)).map(drop),
        "make a packet socket" => UdpSocket::bind((host, 0)).map(drop),
        "connect to a local service" => UnixStream::connect("socket").map(drop),
        "become a shell" => Err(Spawn::new("/bin/sh").arg("-c").arg("exit 0").exec()),
        "make a process" => {
            let pid = sys::process::fork(|| 0)?;
            sys::process::wait_for(pid).map(drop)
        }
        "trace the parent" => sys::process::seize(parent),
        "signal the parent" => sys::signal::send(parent, Signal::SIGCONT),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn number(name: &str) -> u16 {
    let value = base::env(name).and_then(|v| base::bytes::number(&v));
    value.and_then(|v| u16::try_from(v).ok()).unwrap_or(0)
}
