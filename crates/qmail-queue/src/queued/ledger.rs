//! Who may have how much: connections, work and unfinished bytes, of each user and of all.
//!
//! The suite's own users (root, the service's own, alias, qmaild, qmails) share what the others cannot take. All others
//! together get a third of the connections and half of the threads, each of them a part of that.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Unfinished bytes on disk that one ordinary user may have.
const BYTES_EACH: u64 = 1 << 30;

/// How much of each thing there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// connections in all
    pub(super) connections: usize,
    /// connections of all ordinary users
    pub(super) others: usize,
    /// connections of one ordinary user
    pub(super) each: usize,
    /// threads in all
    pub(super) threads: usize,
    /// threads that work for ordinary users
    pub(super) others_working: usize,
    /// threads that work for one ordinary user
    pub(super) each_working: usize,
    /// unfinished bytes on disk of one ordinary user
    pub(super) each_bytes: u64,
}

impl Limits {
    pub(super) fn new(connections: usize, threads: usize) -> Limits {
        let others = (connections / 3).max(2);
        let others_working = (threads / 2).max(1);
        Limits {
            connections,
            others,
            each: (others / 5).max(1),
            threads,
            others_working,
            each_working: (others_working / 4).max(1),
            each_bytes: BYTES_EACH,
        }
    }
}

#[derive(Debug, Default)]
struct Account {
    connections: usize,
    working: usize,
    bytes: u64,
}

/// The book. `T` is what waits for its turn.
#[derive(Debug)]
pub(super) struct Ledger<T> {
    limits: Limits,
    book: Mutex<Book<T>>,
}

#[derive(Debug)]
struct Book<T> {
    connections: usize,
    others: usize,
    others_working: usize,
    accounts: HashMap<u32, Account>,
    waiting: VecDeque<(u32, T)>,
}

/// A user as the ledger sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// one of the suite's own
    Own,
    /// anybody else
    Other(u32),
}

impl<T> Ledger<T> {
    pub(super) fn new(limits: Limits) -> Ledger<T> {
        let book = Book {
            connections: 0,
            others: 0,
            others_working: 0,
            accounts: HashMap::new(),
            waiting: VecDeque::new(),
        };
        Ledger {
            limits,
            book: Mutex::new(book),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book<T>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection comes. `false`: it has to go.
    pub(super) fn enter(&self, holder: Holder) -> bool {
        let limits = self.limits;
        let mut book = self.book();
        if book.connections >= limits.connections {
            return false;
        }
        if let Holder::Other(uid) = holder {
            let has = book.accounts.get(&uid).map_or(0, |a| a.connections);
            if book.others >= limits.others || has >= limits.each {
                return false;
            }
            book.others += 1;
            book.accounts.entry(uid).or_default().connections += 1;
        }
        book.connections += 1;
        true
    }

    /// A connection goes, and with it what it had unfinished on disk.
    pub(super) fn leave(&self, holder: Holder, bytes: u64) {
        let mut book = self.book();
        book.connections = book.connections.saturating_sub(1);
        if let Holder::Other(uid) = holder {
            book.others = book.others.saturating_sub(1);
            if let Some(account) = book.accounts.get_mut(&uid) {
                account.connections = account.connections.saturating_sub(1);
                account.bytes = account.bytes.saturating_sub(bytes);
            }
            book.forget(uid);
        }
    }

    /// Connections now.
    pub(super) fn connections(&self) -> usize {
        self.book().connections
    }

    /// A connection of an ordinary user wants to be worked for: it comes back if it may be now. Else it waits, and
    /// `finish` gives it to somebody.
    pub(super) fn start(&self, uid: u32, what: T) -> Option<T> {
        let mut book = self.book();
        if book.may_work(uid, &self.limits) {
            book.work(uid);
            return Some(what);
        }
        book.waiting.push_back((uid, what));
        None
    }

    /// Work for a user is done. Perhaps there is other work that had to wait for this.
    pub(super) fn finish(&self, uid: u32) -> Option<T> {
        let mut book = self.book();
        book.others_working = book.others_working.saturating_sub(1);
        if let Some(account) = book.accounts.get_mut(&uid) {
            account.working = account.working.saturating_sub(1);
        }
        book.forget(uid);
        let at = (0..book.waiting.len()).find(|&at| {
            let next = book.waiting.get(at).map(|(uid, _)| *uid);
            next.is_some_and(|uid| book.may_work(uid, &self.limits))
        })?;
        let (uid, what) = book.waiting.remove(at)?;
        book.work(uid);
        Some(what)
    }

    /// A user's unfinished bytes become more. `false`: too many.
    pub(super) fn grow(&self, uid: u32, bytes: u64) -> bool {
        let limit = self.limits.each_bytes;
        let mut book = self.book();
        let account = book.accounts.entry(uid).or_default();
        account.bytes = account.bytes.saturating_add(bytes);
        account.bytes <= limit
    }

    /// A user's unfinished bytes become less.
    pub(super) fn shrink(&self, uid: u32, bytes: u64) {
        if let Some(account) = self.book().accounts.get_mut(&uid) {
            account.bytes = account.bytes.saturating_sub(bytes);
        }
    }
}

impl<T> Book<T> {
    fn may_work(&self, uid: u32, limits: &Limits) -> bool {
        let working = self.accounts.get(&uid).map_or(0, |a| a.working);
        self.others_working < limits.others_working && working < limits.each_working
    }

    fn work(&mut self, uid: u32) {
        self.others_working += 1;
        self.accounts.entry(uid).or_default().working += 1;
    }

    fn forget(&mut self, uid: u32) {
        let is_empty = |a: &Account| a.connections == 0 && a.working == 0;
        if self.accounts.get(&uid).is_some_and(is_empty) {
            self.accounts.remove(&uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            connections: 5,
            others: 3,
            each: 2,
            threads: 8,
            others_working: 3,
            each_working: 2,
            each_bytes: 100,
        }
    }

    #[test]
    fn nobody_takes_what_is_not_theirs() {
        let ledger = Ledger::<()>::new(limits());
        let (one, two) = (Holder::Other(1), Holder::Other(2));
        assert!(ledger.enter(one) && ledger.enter(one) && !ledger.enter(one));
        assert!(ledger.enter(two) && !ledger.enter(two), "all others");
        assert!(
            ledger.enter(Holder::Own) && ledger.enter(Holder::Own) && !ledger.enter(Holder::Own)
        );
        ledger.leave(one, 0);
        assert!(ledger.enter(two));
        assert!(ledger.grow(2, 100) && !ledger.grow(2, 1));
        ledger.leave(two, 101);
        ledger.leave(two, 0);
        ledger.leave(one, 0);
        ledger.leave(Holder::Own, 0);
        ledger.leave(Holder::Own, 0);
        let book = ledger.book();
        assert_eq!(
            (book.connections, book.others, book.accounts.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn work_waits_for_its_turn_and_never_behind_a_greedy_user() {
        let ledger = Ledger::new(limits());
        assert_eq!(ledger.start(1, 'a'), Some('a'));
        assert_eq!(ledger.start(1, 'b'), Some('b'));
        assert_eq!(ledger.start(1, 'c'), None, "two for one user");
        assert_eq!(ledger.start(2, 'd'), Some('d'));
        assert_eq!(ledger.start(2, 'e'), None, "three for all");
        assert_eq!(ledger.finish(2), Some('e'), "c has to wait for its user");
        assert_eq!(ledger.finish(1), Some('c'));
        assert_eq!(ledger.finish(1), None);
        assert_eq!(ledger.finish(1), None);
        assert_eq!(ledger.finish(2), None);
        assert!(ledger.book().accounts.is_empty());
    }
}
