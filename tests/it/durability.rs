//! What AIAS in one process keeps: kills, stops, full disks, backups.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use aias_tests::{
    client::{Client, random_text, send},
    embedded::{Embedded, Folder, aias, error_of, program},
};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Posts an event with an id; none if the process does not respond.
fn post(url: &str, id: &str, body: &str) -> Option<u16> {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)))
            .build(),
    );
    let request = agent
        .post(url)
        .header(JSON.0, JSON.1)
        .header("idempotency-key", id);
    let mut response = request.send(body).ok()?;
    let status = response.status().as_u16();
    response.body_mut().read_to_vec().ok()?;
    Some(status)
}

/// All runs of a tenant by their event id, once all of them have ended.
fn ended_runs(client: &Client) -> BTreeMap<String, Vec<Value>> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let (mut runs, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = client
                .get(&format!("/api/runs?limit=100{cursor}"))
                .expect(200)
                .json();
            runs.extend(page["data"].as_array().unwrap().clone());
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        if runs.iter().all(|run| !run["ended_at"].is_null()) {
            let mut by_event: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for run in runs {
                let id = run["trigger"]["event_id"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                by_event.entry(id).or_default().push(run);
            }
            return by_event;
        }
        assert!(Instant::now() < until, "some runs have not ended");
        thread::sleep(Duration::from_millis(200));
    }
}

/// Posts from several clients until the process is killed or `stop` is set. Sends the id of each
/// accepted event.
fn load(url: &str, round: u64, stop: &Arc<AtomicBool>) -> mpsc::Receiver<String> {
    let (sender, accepted) = mpsc::channel();
    for client in 0..4 {
        let (url, stop, sender) = (url.to_owned(), Arc::clone(stop), sender.clone());
        thread::spawn(move || {
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let id = format!("{round}-{client}-{number}");
                let body = json!({"id": id}).to_string();
                match post(&url, &id, &body) {
                    Some(202 | 200) => sender.send(id).unwrap(),
                    // The plan's rate: 20 events a second.
                    Some(429) => thread::sleep(Duration::from_millis(20)),
                    Some(status) => panic!("status {status}"),
                    None => break,
                }
            }
        });
    }
    accepted
}

/// How often the process is killed with each durability.
const KILLS: u64 = 4;

/// How many events are accepted before the first kill; before each further one there are more.
const ACCEPTED: u64 = 8;

#[test]
fn killed_process_loses_and_doubles_nothing() {
    for durability in ["power", "process"] {
        let folder = Folder::new();
        let options = ["--durability", durability];
        let mut process = Embedded::start(&folder, &options);
        let (mut client, url) = process.tenant();
        let path = url.strip_prefix(&process.url).unwrap().to_owned();
        let mut accepted = Vec::new();
        for round in 0..KILLS {
            let stop = Arc::new(AtomicBool::new(false));
            let events = load(&format!("{}{path}", process.url), round, &stop);
            let before = usize::try_from(ACCEPTED + 3 * round).unwrap();
            accepted.extend(events.iter().take(before));
            process.kill();
            accepted.extend(events);
            process = Embedded::start(&folder, &options);
            client.url.clone_from(&process.url);
        }
        println!("{durability}: {} accepted events", accepted.len());
        assert!(accepted.len() >= 4 * 8 + 3 * 6, "{}", accepted.len());
        let runs = ended_runs(&client);
        for id in &accepted {
            let found = runs.get(id).map_or(0, Vec::len);
            assert_eq!(found, 1, "runs of {id}");
        }
        for (id, all) in runs {
            for run in all {
                assert_eq!(run["status"], "completed", "{id}: {run}");
                assert_eq!(
                    run["artifacts"].as_array().map(Vec::len),
                    Some(1),
                    "{id}: {run}"
                );
            }
        }
    }
}

/// `make soak` does the same with 100,000 events.
#[test]
fn failing_calls_and_kills_lose_and_double_nothing() {
    let folder = Folder::new();
    let output = Command::new(program().with_file_name("aias-soak"))
        .args([
            "run",
            "--events",
            "600",
            "--clients",
            "16",
            "--kill-seconds",
            "2",
        ])
        .arg("--data")
        .arg(folder.data())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}\n{error}");
    let figures = &text[text.find('{').unwrap()..];
    let figures: Value = serde_json::from_str(figures).unwrap();
    assert!(figures["kills"].as_u64().unwrap() > 0, "{figures}");
    assert!(figures["requests"].as_u64().unwrap() > 600, "{figures}");
}

#[test]
fn waiting_run_continues_after_a_kill() {
    let folder = Folder::new();
    let process = Embedded::start(&folder, &[]);
    let mut client = Client::at(&process.url);
    let workflow = client.workflow(&json!([
        {"pause": {"wait": {"seconds": 4}}},
        {"done": {"set": {"waited": true}}},
    ]));
    let path = format!("/api/workflows/{workflow}/execute");
    let run = client
        .post(&path, &json!({"input": {}}))
        .expect(202)
        .text("run_id");
    let until = Instant::now() + Duration::from_secs(10);
    while client.get(&format!("/api/runs/{run}")).json()["status"] != "waiting" {
        assert!(Instant::now() < until, "the run does not wait");
        thread::sleep(Duration::from_millis(20));
    }
    process.kill();
    let process = Embedded::start(&folder, &[]);
    client.url.clone_from(&process.url);
    assert_eq!(client.ended(&run)["status"], "completed");
}

#[test]
fn stopping_finishes_what_is_under_way() {
    let folder = Folder::new();
    let process = Embedded::start(&folder, &[]);
    let (mut client, url) = process.tenant();
    let answer = send("POST", &url, &[JSON], b"{}")
        .expect(202)
        .text("run_id");
    // A request whose body comes late.
    let host = process.url.strip_prefix("http://").unwrap();
    let mut slow = TcpStream::connect(host).unwrap();
    let path = url.strip_prefix(&process.url).unwrap();
    write!(slow, "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n").unwrap();
    slow.flush().unwrap();
    thread::sleep(Duration::from_millis(100));
    let stopping = thread::spawn(move || process.stop());
    thread::sleep(Duration::from_millis(200));
    slow.write_all(b"{}").unwrap();
    let mut response = String::new();
    slow.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 202"), "{response}");
    assert_eq!(stopping.join().unwrap(), Some(0));
    let process = Embedded::start(&folder, &[]);
    client.url.clone_from(&process.url);
    assert_eq!(client.ended(&answer)["status"], "completed");
    let runs = ended_runs(&client);
    assert_eq!(runs.values().map(Vec::len).sum::<usize>(), 2);
}

#[test]
fn backup_of_a_running_process_is_complete() {
    let folder = Folder::new();
    let process = Embedded::start(&folder, &[]);
    let (mut client, url) = process.tenant();
    let stop = Arc::new(AtomicBool::new(false));
    let clients = load(&url, 0, &stop);
    // Some artifacts are files.
    for number in 0..3 {
        let body = json!({"number": number, "text": "x".repeat(10_000)}).to_string();
        let _ = post(&url, &format!("large-{number}"), &body);
    }
    thread::sleep(Duration::from_millis(500));
    let backup = folder.0.join("backup");
    let (data, copy) = (folder.data(), backup.display().to_string());
    let from = data.display().to_string();
    let output = aias(&["backup", "--from", &from, "--to", &copy]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let before: Vec<String> = ended_before(&client);
    stop.store(true, Ordering::Relaxed);
    // Until the last client has stopped.
    clients.iter().for_each(drop);
    process.kill();
    fs::remove_dir_all(&data).unwrap();
    let output = aias(&["restore", "--from", &copy, "--to", &from]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let process = Embedded::start(&folder, &[]);
    client.url.clone_from(&process.url);
    let runs = ended_runs(&client);
    assert!(!runs.is_empty());
    for run in runs.values().flatten() {
        assert_eq!(run["status"], "completed", "{run}");
        let _ = client.download(run);
    }
    // What the backup has is a state that the process had.
    assert!(runs.values().flatten().count() <= before.len() + 200);
    assert!(error_of(&["backup", "--from", &from, "--to", &copy]).contains("exists"));
}

fn ended_before(client: &Client) -> Vec<String> {
    let page = client.get("/api/runs?limit=100").expect(200).json();
    let runs = page["data"].as_array().unwrap();
    runs.iter().map(|run| run["id"].to_string()).collect()
}

/// A full disk, as a limit on the size of files: SQLite sees the same failed writes.
#[test]
fn full_disk_refuses_events_and_keeps_the_accepted_ones() {
    let folder = Folder::new();
    let process = Embedded::start(&folder, &[]);
    let (mut client, url) = process.tenant();
    let path = url.strip_prefix(&process.url).unwrap().to_owned();
    assert_eq!(process.stop(), Some(0));
    let mut limited = Command::new("bash");
    // In KiB. The signal would end the process.
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 600; exec \"$0\" \"$@\""])
        .arg(program());
    let process = Embedded::start_command(&folder, &mut limited, &[]);
    let body = json!({"text": random_text(30_000)}).to_string();
    let (mut accepted, mut refused) = (Vec::new(), 0);
    for number in 0..200 {
        let id = format!("event-{number}");
        match post(&format!("{}{path}", process.url), &id, &body) {
            Some(202) => accepted.push(id),
            Some(503) => refused += 1,
            Some(429) => thread::sleep(Duration::from_millis(100)),
            other => panic!("{other:?}"),
        }
        if refused >= 2 {
            break;
        }
    }
    assert!(
        refused >= 2 && !accepted.is_empty(),
        "{refused} {}",
        accepted.len()
    );
    process.kill();
    let process = Embedded::start(&folder, &[]);
    client.url.clone_from(&process.url);
    let runs = ended_runs(&client);
    for id in accepted {
        assert_eq!(runs.get(&id).map_or(0, Vec::len), 1, "{id}");
        assert_eq!(runs[&id][0]["status"], "completed", "{}", runs[&id][0]);
    }
}
