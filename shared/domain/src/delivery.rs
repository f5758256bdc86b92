//! Deliveries of an endpoint that did not become a run, kept for its owner.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A request that did not become a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// The status of the response.
    pub status: u16,
    pub reason: DeliveryReason,
    /// What was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Why a request did not become a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryReason {
    BadSignature,
    NoSignatureHeader,
    SignedValueMissing,
    BadTimestamp,
    TimestampTooOld,
    Duplicate,
    EventIdReused,
    OverRate,
    RunsExhausted,
    IgnoredType,
    Handshake,
    Ping,
    BodyTooLarge,
    BadBody,
    EndpointDisabled,
    SecretNotSet,
    /// The response was an error of the server.
    Unavailable,
}

/// How many slots an endpoint has for deliveries of the last minutes: one a minute.
pub const MINUTE_SLOTS: i64 = 60;

/// How many slots an endpoint has for further deliveries: one each [`SLOT_SECONDS`].
pub const RECENT_SLOTS: i64 = 20;

/// The shortest time between two further deliveries that are kept, in seconds.
pub const SLOT_SECONDS: i64 = 3;

/// Where a delivery is kept. A newer delivery replaces the one in its slot, so that an endpoint has
/// a bounded number of them, and a flood causes few writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    Minute(u8),
    Recent(u8),
}

/// The slot of a delivery, if it is kept: the first one of a minute, and then one each
/// [`SLOT_SECONDS`].
#[must_use]
pub fn slot(now: Timestamp, last: Option<Timestamp>) -> Option<Slot> {
    let second = now.as_second();
    let in_ring = |number: i64, slots: i64| u8::try_from(number.rem_euclid(slots)).ok();
    let minute = second.div_euclid(60);
    match last {
        Some(last) if last.as_second().div_euclid(60) == minute => {
            let is_next =
                second.div_euclid(SLOT_SECONDS) > last.as_second().div_euclid(SLOT_SECONDS);
            let number = in_ring(second.div_euclid(SLOT_SECONDS), RECENT_SLOTS)?;
            is_next.then_some(Slot::Recent(number))
        }
        _ => in_ring(minute, MINUTE_SLOTS).map(Slot::Minute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_fills_few_slots() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (mut last, mut kept) = (None, 0);
        for millisecond in (0..600_000).step_by(10) {
            let now = Timestamp::from_millisecond(millisecond).unwrap();
            if slot(now, last).is_some() {
                last = Some(now);
                kept += 1;
            }
        }
        assert_eq!(kept, 600 / SLOT_SECONDS);
        assert_eq!(slot(at(60), Some(at(59))), Some(Slot::Minute(1)));
        assert_eq!(slot(at(62), Some(at(60))), None);
        assert_eq!(slot(at(63), Some(at(62))), Some(Slot::Recent(1)));
    }
}
