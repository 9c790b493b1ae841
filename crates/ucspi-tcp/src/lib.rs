//! ucspi-tcp
