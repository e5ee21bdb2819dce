//! How fast replicas are sent, by the time of day.

use std::{fmt, str::FromStr};

use crate::{ByteSize, InvalidQuantity, Timestamp};

/// Bytes in a second at the most, by the time of day.
///
/// As text: `20MiB`, or `5MiB,22:00-06:00=50MiB`. What holds at all other times comes first, where there is such a limit;
/// zero is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rates {
    /// At all times that no window names; `None`: no limit.
    pub otherwise: Option<ByteSize>,
    /// Where two name a time, the first counts.
    pub windows: Vec<RateWindow>,
}

/// A part of every day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateWindow {
    /// From this minute of the day on, in UTC.
    pub from: u16,
    /// Until this one; one that is earlier is of the next day.
    pub until: u16,
    /// `None`: no limit.
    pub rate: Option<ByteSize>,
}

/// Minutes of a day.
const DAY: u16 = 24 * 60;

impl Rates {
    /// What holds at a moment; `None`: no limit.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Option<ByteSize> {
        let minute = now.0 / 60_000 % u64::from(DAY);
        let window = self.windows.iter().find(|window| window.holds(minute));
        window.map_or(self.otherwise, |window| window.rate)
    }
}

impl RateWindow {
    /// When it begins and ends, as `22:00`.
    #[must_use]
    pub fn times(&self) -> [String; 2] {
        [self.from, self.until].map(|minute| format!("{:02}:{:02}", minute / 60, minute % 60))
    }

    fn holds(&self, minute: u64) -> bool {
        let (from, until) = (u64::from(self.from), u64::from(self.until));
        if from < until {
            (from..until).contains(&minute)
        } else {
            minute >= from || minute < until
        }
    }
}

impl FromStr for Rates {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let mut rates = Self::default();
        for (idx, part) in text.split(',').map(str::trim).enumerate() {
            match part.split_once('=') {
                Some((span, rate)) => {
                    rates.windows.push(window(span, rate).ok_or_else(|| refuse(text))?)
                }
                None if idx == 0 => rates.otherwise = limit(part).ok_or_else(|| refuse(text))?,
                None => return Err(refuse(text)),
            }
        }
        Ok(rates)
    }
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |rate: Option<ByteSize>| rate.unwrap_or_default().0;
        write!(f, "{}", bytes(self.otherwise))?;
        for window in &self.windows {
            let [from, until] = window.times();
            write!(f, ",{from}-{until}={}", bytes(window.rate))?;
        }
        Ok(())
    }
}

fn refuse(text: &str) -> InvalidQuantity {
    let expected = "bytes in a second such as `20MiB`, with times of the day (UTC) such as `5MiB,22:00-06:00=50MiB`";
    InvalidQuantity { text: text.to_owned(), expected }
}

/// Zero is no limit.
fn limit(text: &str) -> Option<Option<ByteSize>> {
    text.parse().ok().map(|rate: ByteSize| (rate.0 > 0).then_some(rate))
}

fn window(span: &str, rate: &str) -> Option<RateWindow> {
    let (from, until) = span.split_once('-')?;
    let (from, until, rate) = (minute(from)?, minute(until)?, limit(rate)?);
    // All day is what the first part is for.
    (from != until).then_some(RateWindow { from, until, rate })
}

/// `24:00` is the end of a day, and the beginning of the next.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let digits = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let of_day = hours * 60 + minutes;
    (minutes < 60 && of_day <= DAY).then_some(of_day % DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rates: &str, hours: u64, minutes: u64) -> u64 {
        let days = 20_000 * 24 * 60;
        let now = Timestamp((days + hours * 60 + minutes) * 60_000 + 59_999);
        rates.parse::<Rates>().unwrap().at(now).unwrap_or_default().0
    }

    #[test]
    fn the_time_of_the_day_says_which_holds() {
        const NIGHTLY: &str = "5k,22:00-06:00=50k,12:00-13:00=0";
        assert_eq!(at(NIGHTLY, 21, 59), 5 << 10);
        assert_eq!(at(NIGHTLY, 22, 0), 50 << 10);
        assert_eq!(at(NIGHTLY, 5, 59), 50 << 10);
        assert_eq!(at(NIGHTLY, 6, 0), 5 << 10);
        assert_eq!(at(NIGHTLY, 12, 30), 0, "no limit at noon");
        assert_eq!(at("09:00-24:00=1k", 23, 59), 1 << 10);
        assert_eq!(at("09:00-24:00=1k", 0, 0), 0);
        assert_eq!(at("20MiB", 3, 0), 20 << 20);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["0", "20971520", "5,22:00-06:00=7,00:00-00:01=0", "0,09:30-17:00=1048576"] {
            assert_eq!(text.parse::<Rates>().unwrap().to_string(), text);
        }
        assert_eq!("22:00-24:00=1k".parse::<Rates>().unwrap().to_string(), "0,22:00-00:00=1024");
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        for bad in [
            "",
            "fast",
            "1k,2k",
            "22:00-06:00",
            "22-06=1k",
            "10:00-10:00=1k",
            "24:01-03:00=1k",
            "1:00-2:00=1k",
            "10:60-11:00=1k",
            "1k,",
            "00:00-24:00=1k",
        ] {
            let refused = bad.parse::<Rates>().unwrap_err().to_string();
            assert!(refused.contains("22:00-06:00=50MiB"), "{bad}: {refused}");
        }
    }
}
