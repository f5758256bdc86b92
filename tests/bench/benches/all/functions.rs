//! Measures the binary of each function in turns with one that does nothing.

use std::{collections::BTreeMap, path::Path, time::Duration};

use aias_tests::{
    cloud::Latency,
    figures::{Counts, count, log_file},
    lambda::{Function, Init},
    measured::{CASES, Case, Event, World},
    zips,
};

/// Median, minimum and maximum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        Self {
            median: all[all.len() / 2],
            least: all[0],
            most: all[all.len() - 1],
        }
    }
}

/// The results of a case.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) counts: Counts,
    /// The size of the zip, by architecture, in bytes.
    pub(crate) zips: BTreeMap<String, usize>,
    /// In milliseconds.
    pub(crate) init_wall: Spread,
    pub(crate) init_cpu: Spread,
    /// The first request, in milliseconds.
    pub(crate) first: f64,
    /// Warm requests with immediate AWS responses, and with realistic AWS latency.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) regional_p50: f64,
    pub(crate) regional_p99: f64,
    pub(crate) regional_mean: f64,
    /// CPU time per request, in microseconds, and relative to the no-op measured in the same turn.
    pub(crate) cpu: Spread,
    pub(crate) of_no_op: Spread,
    pub(crate) peak_kib: u64,
}

const STARTS: usize = 7;
const ROUNDS: usize = 9;
const EACH: usize = 25;
const REGIONAL: usize = 80;

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The value at or below which `share` of all values are.
pub(crate) fn percentile(all: &mut [f64], share: f64) -> f64 {
    all.sort_by(f64::total_cmp);
    let place = (share * all.len() as f64).ceil() as usize;
    all[place.clamp(1, all.len()) - 1]
}

async fn begin(world: &World, case: &Case, folder: &Path, memory_mib: u32) -> Function {
    let binary = folder.join(case.function);
    let environment = world.environment(case);
    let started = Function::start(&binary, &environment, memory_mib, log_file(case)).await;
    started.unwrap_or_else(|error| panic!("{}: {error}", case.name))
}

/// Sends events. Returns how long each took, and the CPU time per event.
async fn turn(
    world: &mut World,
    function: &mut Function,
    event: Event,
    count: usize,
) -> (Vec<f64>, f64) {
    let events = world.events(event, count).await;
    let before = function.usage().cpu;
    let mut walls = Vec::new();
    for event in events {
        walls.push(ms(function.invoke(event).await.unwrap().wall));
    }
    let cpu = function.usage().cpu.saturating_sub(before);
    (walls, cpu.as_secs_f64() * 1e6 / count as f64)
}

/// Measures one case, in turns with the no-op.
pub(crate) async fn measure(world: &mut World, case: &Case, folder: &Path, memory_mib: u32) -> Row {
    let counts = count(world, case, &folder.join(case.function)).await;
    let counts = counts.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let mut inits: Vec<Init> = Vec::new();
    for _ in 0..STARTS {
        inits.push(begin(world, case, folder, memory_mib).await.init);
    }
    let nothing = &CASES[0];
    let mut no_op = begin(world, nothing, folder, 128).await;
    turn(world, &mut no_op, nothing.event, EACH).await;
    let mut function = begin(world, case, folder, memory_mib).await;
    let (first, _) = turn(world, &mut function, case.event, 1).await;
    turn(world, &mut function, case.event, EACH).await;
    let (mut walls, mut cpus, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (_, beside) = turn(world, &mut no_op, nothing.event, 4 * EACH).await;
        let (wall, cpu) = turn(world, &mut function, case.event, EACH).await;
        walls.extend(wall);
        cpus.push(cpu);
        ratios.push(cpu / beside);
    }
    let mut regional = regional(world, &mut function, case.event).await;
    let peak_kib = function.usage().peak_kib;
    Row {
        case: *case,
        counts,
        zips: zips::of(folder, case.function),
        init_wall: Spread::of(inits.iter().map(|init| ms(init.wall)).collect()),
        init_cpu: Spread::of(inits.iter().map(|init| ms(init.cpu)).collect()),
        first: first[0],
        p50: percentile(&mut walls, 0.5),
        p99: percentile(&mut walls, 0.99),
        regional_mean: regional.iter().sum::<f64>() / regional.len() as f64,
        regional_p50: percentile(&mut regional, 0.5),
        regional_p99: percentile(&mut regional, 0.99),
        cpu: Spread::of(cpus),
        of_no_op: Spread::of(ratios),
        peak_kib,
    }
}

/// Events with realistic AWS latency. Creating them is not delayed.
async fn regional(world: &mut World, function: &mut Function, event: Event) -> Vec<f64> {
    let events = world.events(event, REGIONAL).await;
    world.cloud.take(Latency::REGIONAL);
    let mut walls = Vec::new();
    for event in events {
        walls.push(ms(function.invoke(event).await.unwrap().wall));
    }
    world.cloud.take(Latency::NONE);
    walls
}
