//! Ids of the form `<prefix>_<ULID>`: the prefix names the type, the ULID contains the creation
//! time.
//!
//! A run's day and shard come from its ULID, and an artifact's id contains its run's, so an id is
//! enough to compute the key of its item.

use std::{fmt, str::FromStr};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

/// The string is not an id of the expected type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}_<ULID>")]
pub struct ParseError {
    prefix: &'static str,
}

/// Accepts upper-case Crockford base32 only, so that an id has one spelling.
fn parse_ulid(text: &str) -> Option<Ulid> {
    let canonical = text.len() == 26
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    let ulid = Ulid::from_string(text).ok()?;
    (canonical && ulid.to_string() == text && is_in_range(ulid)).then_some(ulid)
}

/// A ULID's 48 bits of milliseconds exceed the range of a timestamp.
fn is_in_range(ulid: Ulid) -> bool {
    i64::try_from(ulid.timestamp_ms()).is_ok_and(|ms| Timestamp::from_millisecond(ms).is_ok())
}

/// The OpenAPI schema of an id.
fn id_schema(description: &str, prefix: &str, suffix: (&str, &str)) -> RefOr<Schema> {
    let (pattern, example) = suffix;
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description.trim()))
        .pattern(Some(format!(
            "^{prefix}_[0-7][0-9A-HJKMNP-TV-Z]{{25}}{pattern}$"
        )))
        .examples([format!("{prefix}_01JD3V4ZK8QW5R7T9X1B3C5D7F{example}")])
        .into()
}

macro_rules! ids {
    ($(#[doc = $doc:literal] $name:ident = $prefix:literal),* $(,)?) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            /// The part before the `_`.
            pub const PREFIX: &'static str = $prefix;

            /// A new id. The lower 80 bits of `random` are used.
            #[must_use]
            pub fn new(at: Timestamp, random: u128) -> Self {
                Self(Ulid::from_parts(at.as_millisecond().max(0).unsigned_abs(), random))
            }

            /// The ULID without the prefix.
            #[must_use]
            pub fn ulid(self) -> String {
                self.0.to_string()
            }

            /// Parses a ULID without a prefix.
            ///
            /// # Errors
            ///
            /// When the string is not a ULID in its canonical spelling.
            pub fn from_ulid(text: &str) -> Result<Self, ParseError> {
                parse_ulid(text).map(Self).ok_or(ParseError { prefix: $prefix })
            }

            /// The creation time, to the millisecond.
            #[must_use]
            pub fn created_at(self) -> Timestamp {
                i64::try_from(self.0.timestamp_ms())
                    .ok()
                    .and_then(|ms| Timestamp::from_millisecond(ms).ok())
                    .unwrap_or(Timestamp::MAX)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(parse_ulid)
                    .map(Self)
                    .ok_or(ParseError { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                id_schema($doc, $prefix, ("", ""))
            }
        }

        impl ToSchema for $name {}

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A tenant.
    TenantId = "ten",
    /// A workflow.
    WorkflowId = "wf",
    /// A webhook endpoint.
    EndpointId = "whe",
    /// A run.
    RunId = "run",
    /// An API key.
    KeyId = "key",
    /// An audit log entry.
    AuditId = "aud",
    /// An invitation.
    InvitationId = "inv",
}

impl TenantId {
    /// A number that is uniform over tenants.
    #[must_use]
    pub fn spread(self) -> u16 {
        let [.., high, low] = self.0.to_bytes();
        u16::from_be_bytes([high, low])
    }
}

/// Number of partitions of the index `active` for an hour. All tenants share them: they take 8,000
/// tenants a second that have their first run of an hour.
pub const INDEX_SHARDS: u8 = 8;

/// The most partitions for the runs of one tenant on one day. A partition has 1,000 write units a
/// second and a run takes three, so they carry 10,666 events a second of one tenant: more than any
/// plan allows.
pub const RUN_SHARDS: u8 = 32;

/// The number of partitions for a tenant's runs of a day, with a margin of two: a power of two.
#[must_use]
pub fn run_shards(events_per_second: u64) -> u8 {
    const EVENTS_OF_PARTITION: u64 = 1_000 / 3 / 2;
    let needed = events_per_second.div_ceil(EVENTS_OF_PARTITION);
    let needed = u8::try_from(needed).unwrap_or(RUN_SHARDS);
    needed.min(RUN_SHARDS).next_power_of_two()
}

impl RunId {
    /// A new id in one of the first `shards` partitions of its day: a power of two, as
    /// [`run_shards`] gives.
    #[must_use]
    pub fn new_in(shards: u8, at: Timestamp, random: u128) -> Self {
        let unused = u128::from(RUN_SHARDS - shards.clamp(1, RUN_SHARDS));
        Self::new(at, random & !unused)
    }

    /// A new id in the same partition as this run, if both are of one day.
    #[must_use]
    pub fn new_beside(self, at: Timestamp, random: u128) -> Self {
        let shards = u128::from(RUN_SHARDS);
        Self::new(at, random / shards * shards + u128::from(self.shard()))
    }

    /// The UTC day of the run's partition.
    #[must_use]
    pub fn day(self) -> Date {
        self.created_at().to_zoned(TimeZone::UTC).date()
    }

    /// The shard of the run's partition, less than [`RUN_SHARDS`].
    #[must_use]
    pub fn shard(self) -> u8 {
        self.0.to_bytes()[15] % RUN_SHARDS
    }

    /// The shard of the index in which the run is found when it continues, less than
    /// [`INDEX_SHARDS`]. It does not depend on [`RunId::shard`].
    #[must_use]
    pub fn index_shard(self) -> u8 {
        self.0.to_bytes()[14] % INDEX_SHARDS
    }

    /// The smallest and the largest possible id of a run created at `at`.
    #[must_use]
    pub fn range_at(at: Timestamp) -> (Self, Self) {
        (Self::new(at, 0), Self::new(at, u128::MAX))
    }
}

/// The `n`-th artifact of a run: `art_<ULID of the run>_<n>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArtifactId {
    pub run_id: RunId,
    /// The artifact's number in its run, from 0.
    pub number: u16,
}

impl fmt::Display for ArtifactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "art_{}_{}", self.run_id.0, self.number)
    }
}

impl fmt::Debug for ArtifactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ArtifactId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let (ulid, number) = text.strip_prefix("art_")?.split_once('_')?;
            let id = Self {
                run_id: RunId(parse_ulid(ulid)?),
                number: number.parse().ok()?,
            };
            (id.to_string() == text).then_some(id)
        };
        parse().ok_or(ParseError { prefix: "art" })
    }
}

impl PartialSchema for ArtifactId {
    fn schema() -> RefOr<Schema> {
        let suffix = ("_(0|[1-9][0-9]{0,4})", "_0");
        id_schema(
            "An artifact: its run and its number in the run.",
            "art",
            suffix,
        )
    }
}

impl ToSchema for ArtifactId {}

impl Serialize for ArtifactId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ArtifactId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "run_01JD3V4ZK8QW5R7T9X1B3C5D7F";

    #[test]
    fn id_round_trips() {
        let id: RunId = RUN.parse().unwrap();
        assert_eq!(id.to_string(), RUN);
        assert_eq!(RunId::from_ulid(&id.ulid()).unwrap(), id);
        let artifact = ArtifactId {
            run_id: id,
            number: 3,
        };
        assert_eq!(
            artifact.to_string().parse::<ArtifactId>().unwrap(),
            artifact
        );
    }

    #[test]
    fn non_canonical_ids_and_other_types_are_refused() {
        for text in [
            "",
            "run_",
            "run_01jd3v4zk8qw5r7t9x1b3c5d7f",
            "ten_01JD3V4ZK8QW5R7T9X1B3C5D7F",
            "run_01JD3V4ZK8QW5R7T9X1B3C5D7FF",
            "run_01JD3V4ZK8QW5R7T9X1B3C5D7I",
            "run_81JD3V4ZK8QW5R7T9X1B3C5D7F",
            "run_7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "run_01JD3V4ZK8QW5R7T9X1B3C5D7F#",
        ] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
        for text in [
            "art_01JD3V4ZK8QW5R7T9X1B3C5D7F_+1",
            "art_01JD3V4ZK8QW5R7T9X1B3C5D7F_01",
        ] {
            assert!(text.parse::<ArtifactId>().is_err(), "{text}");
        }
    }

    #[test]
    fn day_and_shard_come_from_ulid() {
        let at: Timestamp = "2026-11-21T23:59:59.999Z".parse().unwrap();
        let id = RunId::new(at, 0x2f);
        assert_eq!(id.created_at(), at);
        assert_eq!(id.day().to_string(), "2026-11-21");
        assert_eq!(id.shard(), 15);
        let (low, high) = RunId::range_at(at);
        assert!(low <= id && id <= high);
    }
}
