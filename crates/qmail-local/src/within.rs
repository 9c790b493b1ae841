//! Deliveries to maildirs and mboxes in a process that serves one user and several orders: what qmail-local would do
//! and say, without a program for each.
//!
//! An order whose instructions hold a program or a forward is not touched: that is for qmail-local itself, which can
//! be replaced, killed and limited by itself.

use std::fs::File;

use base::{Bytes, Die};
use mailbox::Trouble;
use mailbox::maildir::{self, Batch};

use crate::args::Args;
use crate::deliver::{Delivery, Done, maildir_trouble};
use crate::dotfile::{self, Instructions};
use crate::environment::Lines;
use crate::instruction::{Allowed, Instruction, before_nul, lines};
use crate::local::enter_home;
use crate::message::Message;
use crate::once::Once;
use crate::program;

/// One delivery to make.
#[derive(Debug)]
pub struct Order {
    /// what qmail-local would find on its command line: user, home, local, dash, ext, host, sender, default delivery
    pub words: [Bytes; 8],
    /// the message; where it stands does not matter
    pub message: File,
    /// how it can be known again
    pub once: Option<Once>,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// what qmail-local would have left with, and said on descriptors 1 and 2
    Over {
        /// the exit code
        code: u8,
        /// the words
        text: Bytes,
    },
    /// nothing was done: this is for qmail-local itself
    NotHere,
}

impl Answer {
    fn done(done: Done) -> Answer {
        Answer::Over {
            code: 0,
            text: done.report().into_bytes(),
        }
    }

    fn died(die: &Die) -> Answer {
        Answer::Over {
            code: die.code,
            text: die.line("qmail-local"),
        }
    }
}

/// What is to be done for one recipient.
struct Plan {
    args: Args,
    lines: Lines,
    new_sender: Bytes,
    instructions: Instructions,
    message: Message,
    once: Option<Once>,
}

/// The kinds of a plan.
enum Kind<'a> {
    /// one file in this directory, and nothing else; the line that says so
    Maildir(usize, &'a [u8]),
    /// files only; or a mistake, which is found on the way
    Files,
    /// a program or a forward, somewhere
    More,
}

/// Gets this process ready. Once, before the first `deliver`, when it is the recipient.
///
/// # Errors
/// The kernel would not change what signals do.
pub fn prepare() -> std::io::Result<()> {
    sys::process::umask(0o077);
    program::HELD_BACK
        .into_iter()
        .try_for_each(sys::signal::ignore)
}

/// Carries out some orders, and tells of each by its place in `orders`, once, when it is over: as durable as
/// qmail-local promises. Maildirs wait for the disk together.
///
/// Changes the working directory; at the end it is `/`.
///
/// Waits   as qmail-local does: a day for all maildirs, half a minute for the lock of an mbox.
pub fn deliver(orders: Vec<Order>, mut tell: impl FnMut(usize, Answer)) {
    let mut together = Together::default();
    for (place, order) in orders.into_iter().enumerate() {
        let mut plan = match Plan::make(order) {
            Ok(plan) => plan,
            Err(die) => {
                tell(place, Answer::died(&die));
                continue;
            }
        };
        match plan.kind() {
            Kind::More => tell(place, Answer::NotHere),
            Kind::Maildir(line, dir) => {
                let dir = before_nul(dir).to_vec();
                if let Err(trouble) = together.add(place, (line, &dir), &mut plan) {
                    tell(place, Answer::died(&trouble));
                }
            }
            Kind::Files => {
                // An mbox may make us wait for its lock: those who are nearly done shall not.
                together.finish(&mut tell);
                if let Err(die) = enter_home(&plan.args) {
                    tell(place, Answer::died(&die));
                    continue;
                }
                tell(place, plan.run());
            }
        }
    }
    together.finish(&mut tell);
    // Nobody's home is kept busy by a process that rests.
    let _ = std::env::set_current_dir("/");
}

impl Plan {
    /// All that qmail-local does before its first delivery, in its order.
    fn make(order: Order) -> Result<Plan, Die> {
        let args = Args::read(&[&[b"--".to_vec()], order.words.as_slice()].concat())?;
        enter_home(&args)?;
        let lines = Lines::new(&args, base::tai::unix_now());
        let mut message = Message::from(order.message);
        message.refuse_loop(&lines.delivered_to)?;
        let instructions = dotfile::find(&args)?;
        let new_sender = dotfile::new_sender(&args)?;
        Ok(Plan {
            args,
            lines,
            new_sender,
            instructions,
            message,
            once: order.once,
        })
    }

    fn kind(&self) -> Kind<'_> {
        let text = &self.instructions.text;
        let all = || lines(text).map(Instruction::parse);
        if all().any(|line| matches!(line, Instruction::Program(_) | Instruction::Forward(_))) {
            return Kind::More;
        }
        let mut files = all()
            .enumerate()
            .filter(|(_, line)| !matches!(line, Instruction::Blank | Instruction::Nothing));
        match (all().next(), files.next(), files.next()) {
            (Some(Instruction::Blank), ..) => Kind::Files,
            (_, Some((line, Instruction::Maildir(dir))), None)
                if self.instructions.allowed == Allowed::Everything =>
            {
                Kind::Maildir(line, dir)
            }
            _ => Kind::Files,
        }
    }

    /// Carries it out alone. The working directory is the recipient's home.
    fn run(self) -> Answer {
        let mut delivery = Delivery {
            args: &self.args,
            lines: self.lines,
            new_sender: self.new_sender,
            // For programs: there are none.
            env: Vec::new(),
            message: self.message,
            once: self.once,
        };
        match delivery.run(&self.instructions) {
            Ok(done) => Answer::done(done),
            Err(die) => Answer::died(&die),
        }
    }
}

/// The deliveries to maildirs that wait for the disk.
#[derive(Default)]
struct Together {
    batch: Option<Batch>,
    /// whose they are
    places: Vec<usize>,
}

impl Together {
    fn add(
        &mut self,
        place: usize,
        (line, dir): (usize, &[u8]),
        plan: &mut Plan,
    ) -> Result<(), Die> {
        let header = plan.lines.header();
        let opening = plan.message.opening();
        let once = plan.once.map(|once| once.of(&plan.args, opening, line));
        let message = plan.message.rewound()?;
        self.batch(dir, &header, message, once)
            .map_err(maildir_trouble)?;
        self.places.push(place);
        Ok(())
    }

    fn batch(
        &mut self,
        dir: &[u8],
        header: &[u8],
        message: &mut File,
        once: Option<maildir::Once>,
    ) -> Result<(), Trouble> {
        let batch = match &mut self.batch {
            Some(batch) => batch,
            none => none.insert(Batch::start()?),
        };
        batch.add(dir, header, message, once)
    }

    fn finish(&mut self, tell: &mut impl FnMut(usize, Answer)) {
        let Some(batch) = self.batch.take() else {
            return;
        };
        let (done, remains) = batch.finish();
        for (place, done) in self.places.drain(..).zip(done) {
            tell(
                place,
                match done {
                    Ok(arrival) => Answer::done(Done::one_maildir(&arrival)),
                    Err(trouble) => Answer::died(&maildir_trouble(trouble)),
                },
            );
        }
        drop(remains);
    }
}
