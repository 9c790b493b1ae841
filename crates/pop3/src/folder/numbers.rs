//! The numbers that a list of unique names gives to messages.

use std::io;

use super::{Folder, IN_TEXTS, Message};
use crate::uidl::Template;

fn has_number(message: &Message) -> bool {
    message.uid > 0 || message.state & IN_TEXTS != 0
}

impl Folder {
    /// Whether a message has a number, or a unique name of its own.
    pub(crate) fn has_number(&self, index: usize) -> bool {
        self.message(index).is_some_and(has_number)
    }

    /// How many messages have none.
    pub(crate) fn unnumbered(&self) -> u64 {
        self.messages.iter().filter(|m| !has_number(m)).count() as u64
    }

    /// Whether every message has one.
    pub(crate) fn is_numbered(&self) -> bool {
        self.messages.iter().all(has_number)
    }

    pub(crate) fn forget_numbers(&mut self) {
        self.texts.clear();
        for message in &mut self.messages {
            message.uid = 0;
            message.state &= !IN_TEXTS;
        }
    }

    /// Leaves messages without a number out of this session.
    pub(crate) fn drop_unnumbered(&mut self) {
        self.messages.retain(has_number);
    }

    pub(crate) fn set_number(&mut self, index: usize, uid: u32) {
        if let Some(message) = self.messages.get_mut(index) {
            message.uid = uid;
            message.state &= !IN_TEXTS;
        }
    }

    /// Gives a message a unique name of its own.
    ///
    /// # Errors
    /// There is no room for so many of them.
    pub(crate) fn set_text(&mut self, index: usize, text: &[u8]) -> io::Result<()> {
        let at = u32::try_from(self.texts.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        if let Some(message) = self.messages.get_mut(index) {
            message.uid = at;
            message.state |= IN_TEXTS;
            self.texts
                .extend(text.iter().filter(|&&b| b > b' ' && b != 127));
            self.texts.push(b'\n');
        }
        Ok(())
    }

    /// Another size than the one of the file: what the list has told clients so far.
    pub(crate) fn set_size(&mut self, index: usize, size: u64) {
        if let Some(message) = self.messages.get_mut(index) {
            message.size = size;
        }
    }

    /// From now on unique names are made of numbers.
    pub(crate) fn set_template(&mut self, template: Template, validity: u32) {
        self.template = Some((template, validity));
    }
}
