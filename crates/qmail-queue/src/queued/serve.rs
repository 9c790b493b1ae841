//! The service itself: threads that wait together, and one that looks after time and signals.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

use queue::intake::{Fault, Incoming, Intake, Origin};
use queue::service::{Answer, BUSY};
use sys::ready::{Ready, Watch};
use sys::signal::Signal;

use super::Settings;
use super::conn::{Conn, Heard};
use super::door::Door;
use super::ledger::{Holder, Ledger, Limits};
use super::settle::Desk;
use crate::received::{self, Known};

/// Key of the listening socket; connections have the number of their slot.
const LISTENER: u64 = u64::MAX;
/// Key of the pipe that ends the threads.
const STOP: u64 = u64::MAX - 1;
/// Bytes read at once.
const BUFFER: usize = 64 * 1024;
/// Stack of a thread, bytes: nothing here is deep.
const STACK: usize = 256 * 1024;
/// How long a thread waits for work before it goes, and how many stay.
const REST: Duration = Duration::from_mins(1);
const STAFF: usize = 2;
/// How often time is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long messages that are on their way may go on after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);
/// How often the end is looked at then.
const GRACE_TICK: Duration = Duration::from_millis(20);
/// Numbers below this may be process ids (the largest limit that Linux has for them).
const FIRST_QP: u64 = 1 << 22;
/// Numbers are as many for each second that passes: those of an earlier service come back only after two years.
const QP_A_SECOND: u64 = 64;
/// Room on the disk that ordinary users leave to the rest: a twentieth, but not more than this.
const RESERVE_BYTES: u64 = 100 << 20;
const RESERVE_FILES: u64 = 10_000;

/// Most places are empty, so what stands there lies elsewhere.
type Slot<'q> = Mutex<Option<Box<Conn<'q>>>>;

/// Everything that the threads share.
#[derive(Debug)]
pub(super) struct Service<'q> {
    intake: &'q Intake,
    door: Door,
    known: Known,
    own_uid: u32,
    limits: Limits,
    settings: Settings,
    ready: Ready,
    ledger: Ledger<Conn<'q>>,
    desk: Desk<'q, Conn<'q>>,
    slots: Vec<Slot<'q>>,
    free: Mutex<Vec<usize>>,
    qp: AtomicU64,
    threads: AtomicUsize,
    idle: AtomicUsize,
    is_full: AtomicBool,
    is_closing: AtomicBool,
    has_complained: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'q> Service<'q> {
    pub(super) fn new(
        intake: &'q Intake,
        door: Door,
        known: Known,
        limits: Limits,
        settings: Settings,
    ) -> io::Result<Service<'q>> {
        let ready = Ready::new()?;
        ready.add(&door.listener, LISTENER, Watch::News)?;
        let start = u64::try_from(base::tai::unix_now()).unwrap_or(0);
        Ok(Service {
            intake,
            door,
            known,
            own_uid: sys::ids::euid(),
            limits,
            settings,
            ready,
            ledger: Ledger::new(limits),
            desk: Desk::new(intake),
            slots: (0..limits.connections).map(|_| Mutex::default()).collect(),
            free: Mutex::new((0..limits.connections).collect()),
            qp: AtomicU64::new(start.saturating_mul(QP_A_SECOND)),
            threads: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            has_complained: AtomicBool::new(false),
        })
    }

    /// Serves until SIGTERM.
    pub(super) fn run(&self) {
        let Ok((stop, stopper)) = sys::fd::pipe() else {
            return;
        };
        if self.ready.add(&stop, STOP, Watch::Always).is_err() {
            return;
        }
        std::thread::scope(|scope| {
            self.hire(scope);
            self.watch();
            self.end();
            drop(stopper);
        });
    }

    /// One more thread, unless there are enough.
    fn hire<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        if self.threads.fetch_add(1, Ordering::Relaxed) >= self.limits.threads {
            self.threads.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let builder = Builder::new().stack_size(STACK);
        if builder
            .spawn_scoped(scope, move || self.work(scope))
            .is_err()
        {
            self.threads.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A thread's life.
    fn work<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        let mut buffer = vec![0; BUFFER];
        loop {
            self.idle.fetch_add(1, Ordering::Relaxed);
            let key = self.ready.wait(Some(REST));
            if self.idle.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.hire(scope);
            }
            match key {
                Ok(Some(STOP)) | Err(_) => return,
                Ok(Some(LISTENER)) => {
                    if let Some(conn) = self.accept() {
                        self.attend(conn, &mut buffer);
                    }
                }
                Ok(Some(key)) => {
                    if let Some(conn) = self.take(key) {
                        self.attend(conn, &mut buffer);
                    }
                }
                Ok(None) if self.may_go() => return,
                Ok(None) => {}
            }
        }
    }

    /// Whether a thread without work can be spared; then it is counted out.
    fn may_go(&self) -> bool {
        let fewer = |n: usize| (n > STAFF).then(|| n - 1);
        let change = self
            .threads
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        change.is_ok()
    }

    /// Looks after time and signals, until SIGTERM.
    fn watch(&self) {
        let Ok(wake) = sys::signal::wake() else {
            return;
        };
        loop {
            self.look_at_space();
            let _ = sys::poll::readable(&wake, TICK);
            sys::signal::woken();
            if sys::signal::pending(Signal::SIGTERM) {
                return;
            }
            self.has_complained.store(false, Ordering::Relaxed);
            self.sweep(self.settings.idle);
            // After trouble with accepting, the next connection would be the first to be noticed.
            self.accept_all();
        }
    }

    /// The end: nobody new, a while for those who are in the middle of something.
    fn end(&self) {
        self.door.close();
        self.accept_all();
        self.is_closing.store(true, Ordering::SeqCst);
        let end = Instant::now() + GRACE;
        while self.ledger.connections() > 0 && Instant::now() < end {
            std::thread::sleep(GRACE_TICK);
            self.sweep(GRACE / 5);
        }
    }

    /// Ends connections that have had their time.
    fn sweep(&self, idle: Duration) {
        let now = Instant::now();
        for slot in &self.slots {
            let mut place = lock(slot);
            let is_over = |c: &mut Box<Conn<'_>>| c.is_over(now, idle, self.settings.whole);
            if let Some(conn) = place.take_if(is_over) {
                drop(place);
                self.dismiss(*conn);
            }
        }
    }

    fn look_at_space(&self) {
        let Ok(space) = self.intake.queue().space() else {
            return;
        };
        let is_low = |free: u64, all: u64, most: u64| all > 0 && free < (all / 20).min(most);
        let is_full = is_low(space.bytes_free, space.bytes, RESERVE_BYTES)
            || is_low(space.files_free, space.files, RESERVE_FILES);
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// Takes every connection that there is, and gives the last one back.
    fn accept(&self) -> Option<Conn<'q>> {
        let mut last: Option<Conn<'q>> = None;
        loop {
            match sys::local::accept(&self.door.listener) {
                Ok(socket) => {
                    let conn = self.admit(socket);
                    if let Some(earlier) = std::mem::replace(&mut last, conn) {
                        self.park(earlier);
                    }
                }
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) => {}
                Err(_) => return last,
            }
        }
    }

    fn accept_all(&self) {
        if let Some(conn) = self.accept() {
            self.park(conn);
        }
    }

    fn admit(&self, socket: OwnedFd) -> Option<Conn<'q>> {
        let uid = sys::local::peer(&socket).ok()?.uid;
        let holder = if uid == 0 || uid == self.own_uid || self.known.is_ours(uid) {
            Holder::Own
        } else {
            Holder::Other(uid)
        };
        let conn = Conn::new(socket, uid, holder);
        if self.ledger.enter(holder) {
            return Some(conn);
        }
        say(&conn, BUSY);
        None
    }

    /// Lets a connection wait until it says something.
    fn park(&self, mut conn: Conn<'q>) {
        let known = conn.slot;
        let Some(at) = known.or_else(|| lock(&self.free).pop()) else {
            return self.dismiss(conn);
        };
        conn.slot = Some(at);
        let Some(slot) = self.slots.get(at) else {
            return self.dismiss(conn);
        };
        // Whoever hears of it at once has to wait until it stands there.
        let mut place = lock(slot);
        let key = at as u64;
        let done = match known {
            Some(_) => self.ready.again(&conn.socket, key),
            None => self.ready.add(&conn.socket, key, Watch::Once),
        };
        if done.is_ok() {
            *place = Some(Box::new(conn));
        } else {
            drop(place);
            self.dismiss(conn);
        }
    }

    /// The connection that waits with this key. It may have gone.
    fn take(&self, key: u64) -> Option<Conn<'q>> {
        let conn = lock(self.slots.get(usize::try_from(key).ok()?)?).take()?;
        Some(*conn)
    }

    /// The end of a connection, and of a message that is not whole.
    fn dismiss(&self, conn: Conn<'q>) {
        let (holder, booked, slot) = (conn.holder, conn.booked, conn.slot);
        drop(conn);
        if let Some(slot) = slot {
            lock(&self.free).push(slot);
        }
        self.ledger.leave(holder, booked);
    }

    /// Does what is to be done for a connection that has said something; ordinary users wait for their turn.
    fn attend(&self, conn: Conn<'q>, buffer: &mut [u8]) {
        let Holder::Other(uid) = conn.holder else {
            return self.turn(conn, buffer);
        };
        let mut next = self.ledger.start(uid, conn);
        while let Some(conn) = next {
            let uid = conn.uid;
            self.turn(conn, buffer);
            next = self.ledger.finish(uid);
        }
    }

    fn turn(&self, mut conn: Conn<'q>, buffer: &mut [u8]) {
        let heard = conn.hear(buffer, |uid| self.begin(uid));
        match heard {
            Heard::Some => match self.book(&mut conn) {
                Ok(()) => self.park(conn),
                Err(fault) => self.refuse(conn, fault),
            },
            Heard::Whole => self.publish(conn),
            Heard::Gone => self.dismiss(conn),
            Heard::Fault(fault) => self.refuse(conn, fault),
        }
    }

    /// A message begins.
    fn begin(&self, uid: u32) -> (u32, Incoming<'q>) {
        let span = u64::from(u32::MAX) - FIRST_QP;
        let count = self.qp.fetch_add(1, Ordering::Relaxed);
        let qp = u32::try_from(FIRST_QP + count % span).unwrap_or(u32::MAX);
        let now = base::tai::unix_now();
        let header = received::line(qp, self.known.caller(uid), now);
        let origin = Origin {
            uid,
            pid: qp,
            now,
            header,
        };
        (qp, self.intake.expect(&origin))
    }

    /// Notes what an ordinary user has on disk, and whether there is room for it.
    fn book(&self, conn: &mut Conn<'q>) -> Result<(), Fault> {
        let Holder::Other(uid) = conn.holder else {
            return Ok(());
        };
        if self.is_full.load(Ordering::Relaxed) {
            return Err(Fault::Write);
        }
        let on_disk = conn.incoming.as_ref().map_or(0, Incoming::on_disk);
        let more = on_disk.saturating_sub(conn.booked);
        conn.booked = on_disk;
        if more > 0 && !self.ledger.grow(uid, more) {
            return Err(Fault::Write);
        }
        Ok(())
    }

    fn publish(&self, mut conn: Conn<'q>) {
        if let Err(fault) = self.book(&mut conn) {
            return self.refuse(conn, fault);
        }
        let Some(incoming) = conn.incoming.take() else {
            return self.refuse(conn, Fault::Bug);
        };
        let tell = |conn, done| match done {
            Ok(()) => self.acknowledge(conn),
            Err(fault) => self.refuse(conn, fault),
        };
        match incoming.write_out() {
            // An ordinary user's message holds a thread while it is flushed, of which he has a share.
            Ok(written) if matches!(conn.holder, Holder::Other(_)) => {
                self.desk.bring_alone(written, conn, tell);
            }
            Ok(written) => self.desk.bring(written, conn, tell),
            Err(fault) => self.refuse(conn, fault),
        }
    }

    fn acknowledge(&self, mut conn: Conn<'q>) {
        let heard = say(&conn, 0);
        if !heard || !conn.many || self.is_closing.load(Ordering::Relaxed) {
            return self.dismiss(conn);
        }
        if let Holder::Other(uid) = conn.holder {
            self.ledger.shrink(uid, conn.booked);
            conn.booked = 0;
        }
        conn.renew();
        self.park(conn);
    }

    /// After a fault nobody knows what the next bytes mean, so the connection ends.
    fn refuse(&self, mut conn: Conn<'q>, fault: Fault) {
        // First the files, then the word.
        conn.incoming = None;
        say(&conn, fault.code());
        let is_ours = !matches!(fault, Fault::Read | Fault::Envelope | Fault::AddressTooLong);
        if is_ours && !self.has_complained.swap(true, Ordering::Relaxed) {
            let text = format!(
                "message of uid {} not taken: code {}",
                conn.uid,
                fault.code()
            );
            base::warn("qmail-queued", text);
        }
        self.dismiss(conn);
    }
}

/// Answers. `false`: the client is not there, or does not read.
fn say(conn: &Conn<'_>, code: u8) -> bool {
    let answer = Answer {
        code,
        qp: conn.qp,
        text: Vec::new(),
    };
    let bytes = answer.bytes();
    sys::local::send(&conn.socket, &bytes).is_ok_and(|count| count == bytes.len())
}
