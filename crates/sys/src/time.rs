//! Broken-down local time.

/// A moment on the clock of the time zone (TZ, or the system's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// year, as people count
    pub year: i64,
    /// month, 1 to 12
    pub month: u8,
    /// day of the month, 1 to 31
    pub day: u8,
    /// hour, 0 to 23
    pub hour: u8,
    /// minute, 0 to 59
    pub minute: u8,
    /// second, 0 to 60
    pub second: u8,
    /// seconds east of UTC
    pub offset: i64,
}

/// The local time of `unix` seconds; `None` when the year does not fit.
pub fn local(unix: i64) -> Option<LocalTime> {
    // SAFETY: `tm` is a plain C struct, valid when zeroed; localtime_r fills it or answers null.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        let seconds: libc::time_t = unix;
        if libc::localtime_r(&raw const seconds, &raw mut tm).is_null() {
            return None;
        }
        tm
    };
    Some(LocalTime {
        year: i64::from(tm.tm_year).checked_add(1900)?,
        month: u8::try_from(tm.tm_mon).ok()?.checked_add(1)?,
        day: u8::try_from(tm.tm_mday).ok()?,
        hour: u8::try_from(tm.tm_hour).ok()?,
        minute: u8::try_from(tm.tm_min).ok()?,
        second: u8::try_from(tm.tm_sec).ok()?,
        offset: tm.tm_gmtoff,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_the_difference_to_utc() {
        let there = local(86_400 * 200).unwrap();
        assert_eq!(there.year, 1970);
        let hours =
            (i64::from(there.hour) * 60 + i64::from(there.minute)) * 60 + i64::from(there.second);
        assert_eq!((hours - there.offset).rem_euclid(86_400), 0);
    }

    #[test]
    fn a_year_beyond_reach_is_none() {
        assert_eq!(local(i64::MAX), None);
    }
}
