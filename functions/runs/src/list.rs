//! Lists of runs, and of their errors.

use std::collections::HashMap;

use aias_domain::{
    canonical,
    id::{EndpointId, RunId, WorkflowId},
    run::{Run, Status},
    timestamp,
};
use aias_platform::{
    http::{List, PageParams, QueryTime, Result, Viewer, openapi},
    runs::RunView,
    store::{Cursor, Listing, Page, RunFilter, TenantStore},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::App;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunQuery {
    /// Only the runs of this workflow.
    workflow_id: Option<WorkflowId>,
    /// Only the runs of this endpoint's events.
    endpoint_id: Option<EndpointId>,
    /// Only the runs of the event with this id, as in `trigger.event_id`. With `endpoint_id`, a run of
    /// the last seven days is found at once; without, the runs are read one after the other.
    #[param(max_length = 255)]
    event_id: Option<String>,
    /// Only the runs of events with this type, as in `trigger.event_type`. The runs are read one after
    /// the other.
    #[param(max_length = 255)]
    event_type: Option<String>,
    /// Only the runs with this status.
    status: Option<Status>,
    /// Only the runs created at this time or later: RFC 3339, or a date, which is its first instant
    /// in UTC.
    #[param(value_type = Option<String>, example = "2026-11-25")]
    from: Option<QueryTime>,
    /// Only the runs created before this time: RFC 3339, or a date, which is its first instant in
    /// UTC.
    #[param(value_type = Option<String>, example = "2026-11-26T08:00:00Z")]
    to: Option<QueryTime>,
}

/// List runs
#[utoipa::path(
    get,
    path = "/api/runs",
    tag = "runs",
    params(RunQuery, PageParams),
    responses((status = 200, description = "A page", body = openapi::Page<RunView<'static>>)),
    extensions(("x-role" = json!("viewer"))),
)]
pub(crate) async fn list_runs(ctx: Viewer<App, List<RunQuery>>) -> Result {
    let query = &ctx.query.filter;
    let filter = RunFilter {
        workflow_id: query.workflow_id,
        endpoint_id: query.endpoint_id,
        status: query.status,
        from: query.from.map(|time| time.0),
        to: query.to.map(|time| time.0),
        with_artifacts: false,
        event_id: query.event_id.clone(),
        event_type: query.event_type.clone(),
    };
    let store = ctx.store();
    let fetch = async |listing: Listing| {
        if listing.after.is_none()
            && let Some(page) = run_of_event(&store, &filter).await?
        {
            return Ok(page);
        }
        let (limit, after) = (listing.limit, listing.after.as_ref());
        Ok(store
            .runs(&filter, limit, after, ctx.retained_span())
            .await?)
    };
    let view = |run| serde_json::to_value(RunView::new(&run)).unwrap_or_default();
    ctx.page(fetch, view).await
}

/// The run that the filter's endpoint knows by the filter's event id, which it does for seven days.
/// It is the newest one with this id, so the cursor continues with older runs.
async fn run_of_event(store: &TenantStore<'_>, filter: &RunFilter) -> Result<Option<Page<Run>>> {
    let (Some(event_id), Some(endpoint)) = (&filter.event_id, filter.endpoint_id) else {
        return Ok(None);
    };
    let hash = canonical::digest(event_id.as_bytes());
    let Some(id) = store.claimed_run(endpoint, &hash).await? else {
        return Ok(None);
    };
    let found = store.run(id).await?.map(|found| found.run);
    let Some(run) = found.filter(|run| filter.matches(run)) else {
        return Ok(None);
    };
    let next = Some(Cursor::at(run.id.to_string()));
    Ok(Some(Page {
        items: vec![run],
        next,
    }))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ErrorQuery {
    /// Only the errors of this workflow's runs.
    workflow_id: Option<WorkflowId>,
    /// Only the errors of runs created at this time or later: RFC 3339, or a date, which is its
    /// first instant in UTC.
    #[param(value_type = Option<String>, example = "2026-11-25")]
    from: Option<QueryTime>,
    /// Only the errors of runs created before this time: RFC 3339, or a date, which is its first
    /// instant in UTC.
    #[param(value_type = Option<String>, example = "2026-11-26T08:00:00Z")]
    to: Option<QueryTime>,
}

/// Faulted runs with the same error.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorGroup {
    workflow_id: WorkflowId,
    #[schema(example = "communication")]
    code: String,
    /// The task that faulted: a JSON pointer into the definition.
    task: Option<String>,
    title: String,
    /// The `detail` of the error.
    message: Option<String>,
    count: u64,
    /// When the first of these runs was created.
    #[schema(format = DateTime)]
    first_at: String,
    /// When the last of these runs was created.
    #[schema(format = DateTime)]
    last_at: String,
    /// The last of these runs.
    last_run_id: RunId,
}

/// How many faulted runs one response groups, in pages of this size.
const ERROR_PAGES: usize = 20;
const ERROR_PAGE: usize = 100;

/// List the errors of runs, grouped
///
/// Groups by workflow, code, task and message, the most frequent first. One response groups up to
/// 2,000 faulted runs, newest first; `next_cursor` continues with older runs, and their groups are
/// to be added to these. `limit` has no effect.
#[utoipa::path(
    get,
    path = "/api/runs/errors",
    tag = "runs",
    params(ErrorQuery, PageParams),
    responses((status = 200, description = "The groups", body = openapi::Page<ErrorGroup>)),
    extensions(("x-role" = json!("viewer"))),
)]
pub(crate) async fn list_errors(ctx: Viewer<App, List<ErrorQuery>>) -> Result {
    let query = &ctx.query.filter;
    let filter = RunFilter {
        workflow_id: query.workflow_id,
        status: Some(Status::Faulted),
        from: query.from.map(|time| time.0),
        to: query.to.map(|time| time.0),
        ..RunFilter::default()
    };
    let store = ctx.store();
    let span = ctx.retained_span();
    let fetch = async |listing: Listing| {
        let mut groups = HashMap::new();
        let mut after = listing.after;
        for _ in 0..ERROR_PAGES {
            let page = store
                .runs(&filter, ERROR_PAGE, after.as_ref(), span)
                .await?;
            for run in page.items {
                add_to_group(&mut groups, &run);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let mut items: Vec<ErrorGroup> = groups.into_values().collect();
        items.sort_unstable_by(|one, other| {
            let order = other.count.cmp(&one.count);
            order.then_with(|| other.last_run_id.cmp(&one.last_run_id))
        });
        Ok(Page { items, next: after })
    };
    ctx.page(fetch, |group| group).await
}

type GroupKey = (WorkflowId, String, Option<String>, Option<String>);

/// Counts a faulted run. Runs come newest first.
fn add_to_group(groups: &mut HashMap<GroupKey, ErrorGroup>, run: &Run) {
    let Some(error) = &run.error else { return };
    let key = (
        run.workflow_id,
        error.code.clone(),
        error.instance.clone(),
        error.detail.clone(),
    );
    let created_at = timestamp::format(run.created_at);
    let group = groups.entry(key).or_insert_with(|| ErrorGroup {
        workflow_id: run.workflow_id,
        code: error.code.clone(),
        task: error.instance.clone(),
        title: error.title.clone(),
        message: error.detail.clone(),
        count: 0,
        first_at: created_at.clone(),
        last_at: created_at.clone(),
        last_run_id: run.id,
    });
    group.count += 1;
    group.first_at = created_at;
}
