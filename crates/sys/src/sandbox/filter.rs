//! The table of calls as a program for the kernel's filter machine.
//!
//! Setting a filter up costs the kernel about a quarter of a microsecond for each instruction, in every start of a
//! program, so it is kept short: the numbers that are simply allowed are bits of words, 32 to a word, and a tree of
//! comparisons finds the word. Calls that need a look at an argument are sorted out before.

use super::Promises;
use super::calls::{self, Verdict};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

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
const LOAD_NUMBER: u16 = code(libc::BPF_LD | libc::BPF_W | libc::BPF_IMM);
const AND: u16 = code(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K);
const SHIFT_BY_X: u16 = code(libc::BPF_ALU | libc::BPF_LSH | libc::BPF_X);
const TO_X: u16 = code(libc::BPF_MISC | libc::BPF_TAX);
const IF_EQUAL: u16 = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
const IF_NOT_BELOW: u16 = code(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K);
const IF_ANY_BIT: u16 = code(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K);
const IF_ANY_BIT_OF_X: u16 = code(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_X);
const RETURN: u16 = code(libc::BPF_RET | libc::BPF_K);

/// What the program may answer.
const ANSWERS: [u32; 4] = [
    libc::SECCOMP_RET_ALLOW,
    libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
    libc::SECCOMP_RET_ERRNO | libc::EACCES as u32,
    libc::SECCOMP_RET_KILL_PROCESS,
];

/// A place to jump to: the next instruction, one of the answers, or a place that is known later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Label(usize);

const ALLOW: Label = Label(0);
const NO_SUCH_CALL: Label = Label(1);
const NO_ACCESS: Label = Label(2);
const KILL: Label = Label(3);
const NEXT: Label = Label(usize::MAX);

/// A program whose jumps go to labels.
struct Draft {
    steps: Vec<(u16, Label, Label, u32)>,
    places: Vec<usize>,
}

impl Draft {
    fn step(&mut self, code: u16, k: u32) {
        self.steps.push((code, NEXT, NEXT, k));
    }

    fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) {
        self.steps.push((code, yes, no, k));
    }

    fn label(&mut self) -> Label {
        self.places.push(0);
        Label(self.places.len() - 1)
    }

    fn here(&mut self, label: Label) {
        if let Some(place) = self.places.get_mut(label.0) {
            *place = self.steps.len();
        }
    }

    fn write(&mut self, table: &[(u32, Verdict)]) {
        // X: the bit of this call in its word.
        self.step(LOAD, NUMBER);
        self.step(AND, 31);
        self.step(TO_X, 0);
        self.step(LOAD_NUMBER, 1);
        self.step(SHIFT_BY_X, 0);
        self.step(TO_X, 0);
        // Each kind of processor has numbers of its own.
        self.step(LOAD, MACHINE);
        self.branch(IF_EQUAL, ARCHITECTURE, NEXT, KILL);
        self.step(LOAD, NUMBER);

        let mut words = Vec::new();
        let mut looks = Vec::new();
        for (number, verdict) in table {
            match verdict {
                Verdict::Allow => allow(&mut words, *number),
                Verdict::Kill => self.branch(IF_EQUAL, *number, KILL, NEXT),
                look => {
                    let label = self.label();
                    self.branch(IF_EQUAL, *number, label, NEXT);
                    looks.push((label, *look));
                }
            }
        }
        self.branch(IF_NOT_BELOW, 32 * length(&words), NO_SUCH_CALL, NEXT);
        self.tree(0, &words);
        for (label, verdict) in looks {
            self.here(label);
            self.look(verdict);
        }
        for (label, answer) in [ALLOW, NO_SUCH_CALL, NO_ACCESS, KILL]
            .into_iter()
            .zip(ANSWERS)
        {
            self.here(label);
            self.step(RETURN, answer);
        }
    }

    /// Finds the word of a call; `from` is the number of the first.
    fn tree(&mut self, from: u32, words: &[u32]) {
        if let [word] = words {
            self.step(LOAD_NUMBER, *word);
            self.branch(IF_ANY_BIT_OF_X, 0, ALLOW, NO_SUCH_CALL);
            return;
        }
        let Some((low, high)) = words
            .split_at_checked(words.len() / 2)
            .filter(|(l, _)| !l.is_empty())
        else {
            return;
        };
        let (middle, above) = (from + length(low), self.label());
        self.branch(IF_NOT_BELOW, 32 * middle, above, NEXT);
        self.tree(from, low);
        self.here(above);
        self.tree(middle, high);
    }

    fn look(&mut self, verdict: Verdict) {
        let argument = |number: u32| ARGUMENTS + 8 * number;
        match verdict {
            Verdict::Without(number, bits) => {
                self.step(LOAD, argument(number));
                self.branch(IF_ANY_BIT, bits, NO_ACCESS, ALLOW);
            }
            Verdict::With(number, bits) => {
                self.step(LOAD, argument(number));
                self.step(AND, bits);
                self.branch(IF_EQUAL, bits, ALLOW, NO_ACCESS);
            }
            Verdict::OneOf(number, list) => {
                self.step(LOAD, argument(number));
                for value in list {
                    self.branch(IF_EQUAL, *value, ALLOW, NEXT);
                }
                // None of them: a jump either way.
                self.branch(IF_NOT_BELOW, 0, NO_ACCESS, NO_ACCESS);
            }
            Verdict::Socket(families) => {
                self.step(LOAD, argument(1));
                // Besides 1 and 2 there are flags, kinds above 3, and 3, which is for root only.
                self.branch(IF_ANY_BIT, 0xc, NO_ACCESS, NEXT);
                self.step(LOAD, argument(2));
                self.branch(IF_EQUAL, 0, NEXT, NO_ACCESS);
                self.look(Verdict::OneOf(0, families));
            }
            Verdict::OwnProcess(number) => {
                self.step(LOAD, argument(number));
                self.branch(IF_EQUAL, std::process::id(), ALLOW, NO_ACCESS);
            }
            Verdict::Allow | Verdict::Kill => {}
        }
    }

    /// Makes jumps of the labels. `None`: one is too long.
    fn finish(&self) -> Option<Vec<libc::sock_filter>> {
        let jump = |at: usize, label: Label| {
            if label == NEXT {
                return Some(0);
            }
            let way = self.places.get(label.0)?.checked_sub(at + 1)?;
            u8::try_from(way).ok()
        };
        let steps = self.steps.iter().enumerate();
        steps
            .map(|(at, (code, yes, no, k))| {
                Some(libc::sock_filter {
                    code: *code,
                    jt: jump(at, *yes)?,
                    jf: jump(at, *no)?,
                    k: *k,
                })
            })
            .collect()
    }
}

fn length(words: &[u32]) -> u32 {
    // There are fewer than a thousand calls.
    u32::try_from(words.len()).unwrap_or(0)
}

fn allow(words: &mut Vec<u32>, number: u32) {
    let place = (number / 32) as usize;
    if words.len() <= place {
        words.resize(place + 1, 0);
    }
    if let Some(word) = words.get_mut(place) {
        *word |= 1 << (number % 32);
    }
}

/// A program for the filter machine.
pub(super) struct Program(Vec<libc::sock_filter>);

impl Program {
    /// `None`: a jump would be too long, which a test excludes.
    pub(super) fn new(promises: &Promises) -> Option<Program> {
        let mut draft = Draft {
            steps: Vec::with_capacity(128),
            places: vec![0; ANSWERS.len()],
        };
        draft.write(&calls::table(promises));
        draft.finish().map(Program)
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
}

#[cfg(test)]
mod tests;
