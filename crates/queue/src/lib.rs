//! queue: names, states, formats and durable steps of the queue, and handing a message to it.
//!
//! Programs   none; a library
//! Runs as    whoever calls
//! Reads      queue/*
//! Writes     queue/*, as the caller's uid allows
//! May use    base control sys
//! Source     qmail-queue(8), qmail-queue(5); docs/architecture.md

pub mod frames;
pub mod intake;
pub mod names;
pub mod record;
pub mod remote;
pub mod service;
pub mod spawner;
pub mod submit;
pub mod tcpto;
