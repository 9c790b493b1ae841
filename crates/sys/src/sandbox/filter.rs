//! The table of calls as a program for the kernel's filter machine: a tree of comparisons with a verdict at each leaf.
//!
//! A tree, because the kernel tries every number of a call once when the filter is set up, to learn which need no look
//! later: a list would make every start of a program slower.

use super::Promises;
use super::calls::{self, Verdict};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
/// Where the 32-bit pointers of x86-64 begin: another set of calls, which we do not use.
const OTHER_CALLS: u32 = 0x4000_0000;

/// Places in what the kernel shows of a call.
const NUMBER: u32 = 0;
const MACHINE: u32 = 4;
/// The low half of the first argument; 8 bytes each.
const ARGUMENTS: u32 = 16;

// The names of the instructions are wider than the field for them.
#[allow(clippy::cast_possible_truncation)]
const fn code(bits: u32) -> u16 {
    bits as u16
}

const LOAD: u16 = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
const IF_EQUAL: u16 = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
const IF_NOT_BELOW: u16 = code(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K);
const IF_ANY_BIT: u16 = code(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K);
const RETURN: u16 = code(libc::BPF_RET | libc::BPF_K);

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const NO_SUCH_CALL: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const NO_ACCESS: u32 = libc::SECCOMP_RET_ERRNO | libc::EACCES as u32;

/// A program for the filter machine.
pub(super) struct Program(Vec<libc::sock_filter>);

impl Program {
    /// `None`: a jump would be too long, which a test excludes.
    pub(super) fn new(promises: &Promises) -> Option<Program> {
        let mut program = Program(Vec::with_capacity(320));
        program.push(LOAD, 0, 0, MACHINE);
        program.push(IF_EQUAL, 1, 0, ARCHITECTURE);
        program.push(RETURN, 0, 0, KILL);
        program.push(LOAD, 0, 0, NUMBER);
        program.tree(&spans(&calls::table(promises)))?;
        Some(program)
    }

    /// Hands it to the kernel. `false`: it was not taken.
    pub(super) fn install(&self) -> bool {
        let Ok(length) = u16::try_from(self.0.len()) else {
            return false;
        };
        let program = libc::sock_fprog {
            len: length,
            filter: self.0.as_ptr().cast_mut(),
        };
        // SAFETY: the kernel reads `len` instructions, which `self` owns, and writes nothing.
        unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                &raw const program,
            ) == 0
        }
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) {
        self.0.push(libc::sock_filter { code, jt, jf, k });
    }

    /// Numbers are ranges here: each span goes up to the beginning of the next.
    fn tree(&mut self, spans: &[(u32, Verdict)]) -> Option<()> {
        let (low, high) = spans.split_at_checked(spans.len() / 2)?;
        let (from, verdict) = high.first()?;
        if low.is_empty() {
            self.leaf(*verdict);
            return Some(());
        }
        let place = self.0.len();
        self.push(IF_NOT_BELOW, 0, 0, *from);
        self.tree(low)?;
        let jump = u8::try_from(self.0.len() - place - 1).ok()?;
        self.0.get_mut(place)?.jt = jump;
        self.tree(high)
    }

    fn leaf(&mut self, verdict: Verdict) {
        let argument = |number: u32| ARGUMENTS + 8 * number;
        match verdict {
            Verdict::Allow => self.push(RETURN, 0, 0, ALLOW),
            Verdict::Refuse => self.push(RETURN, 0, 0, NO_SUCH_CALL),
            Verdict::Kill => self.push(RETURN, 0, 0, KILL),
            Verdict::Without(number, bits) => {
                self.push(LOAD, 0, 0, argument(number));
                self.push(IF_ANY_BIT, 0, 1, bits);
                self.push(RETURN, 0, 0, NO_ACCESS);
                self.push(RETURN, 0, 0, ALLOW);
            }
            Verdict::OneOf(number, list) => {
                self.push(LOAD, 0, 0, argument(number));
                for value in list {
                    self.push(IF_EQUAL, 0, 1, *value);
                    self.push(RETURN, 0, 0, ALLOW);
                }
                self.push(RETURN, 0, 0, NO_ACCESS);
            }
            Verdict::OwnProcess(number) => {
                self.push(LOAD, 0, 0, argument(number));
                self.push(IF_EQUAL, 0, 1, std::process::id());
                self.push(RETURN, 0, 0, ALLOW);
                self.push(RETURN, 0, 0, NO_ACCESS);
            }
        }
    }
}

/// All numbers of calls as ranges with one verdict each; `table` is sorted.
fn spans(table: &[(u32, Verdict)]) -> Vec<(u32, Verdict)> {
    let mut spans: Vec<(u32, Verdict)> = vec![(0, Verdict::Refuse)];
    let mut add = |from: u32, verdict: Verdict| match spans.last_mut() {
        Some((start, last)) if *start == from => *last = verdict,
        _ => spans.push((from, verdict)),
    };
    for (number, verdict) in table {
        add(*number, *verdict);
        add(number + 1, Verdict::Refuse);
    }
    add(OTHER_CALLS, Verdict::Kill);
    // Neighbours with one verdict are one span; each check of an argument must see its own number only, but the same
    // check is right for both.
    spans.dedup_by_key(|(_, verdict)| *verdict);
    spans
}

#[cfg(test)]
mod tests;
