//! All problem types of the API.
//!
//! A type is defined only here. Handlers refer to it, and the API description and `docs/errors.md`
//! list it.

/// A problem type.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub status: u16,
    /// Stable, in kebab-case; the last segment of the problem's `type`.
    pub code: &'static str,
    /// The same for every occurrence.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $status:literal $code:literal $title:literal;)*) => {
        $(#[doc = concat!("`", $status, "`: ", $title, ".")]
        pub const $name: Kind = Kind { status: $status, code: $code, title: $title };)*

        pub const ALL: &[Kind] = &[$($name),*];
    };
}

kinds! {
    BAD_CHALLENGE = 400 "bad-challenge" "The challenge of the handshake is invalid";
    BAD_CURSOR = 400 "bad-cursor" "Invalid cursor";
    BAD_EVENT = 400 "bad-event" "The event cannot be parsed";
    BAD_EVENT_ID = 400 "bad-event-id" "Invalid event id";
    BAD_FEATURE = 400 "bad-feature" "Unknown feature";
    BAD_IDEMPOTENCY_KEY = 400 "bad-idempotency-key" "Invalid Idempotency-Key";
    BAD_LIMIT = 400 "bad-limit" "Invalid page limit";
    BAD_PARAMETER = 400 "bad-parameter" "Invalid query parameter";
    BAD_STRIPE_SIGNATURE = 400 "bad-signature" "The signature does not match";
    INVALID_BODY = 400 "invalid-body" "Invalid body";
    MALFORMED_BODY = 400 "malformed-body" "Malformed body";
    MALFORMED_REQUEST = 400 "malformed-request" "Malformed request";
    TENANT_MISSING = 400 "tenant-missing" "The request names no tenant";
    TOO_MANY_FIELDS = 400 "too-many-fields" "Too many fields";
    UNKNOWN_API_VERSION = 400 "unknown-api-version" "Unknown API version";
    UNKNOWN_PARAMETER = 400 "unknown-parameter" "Unknown query parameter";

    BAD_SIGNATURE = 401 "bad-signature" "The signature is missing or does not match";
    UNAUTHORIZED = 401 "unauthorized" "Unauthorized";

    PLAN_LIMIT_EXCEEDED = 402 "plan-limit-exceeded" "The plan limit is reached";

    FORBIDDEN = 403 "forbidden" "Forbidden";

    NOT_FOUND = 404 "not-found" "Not found";

    METHOD_NOT_ALLOWED = 405 "method-not-allowed" "Method not allowed";

    CONFLICT = 409 "conflict" "The object exists already, or has changed since it was read";
    EVENT_ID_REUSED = 409 "event-id-reused" "An event with this id and another body was received before";
    IDEMPOTENCY_KEY_REUSED = 409 "idempotency-key-reused" "The Idempotency-Key was used for another request before";
    LAST_OWNER = 409 "last-owner" "A tenant must keep an owner";
    MEMBER_EXISTS = 409 "member-exists" "The user is already a member";
    NO_CUSTOMER = 409 "no-customer" "The tenant has no Stripe customer yet";
    NO_SIGNING_SECRET = 409 "no-signing-secret" "The endpoint's scheme has no signing secret";
    RUN_ENDED = 409 "run-ended" "The run has ended";
    RUN_EXHAUSTED = 409 "run-exhausted" "The run was started too often";
    RUN_NOT_FAULTED = 409 "run-not-faulted" "The run is not faulted";
    RUN_NOT_SUSPENDED = 409 "run-not-suspended" "The run is not suspended";
    RUN_NOT_VERIFIABLE = 409 "run-not-verifiable" "The run cannot be verified";
    SUBSCRIPTION_ACTIVE = 409 "subscription-active" "The tenant has an active subscription";
    SAMPLE_CHANGED = 409 "sample-changed" "The version changes the artifact of a sample";
    SUBSCRIPTION_EXISTS = 409 "subscription-exists" "The tenant already has a subscription";
    TOO_MANY_SAMPLES = 409 "too-many-samples" "The workflow has too many samples";
    WORKFLOW_DISABLED = 409 "workflow-disabled" "The workflow is disabled or deleted";
    WORKFLOW_IN_USE = 409 "workflow-in-use" "An endpoint uses this workflow";

    ENDPOINT_DISABLED = 410 "endpoint-disabled" "The endpoint is disabled";
    INPUT_GONE = 410 "input-gone" "The run's input is no longer kept";
    JOURNAL_GONE = 410 "journal-gone" "The run's journal is no longer kept";

    PRECONDITION_FAILED = 412 "precondition-failed" "The object has changed";

    BODY_TOO_LARGE = 413 "body-too-large" "Body too large";

    UNSUPPORTED_MEDIA_TYPE = 415 "unsupported-media-type" "Unsupported media type";

    INVALID_WORKFLOW = 422 "invalid-workflow" "The definition has faults";
    SAMPLE_FAULTED = 422 "sample-faulted" "The workflow does not complete on the sample";

    RATE_LIMITED = 429 "rate-limited" "Too many requests";
    RUNS_EXHAUSTED = 429 "runs-exhausted" "The monthly run quota is used up";
    TOO_MANY_ATTEMPTS = 429 "too-many-attempts" "Too many invalid credentials";
    TOO_MANY_TENANTS = 429 "too-many-tenants" "The user has created too many tenants";

    INTERNAL = 500 "internal" "Internal error";

    ENDPOINT_DISABLED_FOR_NOW = 503 "endpoint-disabled" "The endpoint is disabled";
    ENDPOINT_PENDING_SECRET = 503 "endpoint-pending-secret" "The signing secret of the endpoint is not set yet";
    UNAVAILABLE = 503 "unavailable" "Unavailable";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_kind_is_listed_once() {
        let names: BTreeSet<_> = ALL.iter().map(|kind| (kind.status, kind.code)).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
