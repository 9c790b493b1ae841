//! The service: what runs, what is wanted, and what to do when either changes.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use base::{Bytes, Die};
use sys::Dir;
use sys::poll::Wait;
use sys::process::End;
use sys::signal::Signal;
use sys::spawn::Spawn;

use crate::announce;
use crate::status::{Stage, Want};
use crate::supervise::listen::Sockets;
use crate::supervise::log::{Log, is_no_process};
use crate::supervise::part::{self, Part};
use crate::supervise::scripts::{self, Event};
use crate::supervise::{NAME, NO_PROCESS, START, WAIT, unable};

/// Whom the letters of svc are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Main,
    Log,
}

pub(super) struct Service<'a> {
    name: &'a [u8],
    here: Dir,
    main: Part,
    log: Option<Log>,
    sockets: Sockets,
    /// the program that runs, or ran last
    script: &'static str,
    /// `start` comes before the next `run`
    first: bool,
    /// `stop` has run, or nothing that it could follow
    stopped: bool,
    /// the directory has more than `run`, and so the status file more than 18 bytes
    extended: bool,
    exit: bool,
    /// the last start failed before there was a process: try again if the service is still wanted up
    again: bool,
    /// children may have ended that were not looked at
    look: bool,
    target: Target,
}

impl<'a> Service<'a> {
    pub(super) fn new(name: &'a [u8], here: Dir, want: Want) -> Result<Service<'a>, Die> {
        let log = Log::find(name, &here)?;
        let has = |script: &[u8]| scripts::is_program(&here, script);
        let extended = log.is_some() || has(b"start") || has(b"stop") || has(b"notify");
        Ok(Service {
            name,
            here,
            main: Part::new(want),
            log,
            sockets: Sockets::default(),
            script: "run",
            first: true,
            stopped: true,
            extended,
            exit: false,
            again: false,
            look: false,
            target: Target::Main,
        })
    }

    pub(super) fn here(&self) -> &Dir {
        &self.here
    }

    /// Starts what is wanted from the beginning.
    pub(super) fn begin(&mut self) {
        self.look_after_log();
        if self.main.status.want == Want::Up {
            self.start();
        }
    }

    /// Runs until it was told to exit and nothing is left.
    pub(super) fn serve(&mut self, wake: &impl AsRawFd, control: &File) {
        self.announce();
        while !self.is_over() {
            let mut list = [Wait::readable(wake), Wait::readable(control)];
            // Interrupted or not, what follows looks for itself. Other trouble must not make a busy loop.
            if sys::poll::wait(&mut list, Some(self.rest()))
                .is_err_and(|e| e.kind() != io::ErrorKind::Interrupted)
            {
                std::thread::sleep(START);
            }
            let [_, commands] = list;
            sys::signal::woken();

            self.reap();
            self.look_after_log();
            if self.is_over() {
                return;
            }
            // One command, then a look at the children: a command may have ended one.
            let mut command = [0];
            match sys::fd::read(control, &mut command) {
                Ok(1) => self.obey(u8::from_ne_bytes(command)),
                _ if !commands.is_ready() => self.target = Target::Main,
                _ => {}
            }
            if self.again
                && !self.main.is_running()
                && self.main.status.want == Want::Up
                && !self.exit
            {
                self.start();
            }
        }
    }

    /// How long to wait for something to happen.
    fn rest(&self) -> Duration {
        // Letters for the log are followed by a look whether more come: the next ones are for the service again.
        if self.again || self.look || self.target == Target::Log {
            return Duration::ZERO;
        }
        self.log
            .as_ref()
            .and_then(Log::rest)
            .map_or(WAIT, |rest| rest.min(WAIT))
    }

    fn is_over(&mut self) -> bool {
        self.exit && !self.main.is_running() && self.log.as_mut().is_none_or(Log::is_finished)
    }

    fn look_after_log(&mut self) {
        if let Some(log) = &mut self.log
            && log.start_if_due(self.name, &self.here)
        {
            self.announce();
        }
    }

    /// Takes the ends of children. After the end of the service, letters come before the next one.
    fn reap(&mut self) {
        self.look = false;
        while let Some((pid, end)) = sys::process::ended() {
            if pid == self.main.status.pid {
                self.look = true;
                return self.ended(end);
            }
            if let Some(log) = self.log.as_mut().filter(|log| pid == log.part.status.pid) {
                log.ended(self.name, &self.here, end);
                self.announce();
            }
        }
    }

    fn ended(&mut self, end: End) {
        let pid = self.main.status.pid;
        let started = self.main.stage == Stage::Starting;
        self.main.changed(0);
        if started && !end.is_success() {
            self.main.status.want = Want::Down;
            self.main.stage = Stage::Failed;
        } else if started {
            self.first = false;
        } else if self.main.status.want != Want::Up {
            self.main.stage = Stage::Stopping;
        }
        self.announce();
        self.notify(Event::End(end), pid);

        if self.main.stage == Stage::Failed {
            self.settle();
        } else if started || self.main.status.want == Want::Up || self.is_wanted_after_stop() {
            if !self.exit {
                self.start();
            }
        } else {
            self.stop();
        }
    }

    /// Whether a try was asked for while `stop` ran.
    fn is_wanted_after_stop(&self) -> bool {
        self.script == "stop" && self.main.status.want == Want::Once
    }

    /// Nothing runs and nothing is to: clients are refused, and the next time begins with `start`.
    fn settle(&mut self) {
        self.sockets.close();
        self.first = true;
        self.announce();
    }

    fn start(&mut self) {
        self.again = false;
        let has_start = scripts::is_program(&self.here, b"start");
        self.extended |= has_start;
        self.first &= has_start;
        if has_start && !self.first && self.here.stat(b"run").is_err_and(is_missing) {
            self.main.status.want = Want::Once;
            self.main.stage = Stage::Started;
            return self.announce();
        }
        let (script, stage) = if self.first {
            ("start", Stage::Starting)
        } else {
            ("run", Stage::Running)
        };
        if script == "run"
            && let Err(die) = self.sockets.open(self.name, &self.here)
        {
            return self.failed(&die);
        }
        if self.launch(script, stage) {
            self.stopped = false;
            // Commands wait meanwhile: so a service has a second to prepare for signals.
            std::thread::sleep(START);
        }
    }

    /// Starts one of the programs. `false` if that failed, after the warning.
    fn launch(&mut self, script: &'static str, stage: Stage) -> bool {
        let mut spawn = Spawn::new(["./", script].concat());
        if let Some(input) = self.log.as_ref().and_then(Log::input) {
            spawn = spawn.fd(1, input);
        }
        if script == "run" {
            spawn = self.sockets.give(spawn);
        }
        match spawn.spawn() {
            Ok(pid) => {
                self.script = script;
                self.main.status.paused = false;
                self.main.stage = stage;
                self.main.changed(pid);
                self.announce();
                self.notify(Event::Start, pid);
                return true;
            }
            Err(e) if is_no_process(&e) => {
                self.again = true;
                let what = [b"fork for ", self.name, b", sleeping 60 seconds"].concat();
                announce::unable(NAME, what, &e);
                std::thread::sleep(NO_PROCESS);
            }
            Err(e) => self.failed(&unable("start ", self.name, &["/", script].concat(), &e)),
        }
        false
    }

    fn failed(&mut self, die: &Die) {
        self.again = true;
        announce::stillborn(NAME, die);
        self.main.changed(0);
        self.announce();
        std::thread::sleep(START);
    }

    /// Runs `stop` if there is one and it has something to follow.
    fn stop(&mut self) {
        if self.stopped || !scripts::is_program(&self.here, b"stop") {
            self.stopped = true;
            self.main.stage = Stage::Stopped;
            return self.settle();
        }
        self.stopped = true;
        self.first = true;
        self.extended = true;
        self.main.status.want = Want::Down;
        if self.launch("stop", Stage::Stopping) {
            std::thread::sleep(START);
        } else {
            self.settle();
        }
    }

    fn obey(&mut self, command: u8) {
        match command {
            b'L' if self.log.is_some() => self.target = Target::Log,
            b'l' => self.target = Target::Main,
            b'x' => {
                self.exit = true;
                self.announce();
            }
            _ => match (&mut self.log, self.target) {
                (Some(log), Target::Log) => {
                    log.obey(command);
                    control(&mut log.part, command);
                    self.announce();
                }
                _ => self.obey_main(command),
            },
        }
    }

    fn obey_main(&mut self, command: u8) {
        match command {
            b'd' => {
                self.main.status.want = Want::Down;
                if self.main.is_running() {
                    self.main.end();
                    self.main.stage = Stage::Stopping;
                    self.announce();
                } else {
                    self.again = false;
                    self.stop();
                }
            }
            b'u' => self.want(Want::Up),
            b'o' => self.want(Want::Once),
            b'p' | b'c' => {
                // The file tells before the process feels it.
                self.main.pause(command == b'p');
                self.announce();
                control(&mut self.main, command);
            }
            _ => control(&mut self.main, command),
        }
    }

    fn want(&mut self, want: Want) {
        self.main.status.want = want;
        self.announce();
        if !self.main.is_running() && !self.exit {
            self.start();
        }
    }

    fn notify(&mut self, event: Event, pid: u32) {
        let there = scripts::notify(self.name, &self.here, self.script, event, pid);
        if there && !self.extended {
            self.extended = true;
            self.announce();
        }
    }

    /// Replaces the status file, whole or not at all. Trouble is told and survived: the service comes first.
    pub(super) fn announce(&self) {
        let what = |verb: &str, file: &str| [verb.as_bytes(), self.name, file.as_bytes()].concat();
        let mut file = match self.here.create(b"supervise/status.new", 0o644) {
            Ok(file) => file,
            Err(e) => return announce::unable(NAME, what("open ", "/supervise/status.new"), &e),
        };
        if let Err(e) = file.write_all(&self.status()) {
            return announce::unable(NAME, what("write ", "/supervise/status.new"), &e);
        }
        if let Err(e) = self
            .here
            .rename(b"supervise/status.new", &self.here, b"supervise/status")
        {
            announce::unable(NAME, what("rename ", "/supervise/status.new to status"), &e);
        }
    }

    fn status(&self) -> Bytes {
        if !self.extended {
            return self.main.status.pack().to_vec();
        }
        let log = self.log.iter().flat_map(|log| log.part.pack());
        self.main.pack().chain(log).collect()
    }
}

fn is_missing(error: io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Letters that mean the same for the service and its log.
fn control(part: &mut Part, letter: u8) {
    match letter {
        b'p' => {
            part.pause(true);
            part.send(Signal::SIGSTOP);
        }
        b'c' => {
            part.pause(false);
            part.send(Signal::SIGCONT);
        }
        _ => {
            if let Some(signal) = part::signal(letter) {
                part.send(signal);
            }
        }
    }
}
