//! A post office whose spawners are played by the test.

use std::fs;
use std::io::{BufRead, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kit::{Home, program};
use queue::frames::{self, Attempt, Command};
use sys::process::End;
use sys::signal::Signal;
use sys::spawn::Spawn;

/// What qmail-send asked a spawner for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) channel: &'static str,
    pub(crate) slot: u8,
    /// the same beyond 255
    pub(crate) place: u32,
    pub(crate) message: String,
    pub(crate) sender: String,
    pub(crate) recipient: String,
    pub(crate) attempt: Option<Attempt>,
}

/// What a played spawner does with an order.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// reports this letter and text
    Report(Vec<u8>),
    /// writes exactly these bytes, whatever they are
    Raw(Vec<u8>),
    /// reports this after `release` was called
    Held(Vec<u8>),
    /// closes its report pipe and its orders
    Die,
}

pub(crate) fn report(text: &str) -> Answer {
    Answer::Report(text.as_bytes().to_vec())
}

#[derive(Default)]
struct Shared {
    orders: Mutex<Vec<Order>>,
    /// recipients of each delivery
    deliveries: Mutex<Vec<usize>>,
    released: Mutex<bool>,
    bell: Condvar,
}

type Rule = Arc<dyn Fn(&Order) -> Answer + Send + Sync>;

/// A running qmail-send with a real qmail-clean and played spawners.
pub(crate) struct Office {
    pub(crate) log: PathBuf,
    pub(crate) pid: u32,
    clean: u32,
    end: Option<End>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What differs from the usual.
pub(crate) struct Setup {
    pub(crate) send: PathBuf,
    pub(crate) clean: PathBuf,
    pub(crate) greeting: Vec<u8>,
    pub(crate) has_cleaner: bool,
    /// the spawners speak the extended protocol and can run so many deliveries
    pub(crate) extended: Option<u32>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            send: program("qmail-send"),
            clean: program("qmail-clean"),
            greeting: vec![120],
            has_cleaner: true,
            extended: None,
        }
    }
}

impl Office {
    pub(crate) fn open(
        home: &Home,
        rule: impl Fn(&Order) -> Answer + Send + Sync + 'static,
    ) -> Office {
        Office::open_with(home.path(), Setup::default(), rule)
    }

    pub(crate) fn open_with(
        home: &std::path::Path,
        setup: Setup,
        rule: impl Fn(&Order) -> Answer + Send + Sync + 'static,
    ) -> Office {
        let rule: Rule = Arc::new(rule);
        let env = |name: &str, value: String| (name.as_bytes().to_vec(), value.into_bytes());
        let env = vec![
            env("QMAILHOME", home.display().to_string()),
            env("PATH", format!("{}/bin:/usr/bin:/bin", home.display())),
        ];
        let log = std::env::temp_dir().join(format!(
            "qmail-rs-log-{}-{:?}",
            std::process::id(),
            Instant::now()
        ));
        let log_file = fs::File::create(&log).unwrap();
        let pipe = || sys::fd::pipe().unwrap();
        let (local, to_local) = pipe();
        let (from_local, local_report) = pipe();
        let (remote, to_remote) = pipe();
        let (from_remote, remote_report) = pipe();
        let (clean, to_clean) = pipe();
        let (from_clean, clean_answer) = pipe();
        let clean_pid = if setup.has_cleaner {
            Spawn::new(setup.clean.as_os_str().as_encoded_bytes())
                .env(env.clone())
                .fd(0, clean.as_fd())
                .fd(1, clean_answer.as_fd())
                .spawn()
                .unwrap()
        } else {
            0
        };
        let pid = Spawn::new(setup.send.as_os_str().as_encoded_bytes())
            .env(env)
            .fd(0, log_file.as_fd())
            .fd(1, to_local.as_fd())
            .fd(2, from_local.as_fd())
            .fd(3, to_remote.as_fd())
            .fd(4, from_remote.as_fd())
            .fd(5, to_clean.as_fd())
            .fd(6, from_clean.as_fd())
            .spawn()
            .unwrap();
        let shared = Arc::new(Shared::default());
        let play = |channel, orders, reports| {
            let (shared, rule) = (Arc::clone(&shared), Arc::clone(&rule));
            let mut player = Player {
                channel,
                input: std::io::BufReader::new(fs::File::from(orders)),
                reports: fs::File::from(reports),
                greeting: setup.greeting.clone(),
                extended: setup.extended,
                speaks_frames: false,
                held: Vec::new(),
            };
            std::thread::spawn(move || player.play(&shared, &rule))
        };
        let threads = vec![
            play("local", local, local_report),
            play("remote", remote, remote_report),
        ];
        Office {
            log,
            pid,
            clean: clean_pid,
            end: None,
            shared,
            threads,
        }
    }

    pub(crate) fn orders(&self) -> Vec<Order> {
        self.shared.orders.lock().unwrap().clone()
    }

    /// How many recipients each delivery had.
    pub(crate) fn deliveries(&self) -> Vec<usize> {
        self.shared.deliveries.lock().unwrap().clone()
    }

    pub(crate) fn recipients(&self) -> Vec<String> {
        self.orders().into_iter().map(|o| o.recipient).collect()
    }

    /// Lets the held deliveries report.
    pub(crate) fn release(&self) {
        *self.shared.released.lock().unwrap() = true;
        self.shared.bell.notify_all();
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8(fs::read(&self.log).unwrap()).unwrap()
    }

    /// Waits for a line of the log that contains `text`.
    pub(crate) fn await_log(&self, text: &str) {
        assert!(
            kit::until(kit::LIMIT, || self.log().contains(text).then_some(())).is_some(),
            "never logged: {text}\n{}",
            self.log()
        );
    }

    /// Puts a message and waits for its end. Numbers come back, so only what is logged from now on counts.
    pub(crate) fn serve(&self, home: &Home, sender: &str, recipients: &[&str], body: &str) -> u64 {
        let before = self.log().len();
        let id = put(home, sender, recipients, body);
        let end = format!("end msg {id}\n");
        assert!(
            kit::until(kit::LIMIT, || self.log()[before..]
                .contains(&end)
                .then_some(()))
            .is_some(),
            "never ended: {id}\n{}",
            self.log()
        );
        id
    }

    /// Waits for the n-th one.
    pub(crate) fn await_count(&self, text: &str, n: usize) {
        assert!(
            kit::until(kit::LIMIT, || (self.log().matches(text).count() >= n)
                .then_some(()))
            .is_some(),
            "not logged {n} times: {text}\n{}",
            self.log()
        );
    }

    pub(crate) fn signal(&self, signal: Signal) {
        sys::signal::send(self.pid, signal).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        if self.end.is_none() {
            self.end = sys::process::ended_pid(self.pid).unwrap();
        }
        self.end.is_none()
    }

    pub(crate) fn wait(&mut self) -> End {
        kit::until(kit::LIMIT, || (!self.is_running()).then_some(()))
            .unwrap_or_else(|| panic!("does not end:\n{}", self.log()));
        self.end.unwrap()
    }

    /// SIGTERM, and the end.
    pub(crate) fn stop(&mut self) -> End {
        if self.is_running() {
            self.signal(Signal::SIGTERM);
        }
        self.wait()
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = sys::signal::send(self.pid, Signal::SIGKILL);
            let _ = sys::process::wait_for(self.pid);
        }
        self.release();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        if self.clean != 0 {
            // It ends with its input.
            let _ = sys::process::wait_for(self.clean);
        }
        let _ = fs::remove_file(&self.log);
    }
}

/// A played spawner.
struct Player {
    channel: &'static str,
    input: std::io::BufReader<fs::File>,
    reports: fs::File,
    greeting: Vec<u8>,
    extended: Option<u32>,
    speaks_frames: bool,
    /// deliveries that wait for the release: number, texts
    held: Vec<(u32, Vec<Vec<u8>>)>,
}

impl Player {
    /// Plays until there are no more orders.
    fn play(&mut self, shared: &Shared, rule: &Rule) {
        let greeting = self.greeting.clone();
        if greeting.is_empty() || self.reports.write_all(&greeting).is_err() {
            return;
        }
        loop {
            if *shared.released.lock().unwrap() {
                for (number, texts) in std::mem::take(&mut self.held) {
                    self.tell(number, texts);
                }
            } else if !self.held.is_empty() {
                // Held reports wait for the release; further orders come meanwhile.
                let ready = self.input.buffer().is_empty()
                    && !sys::poll::readable(self.input.get_ref(), Duration::from_millis(5))
                        .unwrap();
                if ready {
                    continue;
                }
            }
            let Some(command) = self.next() else {
                // qmail-send has gone, or nobody wants the held ones.
                return;
            };
            if !self.obey(&command, shared, rule) {
                return;
            }
        }
    }

    /// `false`: the spawner dies.
    fn obey(&mut self, command: &Command, shared: &Shared, rule: &Rule) -> bool {
        if !self.speaks_frames && command.number >= self.greeting[0].into() {
            return self.refuse(command);
        }
        let mut texts = Vec::new();
        let mut is_held = false;
        for recipient in &command.recipients {
            let order = Order {
                channel: self.channel,
                slot: command.number as u8,
                place: command.number,
                message: text(&command.message),
                sender: text(&command.sender),
                recipient: text(recipient),
                attempt: command.attempt,
            };
            shared.orders.lock().unwrap().push(order.clone());
            match rule(&order) {
                Answer::Report(text) => texts.push(text),
                Answer::Raw(bytes) => return self.reports.write_all(&bytes).is_ok(),
                Answer::Held(text) => {
                    is_held = true;
                    texts.push(text);
                }
                Answer::Die => return false,
            }
        }
        shared.deliveries.lock().unwrap().push(texts.len());
        if is_held {
            self.held.push((command.number, texts));
            return true;
        }
        self.tell(command.number, texts)
    }

    /// A number that is too large: refused as the original does, unless it is the question and we know it.
    fn refuse(&mut self, command: &Command) -> bool {
        let is_question = frames::is_probe(
            command.number as u8,
            &command.message,
            &command.sender,
            &command.recipients[0],
        );
        let answer = match self.extended {
            Some(limit) if is_question => {
                self.speaks_frames = true;
                frames::answer(limit)
            }
            _ => [
                &[command.number as u8],
                &b"ZInternal error: delnum too big. (#4.3.5)\n\0"[..],
            ]
            .concat(),
        };
        self.reports.write_all(&answer).is_ok()
    }

    fn tell(&mut self, number: u32, texts: Vec<Vec<u8>>) -> bool {
        let bytes = if self.speaks_frames {
            frames::encode_report(&frames::Report { number, texts }).unwrap()
        } else {
            [&[number as u8], texts[0].as_slice(), b"\0"].concat()
        };
        self.reports.write_all(&bytes).is_ok()
    }

    fn next(&mut self) -> Option<Command> {
        if self.speaks_frames {
            let mut count = [0; 4];
            self.input.read_exact(&mut count).ok()?;
            let mut frame = vec![0; u32::from_le_bytes(count) as usize];
            self.input.read_exact(&mut frame).ok()?;
            return Some(frames::decode_command(&frame).unwrap());
        }
        let mut slot = [0];
        self.input.read_exact(&mut slot).ok()?;
        let mut field = || {
            let mut bytes = Vec::new();
            self.input.read_until(0, &mut bytes).ok()?;
            bytes.pop()?;
            Some(bytes)
        };
        Some(Command {
            number: slot[0].into(),
            message: field()?,
            sender: field()?,
            attempt: None,
            recipients: vec![field()?],
        })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Puts a message into a queue as qmail-queue does, and pulls the trigger. Returns its number.
pub(crate) fn put(home: &Home, sender: &str, recipients: &[&str], body: &str) -> u64 {
    let mut envelope = format!("u7\0p9\0F{sender}\0");
    for r in recipients {
        envelope.push_str(&format!("T{r}\0"));
    }
    let id = put_raw(home, envelope.as_bytes(), body);
    pull(home);
    id
}

/// The same with any bytes as an envelope, and no trigger.
pub(crate) fn put_raw(home: &Home, envelope: &[u8], body: &str) -> u64 {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let queue = home.join("queue");
    let pid = queue.join(format!("pid/{}.{n}", std::process::id()));
    fs::write(&pid, body).unwrap();
    let id = fs::metadata(&pid).unwrap().ino();
    fs::rename(&pid, queue.join(format!("mess/{}/{id}", id % kit::SPLIT))).unwrap();
    let intd = queue.join(format!("intd/{id}"));
    fs::write(&intd, envelope).unwrap();
    fs::hard_link(&intd, queue.join(format!("todo/{id}"))).unwrap();
    id
}

/// Pulls the trigger.
pub(crate) fn pull(home: &Home) {
    let lock = sys::Dir::open(home.join("queue/lock")).unwrap();
    if let Ok(mut fifo) = lock.open_write(b"trigger") {
        let _ = fifo.write(b"\0");
    }
}

/// Every file of the queue, the locks aside.
pub(crate) fn litter(home: &Home) -> Vec<String> {
    [
        "pid", "mess", "intd", "todo", "info", "local", "remote", "bounce",
    ]
    .iter()
    .flat_map(|d| home.queue(d).into_iter().map(move |f| format!("{d}/{f}")))
    .collect()
}

/// Waits until the queue is empty.
pub(crate) fn await_empty(home: &Home, office: &Office) {
    assert!(
        kit::until(kit::LIMIT, || litter(home).is_empty().then_some(())).is_some(),
        "left: {:?}\n{}",
        litter(home),
        office.log()
    );
}

/// Replaces qmail-queue by one that keeps what it gets in `bounces/N.message` and `bounces/N.envelope`.
pub(crate) fn catch_bounces(home: &Home) {
    fs::create_dir(home.join("bounces")).unwrap();
    home.fake(
        "qmail-queue",
        "cat >bounces/$$.tmp; cat <&1 >bounces/$$.envelope; mv bounces/$$.tmp bounces/$$.message",
    );
}

/// The bounces so far: message with its date masked, envelope.
pub(crate) fn bounces(home: &Home) -> Vec<(String, String)> {
    let mut names: Vec<_> = fs::read_dir(home.join("bounces"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "message"))
        .collect();
    names.sort_by_key(|p| fs::metadata(p).unwrap().modified().unwrap());
    names
        .iter()
        .map(|p| {
            let mut text = String::new();
            fs::File::open(p)
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            let (date, rest) = text.split_once('\n').unwrap();
            assert!(
                date.starts_with("Date: ") && date.ends_with(" -0000"),
                "{date}"
            );
            let envelope = fs::read(p.with_extension("envelope")).unwrap();
            (
                format!("Date: DATE\n{rest}"),
                String::from_utf8(envelope).unwrap().replace('\0', "|"),
            )
        })
        .collect()
}
