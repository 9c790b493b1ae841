//! The programs of this room, black box.
