//! A soak: many events are posted to AIAS in one process, while calls to its services fail at random
//! and the process is killed every few seconds. Afterwards each event must have exactly one run, which
//! completed, and one artifact with the right content.
//!
//! `aias-soak run` posts, kills and checks; it starts itself as `aias-soak serve`, which is
//! `aias serve` with [`faults`].

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test, and a command of a terminal"
)]

mod checked;
mod faults;
mod page;
mod posted;
mod server;

use std::{io::Read as _, path::PathBuf, process::ExitCode, time::Instant};

use aias::{ServeOptions, serve_through};
use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::{page::Figures, posted::post_all, server::Server};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Posts events, and checks what became of them.
    Run(RunOptions),
    /// `aias serve`, whose calls fail at random.
    Serve {
        #[command(flatten)]
        options: ServeOptions,
        /// The percentage of calls that fail, for each kind of fault.
        #[arg(long)]
        percent: u64,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct RunOptions {
    /// A new folder for the data.
    #[arg(long)]
    data: PathBuf,
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    #[arg(long, default_value_t = 64)]
    clients: u64,
    /// The percentage of calls that fail, for each kind of fault.
    #[arg(long, default_value_t = 2)]
    percent: u64,
    /// The mean time between two kills.
    #[arg(long, default_value_t = 15)]
    kill_seconds: u64,
    /// The page that is written.
    #[arg(long)]
    page: Option<PathBuf>,
}

fn main() -> ExitCode {
    // Started again as a child that runs workflows.
    if let Some(code) = aias_sandbox::serve() {
        return code;
    }
    let runtime = Runtime::new().expect("the threads of the runtime start");
    match Arguments::parse().command {
        Command::Serve { options, percent } => {
            std::thread::spawn(end_with_parent);
            let faulty = |client| faults::faulty(client, percent);
            let served = runtime.block_on(serve_through(options, faulty));
            served.expect("the process serves");
            ExitCode::SUCCESS
        }
        Command::Run(options) => run(&options, &runtime),
    }
}

/// Ends this process once its input is closed.
fn end_with_parent() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}

fn run(options: &RunOptions, runtime: &Runtime) -> ExitCode {
    let server = Server::start(&options.data, 0);
    let tenant = server.new_tenant(runtime);
    let webhook = tenant.new_endpoint(&server.url());
    server.kill_and_start(options.percent);

    let started_at = Instant::now();
    let killing = server.kill_at_random(options.percent, options.kill_seconds);
    let posted = post_all(&server.url(), &webhook, options.events, options.clients);
    let accepted_seconds = started_at.elapsed().as_secs_f64();
    let kills = killing.stop();
    // What is left is executed without faults, as after an incident.
    server.kill_and_start(0);
    let checked = checked::check(&server.url(), &tenant, options.events);
    let figures = Figures {
        events: options.events,
        clients: options.clients,
        requests: posted.requests,
        duplicates: posted.duplicates,
        fault_percent: options.percent,
        kills,
        accepted_seconds,
        ended_seconds: started_at.elapsed().as_secs_f64(),
        retried: checked.retried,
        lost: checked.lost,
        doubled: checked.doubled,
        wrong: checked.wrong,
    };
    let text = serde_json::to_string_pretty(&figures).expect("figures are JSON");
    println!("{text}");
    if let Some(page) = &options.page {
        std::fs::write(page, figures.page()).expect("the page can be written");
    }
    if checked.lost + checked.doubled + checked.wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
