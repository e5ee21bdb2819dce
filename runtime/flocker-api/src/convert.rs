//! Between messages and the model: to a message always works, from one it may be refused.
//!
//! Ports' types are converted by the daemon, the only place that knows ports and this crate.

mod cluster;
mod operation;
mod storage;
#[cfg(test)]
mod tests;

use std::{str::FromStr, time::Duration};

/// A message that does not say what it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the field `{field}` of a message {reason}")]
pub struct Malformed {
    field: &'static str,
    reason: String,
}

impl Malformed {
    /// The field must be there and is not.
    #[must_use]
    pub fn missing(field: &'static str) -> Self {
        Self { field, reason: "is missing".to_owned() }
    }

    /// The field is there, but means nothing.
    pub fn invalid(field: &'static str, reason: impl std::fmt::Display) -> Self {
        Self { field, reason: format!("is not valid: {reason}") }
    }
}

/// The message in a field that must be there, as what it means.
///
/// # Errors
/// [`Malformed`] when it is missing or does not convert.
pub fn required<M, T: TryFrom<M>>(field: &'static str, message: Option<M>) -> Result<T, Malformed>
where
    Malformed: From<T::Error>,
{
    Ok(message.ok_or(Malformed::missing(field))?.try_into()?)
}

/// A name, an id or an address.
///
/// # Errors
/// [`Malformed`] when it is not valid.
pub fn parse<T: FromStr>(field: &'static str, text: &str) -> Result<T, Malformed>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| Malformed::invalid(field, error))
}

/// A name or an id that may be absent.
///
/// # Errors
/// [`Malformed`] when it is there and not valid.
pub fn parse_option<T: FromStr>(
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, Malformed>
where
    T::Err: std::fmt::Display,
{
    text.map(|text| parse(field, text)).transpose()
}

/// Every message of a list.
///
/// # Errors
/// [`Malformed`] when one of them does not convert.
pub fn each<M, T: TryFrom<M>>(messages: Vec<M>) -> Result<Vec<T>, Malformed>
where
    Malformed: From<T::Error>,
{
    Ok(messages.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?)
}

/// A list as messages.
pub fn messages<'a, T: 'a, M: From<&'a T>>(list: impl IntoIterator<Item = &'a T>) -> Vec<M> {
    list.into_iter().map(M::from).collect()
}

impl From<std::convert::Infallible> for Malformed {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// A time span as it travels. 584 years is the longest; longer ones arrive as that.
fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
