//! The data of a run's steps, computed again.

use aias_domain::id::RunId;
use aias_platform::{
    http::{List, NoFilter, PageParams, Path, Result, Viewer, openapi},
    step_view::StepView,
    store::{Cursor, Listing, Page},
};

use crate::{App, find, recompute::for_each_step};

/// The size at which a page ends, in bytes of JSON. A Lambda response has at most 6 MB with the body
/// as an escaped string, and a step has less than 2 MB.
const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// List the steps of a run with their data
///
/// Nothing of this is stored: the run is computed again from its version, input and journal, and no
/// call is made. A step is one execution of a task, and is listed when it ends, so a task follows
/// the tasks that it contains. Secrets are shown as `$secrets.<name>`.
#[utoipa::path(
    get,
    path = "/api/runs/{id}/steps",
    tag = "runs",
    params(("id" = RunId, Path), PageParams),
    responses((status = 200, description = "A page", body = openapi::Page<StepView>)),
    extensions(
        ("x-role" = json!("viewer")),
        ("x-problems" = json!(["run-not-verifiable", "input-gone", "journal-gone"])),
    ),
)]
pub(crate) async fn list_steps(ctx: Viewer<App, List<NoFilter>>, Path(id): Path<RunId>) -> Result {
    let found = find(&ctx.store(), id).await?;
    let fetch = async |listing: Listing| {
        let from = listing.after.as_ref();
        let from: usize = from
            .and_then(|after| after.position().parse().ok())
            .unwrap_or_default();
        let (mut items, mut bytes, mut index, mut next) = (Vec::new(), 0, 0, None);
        for_each_step(&ctx, &found, |step| {
            if index >= from {
                if items.len() == listing.limit || bytes > MAX_PAGE_BYTES {
                    next = Some(Cursor::at(index.to_string()));
                    return false;
                }
                bytes += step.to_string().len();
                items.push(step);
            }
            index += 1;
            true
        })
        .await?;
        Ok(Page { items, next })
    };
    ctx.page(fetch, |step| step).await
}
