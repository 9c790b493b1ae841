//! qmail-send

mod getpw;

pub use getpw::getpw;
