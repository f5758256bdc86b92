//! What runs without a request: the runs of the queue, dead letters, the reconciler, retention.

use std::{
    io,
    num::NonZero,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use aias_platform::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{expiry::expire, services::Services, settings::Settings};

/// The time limit of a batch, as `ExecutorTimeoutSeconds`.
const BATCH_TIME: Duration = Duration::from_secs(60);
/// How long messages are gathered.
const GATHER_FOR: Duration = Duration::from_millis(5);
/// How often the reconciler runs, as in `template.yaml`.
const RECONCILE_EVERY: Duration = Duration::from_secs(60);
/// How often dead letters that could not be handled are tried again, as in `template.yaml`.
const DEAD_LETTERS_EVERY: Duration = Duration::from_secs(900);

/// The tasks that work, and what they need.
#[derive(Clone)]
pub(crate) struct Work {
    services: Arc<Services>,
    executor: Arc<executor::App>,
    reconciler: Arc<reconciler::App>,
    concurrency: usize,
    /// One permit for each concurrent batch.
    batches: Arc<Semaphore>,
    /// Notified when a batch has ended.
    ended: Arc<Notify>,
}

/// Started tasks.
pub(crate) struct Working {
    work: Work,
    tasks: JoinSet<()>,
    _threads: ExecutorThreads,
}

/// The threads that execute runs. They are not those that respond to requests, so that the kernel
/// shares the cores fairly between the two: a flood of webhooks does not keep runs from ending, nor
/// do many runs keep webhooks from being accepted.
struct ExecutorThreads(Option<Runtime>);

impl ExecutorThreads {
    fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.enable_all().thread_name("executor").build()?;
        Ok(Self(Some(runtime)))
    }
}

impl Drop for ExecutorThreads {
    fn drop(&mut self) {
        // Waiting for them is not possible in a task.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Work {
    /// Starts all tasks.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub(crate) fn start(
        services: Arc<Services>,
        executor: Arc<executor::App>,
        reconciler: Arc<reconciler::App>,
        settings: &Settings,
    ) -> io::Result<Working> {
        let threads = ExecutorThreads::start()?;
        let work = Self {
            services,
            executor,
            reconciler,
            concurrency: settings.executor_concurrency,
            batches: Arc::new(Semaphore::new(settings.executor_concurrency)),
            ended: Arc::default(),
        };
        let mut tasks = JoinSet::new();
        let execute = execute_runs(work.clone());
        if let Some(runtime) = &threads.0 {
            tasks.spawn_on(execute, runtime.handle());
        }
        tasks.spawn(reconcile(Arc::clone(&work.reconciler)));
        tasks.spawn(retry_dead_letters(work.clone()));
        tasks.spawn(expire(Arc::clone(&work.services), settings.retention_days));
        Ok(Working {
            work,
            tasks,
            _threads: threads,
        })
    }
}

impl Working {
    /// Starts nothing new, and waits for the current batches. Whether they ended in time. Afterwards
    /// no task uses the table, so that SQLite closes it.
    pub(crate) async fn stop(mut self, within: Duration) -> bool {
        self.tasks.shutdown().await;
        let all = u32::try_from(self.work.concurrency).unwrap_or(u32::MAX);
        let finished = timeout(within, self.work.batches.acquire_many(all)).await;
        finished.is_ok()
    }
}

/// Executes the runs of the queue. While every core has a batch, messages are gathered: the runs of
/// a batch share the reads of their workflow and tenant.
async fn execute_runs(work: Work) {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    while let Ok(permit) = Arc::clone(&work.batches).acquire_owned().await {
        let others = work.concurrency - work.batches.available_permits() - 1;
        if others >= cores {
            // Batches that wait for calls do not delay others for long.
            let _ = timeout(GATHER_FOR, work.ended.notified()).await;
        }
        let event = work.services.queue.receive().await;
        let work = work.clone();
        tokio::spawn(async move {
            let ids: Vec<Arc<str>> = ids_of(&event);
            let executor = Arc::clone(&work.executor);
            let deadline = SystemTime::now() + BATCH_TIME;
            let batch =
                tokio::spawn(async move { executor::handle(&executor, event, deadline).await });
            let response = match batch.await {
                Ok(response) => response,
                Err(error) => {
                    tracing::error!(event = "batch_failed", %error);
                    failed(&ids)
                }
            };
            let dead = work.services.queue.settle(&ids, &response).await;
            if !dead.is_empty() {
                handle_dead_letters(&work, dead).await;
            }
            drop(permit);
            work.ended.notify_one();
        });
    }
}

fn ids_of(event: &SqsEvent) -> Vec<Arc<str>> {
    let ids = event
        .records
        .iter()
        .filter_map(|record| record.message_id.as_deref());
    ids.map(Arc::from).collect()
}

/// The response of a batch of which nothing is known.
fn failed(ids: &[Arc<str>]) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    response.set_failures(ids.iter().map(|id| id.to_string()));
    response
}

async fn handle_dead_letters(work: &Work, records: Vec<SqsMessage>) {
    let mut event = SqsEvent::default();
    event.records = records;
    let ids = ids_of(&event);
    let handled = reconciler::handle(&work.reconciler, reconciler::Event::Dead(event)).await;
    let Ok(response) = handled else { return };
    for id in ids {
        let is_failed = |failure: &BatchItemFailure| *failure.item_identifier == *id;
        if !response.batch_item_failures.iter().any(is_failed) {
            work.services.queue.delete_dead(&id).await;
        }
    }
}

async fn retry_dead_letters(work: Work) {
    loop {
        sleep(DEAD_LETTERS_EVERY).await;
        let dead = work.services.queue.dead_letters();
        if !dead.is_empty() {
            handle_dead_letters(&work, dead).await;
        }
    }
}

/// Runs the reconciler each minute, one pass at a time. At the start it also sends the message of every
/// pending run: the process may have died between writing a run and its message.
async fn reconcile(app: Arc<reconciler::App>) {
    reconciler::start(&app).await;
    let mut ticks = interval(RECONCILE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let schedule = reconciler::Schedule {
            detail_type: "Scheduled Event".to_owned(),
        };
        // Only operators' events are refused.
        let _ = reconciler::handle(&app, reconciler::Event::Schedule(schedule)).await;
    }
}
