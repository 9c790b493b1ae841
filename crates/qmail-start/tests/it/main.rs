//! Black-box tests of the programs of this room.
