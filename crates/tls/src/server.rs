//! The server's side of TLS.

pub(crate) mod identity;
mod session;
mod settings;
pub mod tickets;

pub use identity::{Identity, Store, Unusable};
pub use session::{Session, Told, Trouble};
pub use settings::{Authorities, Clients, Config, Settings, Version, ciphers};
