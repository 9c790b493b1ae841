//! The programs of this room, black box.

#![allow(clippy::unwrap_used, reason = "a test ends by a panic")]

mod inject;
mod maildirmake;
mod reference;
mod sendmail;

use kit::{Home, Run};

/// A home, and a queue program that shows what it gets: envelope and message, one after the other, in the file `got`.
struct Place {
    home: Home,
}

impl Place {
    fn new(name: &str) -> Place {
        let home = Home::new(name);
        let got = home.join("got");
        home.fake(
            "qmail-queue",
            &format!(
                "cat >{0}.m; cat <&1 >{0}.e; cat {0}.e {0}.m >{0}; exit ${{FAKE_EXIT-0}}",
                got.display()
            ),
        );
        Place { home }
    }

    fn run(&self, program: &str) -> Run {
        self.home.run(program).env("USER", "joe")
    }

    /// What the queue program got last: the envelope, NUL shown as a bar, and the message.
    fn got(&self) -> String {
        let bytes = std::fs::read(self.home.join("got")).unwrap_or_default();
        let text: Vec<u8> = bytes
            .into_iter()
            .map(|b| if b == 0 { b'|' } else { b })
            .collect();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The envelope alone.
    fn envelope(&self) -> String {
        let bytes = std::fs::read(self.home.join("got.e")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', "|")
    }
}
