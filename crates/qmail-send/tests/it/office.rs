//! A post office whose spawners are played by the test.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kit::{Home, program};
use sys::process::End;
use sys::signal::Signal;
use sys::spawn::Spawn;

/// What qmail-send asked a spawner for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) channel: &'static str,
    pub(crate) slot: u8,
    pub(crate) message: String,
    pub(crate) sender: String,
    pub(crate) recipient: String,
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
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            send: program("qmail-send"),
            clean: program("qmail-clean"),
            greeting: vec![120],
            has_cleaner: true,
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
            let greeting = setup.greeting.clone();
            std::thread::spawn(move || play(channel, orders, reports, &greeting, &shared, &rule))
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

/// Plays a spawner until it has no more orders.
fn play(
    channel: &'static str,
    orders: OwnedFd,
    reports: OwnedFd,
    greeting: &[u8],
    shared: &Shared,
    rule: &Rule,
) {
    let mut reports = fs::File::from(reports);
    if greeting.is_empty() || reports.write_all(greeting).is_err() {
        return;
    }
    let mut input = std::io::BufReader::new(fs::File::from(orders));
    let mut held: Vec<(u8, Vec<u8>)> = Vec::new();
    loop {
        if *shared.released.lock().unwrap() {
            for (slot, text) in held.drain(..) {
                let _ = reports.write_all(&[&[slot], text.as_slice(), b"\0"].concat());
            }
        } else if !held.is_empty() {
            // Held reports wait for the release; further orders come meanwhile.
            let ready = input.buffer().is_empty()
                && !sys::poll::readable(input.get_ref(), Duration::from_millis(5)).unwrap();
            if ready {
                continue;
            }
        }
        let Some(order) = next(channel, &mut input) else {
            // qmail-send has gone, or nobody wants the held ones.
            return;
        };
        shared.orders.lock().unwrap().push(order.clone());
        let done = match rule(&order) {
            Answer::Report(text) => {
                reports.write_all(&[&[order.slot], text.as_slice(), b"\0"].concat())
            }
            Answer::Raw(bytes) => reports.write_all(&bytes),
            Answer::Held(text) => {
                held.push((order.slot, text));
                Ok(())
            }
            Answer::Die => return,
        };
        if done.is_err() {
            return;
        }
    }
}

fn next(channel: &'static str, input: &mut impl std::io::BufRead) -> Option<Order> {
    let mut slot = [0];
    input.read_exact(&mut slot).ok()?;
    let mut field = || {
        let mut bytes = Vec::new();
        input.read_until(0, &mut bytes).ok()?;
        bytes.pop()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    Some(Order {
        channel,
        slot: slot[0],
        message: field()?,
        sender: field()?,
        recipient: field()?,
    })
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
        "n=$(ls bounces | wc -l); cat >bounces/$n.tmp; cat <&1 >bounces/$n.envelope; \
         mv bounces/$n.tmp bounces/$n.message",
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
