//! Features that a plan limits by counting objects, and which objects a smaller plan disables.

use jiff::Timestamp;

use crate::plan::Limits;

/// A feature that is limited by the plan and counted in the tenant's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedFeature {
    Workflows,
    Endpoints,
    Members,
    ApiKeys,
    /// Members with the role `owner`.
    Owners,
    /// Workflow secrets.
    Secrets,
}

impl CountedFeature {
    /// The name of the feature in the API and of the counter's attribute.
    #[must_use]
    pub fn feature(self) -> &'static str {
        match self {
            Self::Workflows => "workflows",
            Self::Endpoints => "endpoints",
            Self::Members => "members",
            Self::ApiKeys => "api_keys",
            Self::Owners => "owners",
            Self::Secrets => "secrets",
        }
    }

    /// The limit of the feature.
    #[must_use]
    pub fn limit(self, limits: &Limits) -> u64 {
        match self {
            Self::Workflows => limits.workflows,
            Self::Endpoints => limits.endpoints,
            Self::Members | Self::Owners => limits.members,
            Self::ApiKeys => limits.api_keys,
            Self::Secrets => limits.secrets,
        }
    }
}

/// An object of a counted feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedObject {
    pub created_at: Timestamp,
    /// Set by the tenant; `true` for objects that cannot be disabled by the tenant.
    pub enabled: bool,
    pub disabled_by_plan: bool,
    /// An owner is never disabled.
    pub is_owner: bool,
}

/// The indexes of the objects that a smaller plan disables, in order: objects that the tenant has
/// disabled first, then the newest.
#[must_use]
pub fn disable_order(objects: &[CountedObject]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..objects.len()).collect();
    order.retain(|&i| {
        objects
            .get(i)
            .is_some_and(|o| !o.disabled_by_plan && !o.is_owner)
    });
    order.sort_by_key(|&i| {
        objects
            .get(i)
            .map(|o| (o.enabled, std::cmp::Reverse(o.created_at)))
    });
    order
}

/// The indexes of the objects that a larger plan enables again, in order: the oldest first.
#[must_use]
pub fn enable_order(objects: &[CountedObject]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..objects.len()).collect();
    order.retain(|&i| objects.get(i).is_some_and(|o| o.disabled_by_plan));
    order.sort_by_key(|&i| objects.get(i).map(|o| o.created_at));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(second: i64, enabled: bool) -> CountedObject {
        CountedObject {
            created_at: Timestamp::from_second(second).unwrap(),
            enabled,
            disabled_by_plan: false,
            is_owner: false,
        }
    }

    #[test]
    fn disabled_objects_then_newest_are_disabled_first() {
        let owner = CountedObject {
            is_owner: true,
            ..object(9, true)
        };
        let off = CountedObject {
            disabled_by_plan: true,
            ..object(8, true)
        };
        let objects = [
            object(1, true),
            object(2, false),
            object(3, true),
            object(1, false),
            owner,
            off,
        ];
        assert_eq!(disable_order(&objects), [1, 3, 2, 0]);
    }

    #[test]
    fn oldest_objects_are_enabled_first() {
        let off = |second| CountedObject {
            disabled_by_plan: true,
            ..object(second, true)
        };
        assert_eq!(enable_order(&[off(3), object(1, true), off(2)]), [2, 0]);
    }
}
