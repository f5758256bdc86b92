//! `aias serve`, and the commands of an operator.

use std::{error::Error, process::ExitCode};

use aias::{
    CopyOptions, CreateKeyOptions, CreateTenantOptions, ServeOptions, SetEnterpriseOptions, copy,
    create_key, create_tenant, serve, set_enterprise,
};
use aias_platform::telemetry::ErrorChain;
use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use tokio::runtime::Builder;

/// A sixth of the process's time was in the allocator of glibc.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Receives webhooks, runs workflows on them and stores the results: in one process, on one disk.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the API, the console and the webhooks until SIGTERM or SIGINT.
    Serve(ServeOptions),
    /// Copies a data folder consistently, also while a process serves it.
    Backup(CopyOptions),
    /// Makes a data folder from a backup.
    Restore(CopyOptions),
    /// Creates a tenant, and prints its id and an API key of its owner.
    CreateTenant(CreateTenantOptions),
    /// Creates an API key of a tenant's owner, and prints it.
    CreateKey(CreateKeyOptions),
    /// Sets or removes the enterprise plan of a tenant.
    SetEnterprise(SetEnterpriseOptions),
}

fn main() -> ExitCode {
    // Started again as a child that runs workflows.
    if let Some(code) = aias_sandbox::serve() {
        return code;
    }
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        #[expect(clippy::print_stderr, reason = "a command of a terminal")]
        Err(error) => {
            eprintln!("error: {}", ErrorChain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    match command {
        Command::Serve(options) => runtime.block_on(serve(options))?,
        Command::Backup(options) | Command::Restore(options) => copy(&options)?,
        #[expect(clippy::print_stdout, reason = "the result of a command")]
        Command::CreateTenant(options) => {
            println!("{}", runtime.block_on(create_tenant(options))?);
        }
        #[expect(clippy::print_stdout, reason = "the result of a command")]
        Command::CreateKey(options) => {
            println!("{}", runtime.block_on(create_key(options))?);
        }
        Command::SetEnterprise(options) => runtime.block_on(set_enterprise(options))?,
    }
    // What is left, such as the thread of the disk, ends with the process.
    runtime.shutdown_background();
    Ok(())
}
