//! Dates of message headers, always in UTC with the zone `-0000` (RFC 5322 3.3: UTC, local zone unknown).

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// A moment in UTC, split up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// year, for example 2026
    pub year: i64,
    /// month, 1 to 12
    pub month: u8,
    /// day of the month, 1 to 31
    pub day: u8,
    /// day of the week, 0 is Sunday
    pub weekday: u8,
    /// hour, 0 to 23
    pub hour: u8,
    /// minute
    pub minute: u8,
    /// second
    pub second: u8,
}

impl Civil {
    /// Splits Unix seconds up, by the proleptic Gregorian calendar.
    pub fn from_unix(seconds: i64) -> Civil {
        let days = seconds.div_euclid(86_400);
        let rest = seconds.rem_euclid(86_400);
        // Years that begin in March put the leap day last; 400 of them have 146,097 days.
        let shifted = days.saturating_add(719_468);
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let small = |n: i64| u8::try_from(n).unwrap_or(0);
        Civil {
            year,
            month: small(month),
            day: small(day),
            weekday: small((days + 4).rem_euclid(7)),
            hour: small(rest / 3_600),
            minute: small(rest / 60 % 60),
            second: small(rest % 60),
        }
    }

    /// Unix seconds of this moment; `weekday` is not looked at.
    pub fn unix(&self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * month + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        days * 86_400
            + i64::from(self.hour) * 3_600
            + i64::from(self.minute) * 60
            + i64::from(self.second)
    }
}

fn month_name(month: u8) -> &'static str {
    MONTHS
        .get(usize::from(month).wrapping_sub(1))
        .copied()
        .unwrap_or("Jan")
}

/// `22 Nov 2026 11:00:00 -0000`: the form of Received and Date lines, without a line end.
pub fn rfc5322(unix: i64) -> String {
    let t = Civil::from_unix(unix);
    format!(
        "{} {} {} {:02}:{:02}:{:02} -0000",
        t.day,
        month_name(t.month),
        t.year,
        t.hour,
        t.minute,
        t.second
    )
}

/// `Sun Nov 02 11:00:00 2026`: the form of the From_ line of an mbox, without a line end (UTC). The day always has two
/// digits, as qmail writes it; ctime(3) would put a blank.
pub fn ctime(unix: i64) -> String {
    let t = Civil::from_unix(unix);
    let day = DAYS.get(usize::from(t.weekday)).copied().unwrap_or("Sun");
    format!(
        "{day} {} {:02} {:02}:{:02}:{:02} {}",
        month_name(t.month),
        t.day,
        t.hour,
        t.minute,
        t.second,
        t.year
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(rfc5322(0), "1 Jan 1970 00:00:00 -0000");
        assert_eq!(rfc5322(951_782_400), "29 Feb 2000 00:00:00 -0000");
        assert_eq!(rfc5322(4_294_967_296), "7 Feb 2106 06:28:16 -0000");
        assert_eq!(rfc5322(-1), "31 Dec 1969 23:59:59 -0000");
        assert_eq!(ctime(0), "Thu Jan 01 00:00:00 1970");
    }

    #[test]
    fn there_and_back() {
        for seconds in (-5_000_000_000i64..5_000_000_000).step_by(86_400 * 17 + 12_345) {
            assert_eq!(Civil::from_unix(seconds).unix(), seconds);
        }
    }
}
