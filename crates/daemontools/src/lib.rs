//! daemontools
