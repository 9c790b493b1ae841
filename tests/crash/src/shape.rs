//! What a crash left, without what differs from run to run: equal shapes have an equal future.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::suite::{Mail, Suite, files};

/// Copies by mail and place.
pub type Copies = BTreeMap<(usize, &'static str), usize>;

/// The state of queue and mailboxes: a line for each file of the queue, and the copies.
pub fn of(suite: &Suite, mails: &[Mail], copies: &Copies) -> String {
    let queue = suite.queue();
    let mut ids: Vec<String> = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    let mut all: Vec<(String, String, Vec<u8>)> = Vec::new();
    for path in files(&queue) {
        let inside = path.strip_prefix(&queue).unwrap_or(Path::new(""));
        let dir = inside.iter().next().unwrap_or_default();
        let dir = dir.to_string_lossy().into_owned();
        if dir == "lock" {
            continue;
        }
        let id = inside.file_name().unwrap_or_default();
        let id = id.to_string_lossy().into_owned();
        all.push((dir, id, fs::read(&path).unwrap_or_default()));
    }
    all.sort();
    for (dir, id, text) in all {
        let whole = mails.iter().position(|m| m.ends(&text));
        let content = match (dir.as_str(), whole) {
            ("mess", Some(n)) => format!("message {n}"),
            ("todo" | "intd", _) => {
                // Process numbers and user ids stand before the sender.
                let from = text.iter().position(|b| *b == b'F').unwrap_or(text.len());
                format!("{:?}", String::from_utf8_lossy(&text[from..]))
            }
            ("bounce" | "local" | "remote" | "info", _) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                // A bounce holds the time and more in words that do not matter here.
                let time = |c: char| c.is_ascii_digit();
                format!("{:?}", text.replace(time, ""))
            }
            _ => format!("{} bytes", text.len()),
        };
        let known = ids.iter().position(|i| *i == id);
        let number = known.unwrap_or_else(|| {
            ids.push(id.clone());
            ids.len() - 1
        });
        let name = if dir == "pid" { 0 } else { number };
        lines.push(format!("{dir} {name} {content}"));
    }
    lines.push(format!("{copies:?}"));
    lines.join("\n")
}
