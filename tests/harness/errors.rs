//! `docs/errors.md`: every problem type of the API and every error code of a run, with its cause and
//! what to do about it.

use std::fmt::Write as _;

use aias_platform::http::problem::kinds;

/// The cause and the fix of each problem type, by status and code.
const PROBLEMS: &[(u16, &str, &str, &str)] = &[
    (
        400,
        "bad-challenge",
        "A provider's validation request lacks parameters, or its token is not the endpoint's `verify_token`.",
        "Enter the same token at the provider and in `verification.verify_token`.",
    ),
    (
        400,
        "bad-cursor",
        "`cursor` belongs to another list, filter or tenant, or was changed.",
        "Use `next_cursor` of the previous page, with the same filter.",
    ),
    (
        400,
        "bad-event",
        "A webhook's body does not match its media type, or is compressed.",
        "Send a body that matches `Content-Type`, without `Content-Encoding`.",
    ),
    (
        400,
        "bad-event-id",
        "The `Idempotency-Key` of a webhook is empty or has more than 255 characters.",
        "Send a shorter one, or none.",
    ),
    (
        400,
        "bad-feature",
        "`feature` is not a feature of a plan.",
        "Use one of the names in `detail`.",
    ),
    (
        400,
        "bad-idempotency-key",
        "`Idempotency-Key` is empty or has more than 255 characters.",
        "Use a UUID.",
    ),
    (
        400,
        "bad-limit",
        "`limit` is not a number from 1 to 100.",
        "Correct `limit`, or omit it.",
    ),
    (
        400,
        "bad-parameter",
        "A query parameter has an invalid value.",
        "`detail` names the parameter and its form.",
    ),
    (
        400,
        "bad-signature",
        "The signature of a Stripe event is missing, does not match, or is too old.",
        "Store the signing secret of the Stripe webhook endpoint (see [operations.md](operations.md#stripe)).",
    ),
    (
        400,
        "invalid-body",
        "The JSON body has faults.",
        "`errors` has a pointer to each member and what is wrong with it.",
    ),
    (
        400,
        "malformed-body",
        "The body is not JSON, has a duplicate member name, or is nested too deep.",
        "`errors` has a pointer to the fault.",
    ),
    (
        400,
        "malformed-request",
        "The host, path, query, a header or the method is malformed.",
        "Check how the client builds the request.",
    ),
    (
        400,
        "tenant-missing",
        "The caller is a person, and the request names no tenant.",
        "Send `X-Tenant-Id` or `?tenant_id=`.",
    ),
    (
        400,
        "too-many-fields",
        "A form, query or header list has more than 1,000 fields.",
        "Send fewer fields, or a JSON body.",
    ),
    (
        400,
        "unknown-api-version",
        "`API-Version` names a version that does not exist.",
        "Send the version in `detail`, or omit the header.",
    ),
    (
        400,
        "unknown-parameter",
        "The route does not have this query parameter.",
        "`detail` lists the parameters.",
    ),
    (
        401,
        "bad-signature",
        "The signature of a webhook is missing, does not match, or is too old.",
        "Compare the secret at the provider with the endpoint's; rotate it with `POST /api/webhook-endpoints/{id}/rotate-secret` `{\"which\": \"signing\"}`. The operator's log has the reason.",
    ),
    (
        401,
        "unauthorized",
        "The credential is missing, invalid or expired.",
        "Send `Authorization: Bearer <API key or OIDC token>`.",
    ),
    (
        402,
        "plan-limit-exceeded",
        "The plan does not allow more of `feature`.",
        "Delete objects, or upgrade with `POST /api/billing/checkout`.",
    ),
    (
        403,
        "forbidden",
        "The caller's role is too low, or the plan has disabled the caller.",
        "`detail` names the required role.",
    ),
    (
        404,
        "not-found",
        "The object or route does not exist, or belongs to another tenant.",
        "Check the id and the tenant.",
    ),
    (
        405,
        "method-not-allowed",
        "The path does not have this method.",
        "`Allow` lists the methods.",
    ),
    (
        409,
        "conflict",
        "The object exists already, or was changed concurrently.",
        "Read it again and repeat the change.",
    ),
    (
        409,
        "event-id-reused",
        "An event with this id was received before with another body.",
        "Events need unique ids; check the provider or the `Idempotency-Key`.",
    ),
    (
        409,
        "idempotency-key-reused",
        "The key was used with another request within 24 hours.",
        "Use a new key for a new request.",
    ),
    (
        409,
        "last-owner",
        "The change would leave the tenant without an owner.",
        "Make somebody else an owner first.",
    ),
    (
        409,
        "member-exists",
        "The user is already a member.",
        "Change the role with `PATCH`.",
    ),
    (
        409,
        "no-customer",
        "The tenant has not bought a plan.",
        "Start a checkout first: `POST /api/billing/checkout`.",
    ),
    (
        409,
        "no-signing-secret",
        "The scheme `none` has no signing secret.",
        "Set `verification` first.",
    ),
    (
        409,
        "run-ended",
        "The run has ended, so it cannot be changed.",
        "Use `retry` (faulted runs) or `replay`.",
    ),
    (
        409,
        "run-exhausted",
        "The run was started three times without progress.",
        "Use `retry`, which resets the count.",
    ),
    (
        409,
        "run-not-faulted",
        "Only a faulted run can be retried.",
        "Use `replay` for a run with another status.",
    ),
    (
        409,
        "run-not-suspended",
        "Only a suspended run can be resumed.",
        "Nothing; the run is pending already.",
    ),
    (
        409,
        "run-not-verifiable",
        "The run has not ended, or its error does not come from the workflow.",
        "Verify completed runs, or runs faulted by their workflow.",
    ),
    (
        409,
        "subscription-active",
        "A tenant with an active subscription cannot be deleted.",
        "Cancel the subscription in the customer portal first.",
    ),
    (
        409,
        "subscription-exists",
        "The tenant has a subscription.",
        "Change the plan in the customer portal: `POST /api/billing/portal`.",
    ),
    (
        409,
        "sample-changed",
        "The new version gives another artifact of a sample, or faults on it. Nothing is stored.",
        "Look at the differences in `samples`; accept them with `accept_samples`, or correct the definition.",
    ),
    (
        409,
        "too-many-samples",
        "A workflow has at most 20 samples.",
        "Delete one with `DELETE /api/workflows/{id}/samples/{name}`.",
    ),
    (
        409,
        "workflow-disabled",
        "The workflow is disabled or deleted.",
        "Enable it: `PATCH /api/workflows/{id}` `{\"enabled\": true}`.",
    ),
    (
        409,
        "workflow-in-use",
        "An endpoint uses the workflow.",
        "Change or delete the endpoint in `detail` first.",
    ),
    (
        503,
        "endpoint-disabled",
        "The endpoint is disabled, and its `disabled_status` is `503`.",
        "Enable it with `PATCH /api/webhook-endpoints/{id}` `{\"enabled\": true}`.",
    ),
    (
        503,
        "endpoint-pending-secret",
        "The provider creates the signing secret, and the endpoint does not have it yet.",
        "Copy the secret from the provider's settings: `PUT /api/webhook-endpoints/{id}/signing-secret`.",
    ),
    (
        410,
        "endpoint-disabled",
        "The endpoint is disabled, by the tenant or by the plan.",
        "Enable it, or upgrade the plan.",
    ),
    (
        410,
        "input-gone",
        "The retention of the run's input has passed.",
        "Send the event again.",
    ),
    (
        410,
        "journal-gone",
        "The retention of the run's journal has passed.",
        "Use `replay`.",
    ),
    (
        412,
        "precondition-failed",
        "`If-Match` does not match the current `ETag`.",
        "Read the object again and repeat the change.",
    ),
    (
        413,
        "body-too-large",
        "The body exceeds the limit in `detail`.",
        "Send less, or a reference to the data.",
    ),
    (
        415,
        "unsupported-media-type",
        "The route does not accept the media type, or the body is compressed.",
        "`detail` names the media types.",
    ),
    (
        422,
        "invalid-workflow",
        "The definition has faults.",
        "`errors` has a pointer to each of them.",
    ),
    (
        422,
        "sample-faulted",
        "The newest version does not complete on the event, so there is no artifact to keep.",
        "`error` says why. For a call without a result, add its result to `responses`.",
    ),
    (
        429,
        "rate-limited",
        "The event rate or the request rate of the plan is exceeded.",
        "Wait for `Retry-After` seconds, or upgrade the plan.",
    ),
    (
        429,
        "runs-exhausted",
        "The monthly run quota and the suspended runs beyond it are used up.",
        "Upgrade the plan, or wait for the next month.",
    ),
    (
        429,
        "too-many-attempts",
        "The address sent more than 100 invalid credentials within a minute.",
        "Correct the credential and wait for `Retry-After` seconds.",
    ),
    (
        429,
        "too-many-tenants",
        "The user has created 1,000 tenants in this month.",
        "Wait for the next month, or let another user create it.",
    ),
    (
        500,
        "internal",
        "A bug in AIAS.",
        "Report it with `request_id`.",
    ),
    (
        503,
        "unavailable",
        "A dependency is unavailable.",
        "Repeat the request; `GET /api/health` names the dependency.",
    ),
];

/// The error codes of runs, with cause and fix.
const RUN_ERRORS: &[(&str, &str, &str)] = &[
    (
        "artifact-too-large",
        "The output exceeds the artifact limit of the plan.",
        "Return less, or upgrade the plan.",
    ),
    (
        "authentication",
        "A called host or an authority refused the credentials, or a secret does not exist.",
        "Check the policy and `PUT /api/secrets/{name}`.",
    ),
    (
        "communication",
        "A request failed, was refused by the address guard, or its response was not successful.",
        "`detail` has the URL and the status; use `try` with `retry` for transient errors.",
    ),
    (
        "configuration",
        "The definition refers to something that does not exist at run time, or builds an invalid request.",
        "Correct the task in `instance`.",
    ),
    (
        "cpu-limit",
        "One step used more CPU time than the plan allows.",
        "Split the expression, or process less data in one step.",
    ),
    (
        "dead-letter",
        "The run's message failed at every delivery.",
        "The operator's log has the cause; retry the run when it is fixed.",
    ),
    (
        "depth-limit",
        "An expression or a value is nested too deep.",
        "Avoid deep recursion.",
    ),
    (
        "engine-failed",
        "The engine failed in a step.",
        "Report it to the operator with the definition.",
    ),
    (
        "engine-killed",
        "The process of the engine was killed, usually for lack of memory.",
        "Retry the run; the operator may raise the executor's memory.",
    ),
    (
        "engine-missing",
        "The engine could not be started.",
        "Retry the run; report it to the operator.",
    ),
    (
        "executor-ended",
        "The run's executor died at each of three starts.",
        "Check the workflow for extreme use of memory, and report it to the operator.",
    ),
    (
        "expression",
        "A jq expression failed.",
        "`detail` has jq's message, `instance` the task.",
    ),
    (
        "input-gone",
        "The input of the run is no longer retained.",
        "Send the event again.",
    ),
    (
        "journal-gone",
        "The journal of the run is no longer retained.",
        "Use `replay`.",
    ),
    (
        "journal-too-large",
        "The results of all calls of the run exceed 64 MiB.",
        "Call for less data.",
    ),
    (
        "memory-limit",
        "The run used more memory than the plan allows.",
        "Process less data at once.",
    ),
    (
        "no-response",
        "In a dry run: `responses` has no entry for a call.",
        "Add an entry for the task in `instance`.",
    ),
    (
        "no-such-version",
        "The version of the workflow does not exist any more.",
        "Use `replay` with another version.",
    ),
    (
        "non-deterministic",
        "The journal does not match the run.",
        "Report it to the operator; `replay` starts again.",
    ),
    (
        "runtime",
        "The run cannot continue, for example because a child run failed.",
        "`detail` and `instance` say where.",
    ),
    (
        "step-limit",
        "The run executed more steps than the plan allows.",
        "Process fewer items, or split the work over several runs.",
    ),
    (
        "timeout",
        "A `timeout` of the definition expired, or the run used all CPU time of its plan.",
        "Raise the timeout, or compute less.",
    ),
    (
        "validation",
        "Data does not match a schema of the definition.",
        "`detail` lists the differences.",
    ),
    (
        "value-too-large",
        "An output, or the effects requested at once, exceed 16 MiB.",
        "Return less, or request fewer effects at once.",
    ),
    (
        "version-broken",
        "The stored version does not compile with this release.",
        "Store the workflow again and correct its faults.",
    ),
    (
        "workflow-deleted",
        "The workflow was deleted while the run was pending or waiting.",
        "Create the workflow again and send the event again.",
    ),
    (
        "workflow-disabled",
        "The workflow was disabled while the run was pending or waiting.",
        "Enable the workflow and retry the run.",
    ),
];

/// The codes of run errors that the page documents.
pub fn run_codes() -> impl Iterator<Item = &'static str> {
    RUN_ERRORS.iter().map(|(code, ..)| *code)
}

/// The content of `docs/errors.md`.
///
/// # Panics
///
/// When a problem type of the API has no entry, or an entry has no problem type.
#[must_use]
pub fn page() -> String {
    let mut page = "# Errors\n\nFor users of the API. Generated by `make docs` from the code.\n\n## Problems of the API\n\n\
        An error response is a problem (RFC 9457) whose `code` is stable; `type` is the URL of its \
        description in the console, and `request_id` is in the operator's log.\n\n| status | code | title | cause | what to do |\n|---|---|---|---|---|\n"
        .to_owned();
    assert_eq!(
        PROBLEMS.len(),
        kinds::ALL.len(),
        "an entry without a problem type"
    );
    for kind in kinds::ALL {
        let entry = PROBLEMS
            .iter()
            .find(|(status, code, ..)| (*status, *code) == (kind.status, kind.code));
        let (_, _, cause, fix) = entry.unwrap_or_else(|| panic!("no entry for {}", kind.code));
        writeln!(
            page,
            "| {} | <a id=\"{}-{}\"></a>`{}` | {} | {cause} | {fix} |",
            kind.status, kind.code, kind.status, kind.code, kind.title
        )
        .unwrap();
    }
    page.push_str(
        "\n## Errors of runs\n\nThe `error` of a faulted run has a stable `code`. An error that a workflow raises itself has the `type` \
         of the definition.\n\n| code | cause | what to do |\n|---|---|---|\n",
    );
    for (code, cause, fix) in RUN_ERRORS {
        writeln!(
            page,
            "| <a id=\"run-{code}\"></a>`{code}` | {cause} | {fix} |"
        )
        .unwrap();
    }
    page
}
