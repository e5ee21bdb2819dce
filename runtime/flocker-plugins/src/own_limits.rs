//! Limits that an operator gives one policy in the place of the defaults, within bounds that protect everybody else.

use std::{fmt, str::FromStr, time::Duration};

use flocker_model::ByteSize;
use serde::{Deserialize, Serialize};

use crate::{
    engine::{Limits, MEMORY_BYTES_MAX},
    watchdog::TICK,
};

/// Less than this starts no policy in any language.
const FUEL_MIN: u64 = 1_000_000;
/// More than a fast machine burns within [`WALL_MAX`]: beyond it, only the clock would end a call.
const FUEL_MAX: u64 = 100_000_000_000;
/// The finest that the clock of plugins can tell.
const WALL_MIN: Duration = TICK;
/// The leader asks one policy after the other, and while it waits for an answer it plans nothing: nobody's app is placed,
/// moved or repaired. Ten seconds is what people take for "slow" and not for "gone".
const WALL_MAX: Duration = Duration::from_secs(10);
/// One page of memory would do for a policy in C; this is what a small one in Rust has.
const MEMORY_MIN: ByteSize = ByteSize::mib(1);
/// The slots of the pool that instances are made in.
const MEMORY_MAX: ByteSize = ByteSize(MEMORY_BYTES_MAX as u64);

/// One limit, as operators write it: `fuel=4G`, `wall=5s`, `memory=32MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Instructions per call, more or less.
    Fuel(u64),
    /// Wall clock per call.
    Wall(Duration),
    /// Memory of an instance.
    Memory(ByteSize),
}

/// A limit that cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Nobody knows what it would limit.
    #[error(
        "`{0}` is no limit\nhint: there are fuel, wall and memory, such as fuel=4G, wall=5s, memory=32MiB"
    )]
    Unknown(String),
    /// Its value cannot be read.
    #[error("`{key}={text}` is no limit\nhint: write for example {key}={example}")]
    Malformed { key: &'static str, text: String, example: &'static str },
    /// Its value is too small or too large.
    #[error("`{key}={text}` is not between {min} and {max}\nhint: {why}")]
    OutOfBounds { key: &'static str, text: String, min: String, max: String, why: &'static str },
    /// It is there twice.
    #[error("`{0}` is limited twice\nhint: leave one of them out")]
    Twice(&'static str),
}

impl Limit {
    /// Reads what is written beside a name.
    ///
    /// # Errors
    /// [`LimitError`] when it is no limit, or one that would harm others.
    pub fn parse(key: &str, text: &str) -> Result<Self, LimitError> {
        let malformed =
            |key, example| LimitError::Malformed { key, text: text.to_owned(), example };
        match key {
            "fuel" => fuel(text).map(Self::Fuel).ok_or_else(|| malformed("fuel", "4G")),
            "wall" => {
                humantime::parse_duration(text).map(Self::Wall).map_err(|_| malformed("wall", "5s"))
            }
            "memory" => text.parse().map(Self::Memory).map_err(|_| malformed("memory", "32MiB")),
            other => Err(LimitError::Unknown(other.to_owned())),
        }?
        .within_bounds(text)
    }

    fn within_bounds(self, text: &str) -> Result<Self, LimitError> {
        let refuse = |min: Self, max: Self, why| LimitError::OutOfBounds {
            key: self.key(),
            text: text.to_owned(),
            min: min.value(),
            max: max.value(),
            why,
        };
        match self {
            Self::Fuel(fuel) if !(FUEL_MIN..=FUEL_MAX).contains(&fuel) => Err(refuse(
                Self::Fuel(FUEL_MIN),
                Self::Fuel(FUEL_MAX),
                "no policy starts with less, and more cannot be burnt in the longest time that a call may take",
            )),
            Self::Wall(wall) if !(WALL_MIN..=WALL_MAX).contains(&wall) => Err(refuse(
                Self::Wall(WALL_MIN),
                Self::Wall(WALL_MAX),
                "while a policy thinks, nothing is planned in the whole cluster",
            )),
            Self::Memory(memory) if !(MEMORY_MIN..=MEMORY_MAX).contains(&memory) => Err(refuse(
                Self::Memory(MEMORY_MIN),
                Self::Memory(MEMORY_MAX),
                "instances are made in slots of that size, which is what they have unless you give them less",
            )),
            Self::Fuel(_) | Self::Wall(_) | Self::Memory(_) => Ok(self),
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Fuel(_) => "fuel",
            Self::Wall(_) => "wall",
            Self::Memory(_) => "memory",
        }
    }

    fn value(self) -> String {
        match self {
            Self::Fuel(fuel) => fuel_text(fuel),
            Self::Wall(wall) => humantime::format_duration(wall).to_string(),
            // A whole number as people write it.
            Self::Memory(memory) => memory.to_string().replace(".0 ", ""),
        }
    }
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let (key, value) =
            text.split_once('=').ok_or_else(|| LimitError::Unknown(text.to_owned()))?;
        Self::parse(key, value)
    }
}

/// The letters that stand for thousands, millions and so on.
const LETTERS: [(char, u64); 3] = [('G', 1_000_000_000), ('M', 1_000_000), ('k', 1000)];

/// `4G`, `500M`, `4_000_000_000`. Decimal, as instructions are counted.
fn fuel(text: &str) -> Option<u64> {
    let text = text.trim();
    let scaled = LETTERS.iter().find_map(|(letter, by)| Some((text.strip_suffix(*letter)?, *by)));
    let (number, by) = scaled.unwrap_or((text, 1));
    number.trim().replace('_', "").parse::<u64>().ok()?.checked_mul(by)
}

fn fuel_text(fuel: u64) -> String {
    match LETTERS.iter().find(|(_, by)| fuel >= *by && fuel.is_multiple_of(*by)) {
        Some((letter, by)) => format!("{}{letter}", fuel / by),
        None => fuel.to_string(),
    }
}

/// The limits of one policy that are not everybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OwnLimits {
    fuel: Option<u64>,
    wall: Option<Duration>,
    memory_bytes: Option<u64>,
}

impl OwnLimits {
    /// # Errors
    /// [`LimitError::Twice`] when one contradicts another.
    pub fn new(limits: impl IntoIterator<Item = Limit>) -> Result<Self, LimitError> {
        let mut own = Self::default();
        for limit in limits {
            let is_twice = match limit {
                Limit::Fuel(fuel) => own.fuel.replace(fuel).is_some(),
                Limit::Wall(wall) => own.wall.replace(wall).is_some(),
                Limit::Memory(memory) => own.memory_bytes.replace(memory.0).is_some(),
            };
            if is_twice {
                return Err(LimitError::Twice(limit.key()));
            }
        }
        Ok(own)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These where there are any, and those of others elsewhere.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            fuel: self.fuel.or(others.fuel),
            wall: self.wall.or(others.wall),
            memory_bytes: self.memory_bytes.or(others.memory_bytes),
        }
    }

    /// Everybody's limits, with these in their place.
    #[must_use]
    pub fn over(&self, limits: &Limits) -> Limits {
        let memory = self.memory_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        Limits {
            fuel: self.fuel.unwrap_or(limits.fuel),
            wall: self.wall.unwrap_or(limits.wall),
            memory_bytes: memory.unwrap_or(limits.memory_bytes),
            ..limits.clone()
        }
    }
}

impl fmt::Display for OwnLimits {
    /// As operators write them; nothing where there are none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            self.fuel.map(Limit::Fuel),
            self.wall.map(Limit::Wall),
            self.memory_bytes.map(|bytes| Limit::Memory(ByteSize(bytes))),
        ];
        let said = all.into_iter().flatten().map(|l| format!("{}={}", l.key(), l.value()));
        f.write_str(&said.collect::<Vec<_>>().join(", "))
    }
}

/// What can be done about a limit that was reached, for the end of a sentence.
pub(crate) fn advice(reached: Limit) -> String {
    let is_most = match reached {
        Limit::Fuel(fuel) => fuel >= FUEL_MAX,
        Limit::Wall(wall) => wall >= WALL_MAX,
        Limit::Memory(memory) => memory >= MEMORY_MAX,
    };
    match is_most {
        true => "; no plugin may have more".to_owned(),
        false => format!("; `limits = {{ {} = … }}` of the plugin can raise that", reached.key()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_said_as_they_are_written() {
        let check = |text: &str, limits: &[&str]| {
            let limits = limits.iter().map(|limit| limit.parse().unwrap());
            assert_eq!(OwnLimits::new(limits).unwrap().to_string(), text);
        };
        check("", &[]);
        check("fuel=4G", &["fuel=4G"]);
        check("fuel=1500M", &["fuel=1_500_000_000"]);
        check("fuel=1000001", &["fuel=1000001"]);
        check("fuel=4G, wall=2s 500ms, memory=32MiB", &["memory=32m", "wall=2500ms", "fuel=4G"]);
    }

    #[test]
    fn a_limit_that_would_harm_others_is_refused_with_the_bounds_and_the_reason() {
        for (limit, words) in [
            ("fuel=101G", "`fuel=101G` is not between 1M and 100G"),
            ("fuel=10k", "not between 1M and 100G"),
            ("fuel=much", "`fuel=much` is no limit\nhint: write for example fuel=4G"),
            ("fuel=-1", "is no limit"),
            ("fuel=99999999999G", "is no limit"),
            ("wall=11s", "`wall=11s` is not between 10ms and 10s"),
            ("wall=1ms", "not between 10ms"),
            ("wall=5", "hint: write for example wall=5s"),
            ("memory=65MiB", "`memory=65MiB` is not between 1MiB and 64MiB"),
            ("memory=", "is no limit"),
            ("time=5s", "`time` is no limit\nhint: there are fuel, wall and memory"),
            ("fuel", "`fuel` is no limit"),
        ] {
            let said = limit.parse::<Limit>().unwrap_err().to_string();
            assert!(said.contains(words) && said.contains("\nhint: "), "{limit}: {said}");
        }
        let twice = OwnLimits::new([Limit::Fuel(FUEL_MAX), Limit::Fuel(FUEL_MIN)]);
        assert_eq!(twice, Err(LimitError::Twice("fuel")));
    }

    #[test]
    fn what_is_not_given_is_as_it_is_for_everybody() {
        let own = OwnLimits::new([Limit::Fuel(4_000_000_000)]).unwrap();
        let over = own.over(&Limits::default());
        let Limits { wall, memory_bytes, .. } = Limits::default();
        assert_eq!((over.fuel, over.wall, over.memory_bytes), (4_000_000_000, wall, memory_bytes));
    }
}
