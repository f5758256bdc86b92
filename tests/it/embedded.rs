//! All of AIAS in one process: `aias serve`, `aias backup`, `aias restore`.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use aias_tests::{
    client::{Client, send},
    embedded::{Embedded, Folder, aias, error_of, program},
};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A tenant of the process, and the URL of an endpoint whose runs return their input's body.
fn tenant(url: &str) -> (Client, String) {
    let client = Client::at(url);
    let workflow = client.workflow(&json!([{"echo": {"set": "${ .body }"}}]));
    let endpoint = client.endpoint(&workflow, &json!({"scheme": "none"}));
    let url = endpoint["url"].as_str().unwrap().to_owned();
    (client, url)
}

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

#[test]
fn webhook_becomes_an_artifact_in_one_process() {
    let folder = Folder::new();
    let process = Embedded::start(&folder, &[]);
    let (client, url) = tenant(&process.url);
    // Larger than an artifact in an item, so it is a file.
    let large = json!({"text": "x".repeat(100_000)}).to_string();
    for body in [r#"{"small":1}"#, &large] {
        let answer = send("POST", &url, &[JSON], body.as_bytes()).expect(202);
        let run = client.ended(&answer.text("run_id"));
        assert_eq!(run["status"], "completed", "{run}");
        assert_eq!(client.download(&run), body.as_bytes());
    }
    assert_eq!(process.stop(), Some(0));
}

#[test]
fn download_url_is_valid_as_it_was_signed_only() {
    let folder = Folder::new();
    let process = Embedded::start(&folder, &[]);
    let (client, url) = tenant(&process.url);
    let body = json!({"text": "x".repeat(10_000)}).to_string();
    let answer = send("POST", &url, &[JSON], body.as_bytes()).expect(202);
    let run = client.ended(&answer.text("run_id"));
    let artifact = run["artifacts"][0]["id"].as_str().unwrap();
    let path = format!("/api/artifacts/{artifact}/download");
    let signed = client.get(&path).expect(302).header("location").to_owned();
    send("GET", &signed, &[], b"").expect(200);
    for (from, to) in [
        ("X-Amz-Expires=300", "X-Amz-Expires=3000"),
        ("attachment", "inline"),
        ("x-id=GetObject", "x-id=PutObject"),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
        ("/artifacts/", "/inputs/"),
        ("X-Amz-Date=2", "X-Amz-Date=1"),
        ("/ten_", "/../ten_"),
    ] {
        let changed = signed.replacen(from, to, 1);
        assert_ne!(changed, signed, "{from}");
        send("GET", &changed, &[], b"").expect(404);
    }
    let unsigned = signed.split('?').next().unwrap();
    send("GET", unsigned, &[], b"").expect(404);
}

/// Posts from several clients until `stop`, and collects the ids of the accepted events.
fn load(url: &str, round: u64, stop: &Arc<AtomicBool>) -> Vec<thread::JoinHandle<Vec<String>>> {
    (0..4)
        .map(|client| {
            let (url, stop) = (url.to_owned(), Arc::clone(stop));
            thread::spawn(move || {
                let mut accepted = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = format!("{round}-{client}-{number}");
                    let body = json!({"id": id}).to_string();
                    match post(&url, &id, &body) {
                        Some(202 | 200) => accepted.push(id),
                        // The plan's rate: 20 events a second.
                        Some(429) => thread::sleep(Duration::from_millis(20)),
                        Some(status) => panic!("status {status}"),
                        None => break,
                    }
                }
                accepted
            })
        })
        .collect()
}

/// How often the process is killed with each durability.
const KILLS: u64 = 4;

#[test]
fn killed_process_loses_and_doubles_nothing() {
    for durability in ["power", "process"] {
        let folder = Folder::new();
        let options = ["--durability", durability];
        let mut process = Embedded::start(&folder, &options);
        let (mut client, url) = tenant(&process.url);
        let path = url.strip_prefix(&process.url).unwrap().to_owned();
        let mut accepted = Vec::new();
        for round in 0..KILLS {
            let stop = Arc::new(AtomicBool::new(false));
            let clients = load(&format!("{}{path}", process.url), round, &stop);
            thread::sleep(Duration::from_millis(200 + 137 * (round % 5)));
            process.kill();
            for client in clients {
                accepted.extend(client.join().unwrap());
            }
            process = Embedded::start(&folder, &options);
            client.url.clone_from(&process.url);
        }
        println!("{durability}: {} accepted events", accepted.len());
        assert!(accepted.len() > 40, "{}", accepted.len());
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
    let (mut client, url) = tenant(&process.url);
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
    let (mut client, url) = tenant(&process.url);
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
    for client in clients {
        client.join().unwrap();
    }
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

#[test]
fn unusable_folder_is_refused_with_what_to_do() {
    let folder = Folder::new();
    let serve = |data: &Path| {
        error_of(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
            &data.display().to_string(),
        ])
    };
    let data = folder.data();
    let process = Embedded::start(&folder, &[]);
    assert!(serve(&data).contains("in use by another process"));
    assert_eq!(process.stop(), Some(0));

    fs::write(data.join("format"), "2\n").unwrap();
    assert!(serve(&data).contains("newer version"));
    fs::write(data.join("format"), "1\n").unwrap();

    let secrets = data.join("secrets.json");
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(serve(&data).contains("chmod 600"));
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).unwrap();

    // The header of the database.
    let mut table = OpenOptions::new()
        .write(true)
        .open(data.join("table.sqlite"))
        .unwrap();
    table.seek(SeekFrom::Start(0)).unwrap();
    table.write_all(&[0xff; 200]).unwrap();
    drop(table);
    let error = serve(&data);
    assert!(error.contains("restore a backup"), "{error}");

    let foreign = folder.0.join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), "").unwrap();
    assert!(serve(&foreign).contains("choose another folder"));
}

#[test]
fn unusable_settings_are_refused_with_their_name() {
    let folder = Folder::new();
    let config = folder.0.join("aias.yaml");
    let refused = |text: &str| {
        fs::write(&config, text).unwrap();
        let config = config.display().to_string();
        error_of(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
            &folder.data().display().to_string(),
            "--config",
            &config,
        ])
    };
    assert!(refused("OidcIsuer: https://x.example\n").contains("OidcIsuer"));
    assert!(refused("RetentionDays: 0\n").contains("RetentionDays"));
    assert!(refused("TlsKey: key.pem\n").contains("TlsCertificate"));
    assert!(refused("OutboundNetworks: everywhere\n").contains("OUTBOUND_NETWORKS"));
    let missing = folder.0.join("missing.yaml").display().to_string();
    let error = error_of(&[
        "serve",
        "--data",
        &folder.data().display().to_string(),
        "--config",
        &missing,
    ]);
    assert!(error.contains("missing.yaml"), "{error}");
}

/// A full disk, as a limit on the size of files: SQLite sees the same failed writes.
#[test]
fn full_disk_refuses_events_and_keeps_the_accepted_ones() {
    let folder = Folder::new();
    let process = Embedded::start(&folder, &[]);
    let (mut client, url) = tenant(&process.url);
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

/// Text that does not compress.
fn random_text(length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text += &format!("{:032x}", aias_platform::clock::random_id());
    }
    text
}

/// Requests a URL without checking the certificate, which the test has made.
const GET: &str = r"
import ssl, sys, urllib.request
answer = urllib.request.urlopen(sys.argv[1], context=ssl._create_unverified_context())
print(answer.status, answer.read().decode())
";

#[test]
fn certificate_of_the_settings_is_used() {
    let folder = Folder::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.0.join("cert.pem"), folder.0.join("key.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let settings = json!({"TlsCertificate": certificate, "TlsKey": key});
    fs::write(folder.0.join("aias.yaml"), settings.to_string()).unwrap();
    let process = Embedded::start_command(&folder, &mut Command::new(program()), &[]);
    assert!(
        process.url.starts_with("https://127.0.0.1:"),
        "{}",
        process.url
    );
    let url = format!("{}/api/health", process.url);
    let answer = aias_testkit::stack::get().python(GET, &[&url]);
    assert!(answer.starts_with("200 {\"status\":\"ok\""), "{answer}");
}

#[test]
fn metrics_count_requests_and_messages() {
    let folder = Folder::new();
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = probe.local_addr().unwrap().to_string();
    drop(probe);
    let process = Embedded::start(&folder, &["--metrics-listen", &address]);
    let (client, url) = tenant(&process.url);
    let run = send("POST", &url, &[JSON], b"{}")
        .expect(202)
        .text("run_id");
    assert_eq!(client.ended(&run)["status"], "completed");
    let text = send("GET", &format!("http://{address}/metrics"), &[], b"")
        .expect(200)
        .body;
    let text = String::from_utf8(text).unwrap();
    for part in [
        "aias_http_requests_total{method=\"POST\",status=\"2xx\"}",
        "aias_queue_messages{state=\"ready\"} 0",
        "process_resident_memory_bytes",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("ten_"));
    send("GET", &format!("{}/readyz", process.url), &[], b"").expect(200);
}

#[test]
fn table_has_the_keys_of_the_template() {
    let template =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml")).unwrap();
    let squeezed: String = template.split_whitespace().collect();
    let definition = aias::definition();
    let squeeze = |value: &Value| value.to_string().replace(['"', ' '], "");
    for attribute in definition["AttributeDefinitions"].as_array().unwrap() {
        assert!(squeezed.contains(&squeeze(attribute)), "{attribute}");
    }
    for key in definition["KeySchema"].as_array().unwrap() {
        assert!(squeezed.contains(&squeeze(key)), "{key}");
    }
    let index = &definition["GlobalSecondaryIndexes"][0];
    for part in [
        &index["KeySchema"][0],
        &index["KeySchema"][1],
        &index["Projection"],
    ] {
        assert!(squeezed.contains(&squeeze(part)), "{part}");
    }
}

#[test]
fn operator_creates_a_tenant_beside_the_process() {
    let folder = Folder::new();
    let process = Embedded::start(&folder, &[]);
    let data = folder.data().display().to_string();
    let output = aias(&["create-tenant", "--data", &data, "--name", "Acme"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (tenant, key) = (
        made["tenant_id"].as_str().unwrap(),
        made["api_key"].as_str().unwrap(),
    );
    let of_key = |path: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str())];
        send("GET", &format!("{}{path}", process.url), &headers, b"")
            .expect(200)
            .json()
    };
    assert_eq!(of_key(&format!("/api/tenants/{tenant}"))["name"], "Acme");

    let plan = |limits: &str| {
        let command = [
            "set-enterprise",
            "--data",
            &data,
            "--tenant",
            tenant,
            "--limits",
            limits,
        ];
        let output = aias(&command);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        of_key("/api/entitlements/check?feature=runs")["plan"].clone()
    };
    assert_eq!(plan("{}"), "enterprise");
    assert_eq!(plan("null"), "free");
    let refused = |tenant: &str, limits: &str| {
        error_of(&[
            "set-enterprise",
            "--data",
            &data,
            "--tenant",
            tenant,
            "--limits",
            limits,
        ])
    };
    assert!(refused(tenant, "{\"speed\": 1}").contains("--limits"));
    assert!(refused("ten_01JD3V4ZK8QW5R7T9X1B3C5D7F", "{}").contains("no tenant"));
}
