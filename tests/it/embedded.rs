//! All of AIAS in one process: what it serves, and what it refuses to start with.

use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use aias_tests::{
    client::{Client, send},
    embedded::{Embedded, Folder, aias, error_of, program},
};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Posts an event, and returns its completed run.
fn completed(client: &Client, url: &str, body: &str) -> Value {
    let answer = send("POST", url, &[JSON], body.as_bytes()).expect(202);
    let run = client.ended(&answer.text("run_id"));
    assert_eq!(run["status"], "completed", "{run}");
    run
}

#[test]
fn webhook_becomes_an_artifact_in_one_process() {
    let folder = Folder::new();
    let process = Embedded::start(&folder, &[]);
    let (client, url) = process.tenant();
    // Larger than an artifact in an item, so it is a file.
    let large = json!({"text": "x".repeat(100_000)}).to_string();
    for body in [r#"{"small":1}"#, &large] {
        let run = completed(&client, &url, body);
        assert_eq!(client.download(&run), body.as_bytes());
    }
    assert_eq!(process.stop(), Some(0));
}

#[test]
fn download_url_is_valid_as_it_was_signed_only() {
    let folder = Folder::new();
    let process = Embedded::start(&folder, &[]);
    let (client, url) = process.tenant();
    let body = json!({"text": "x".repeat(10_000)}).to_string();
    let run = completed(&client, &url, &body);
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

    // Nobody can create files there, not even root.
    let error = serve(Path::new("/proc/aias"));
    assert!(error.contains("/proc/aias cannot be used"), "{error}");
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
    let (client, url) = process.tenant();
    completed(&client, &url, "{}");
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
    let tenant = made["tenant_id"].as_str().unwrap();
    let read_with = |key: &Value, path: &str| {
        let bearer = format!("Bearer {}", key.as_str().unwrap());
        let headers = [("authorization", bearer.as_str())];
        send("GET", &format!("{}{path}", process.url), &headers, b"")
            .expect(200)
            .json()
    };
    let of_key = |path: &str| read_with(&made["api_key"], path);
    let path = format!("/api/tenants/{tenant}");
    assert_eq!(of_key(&path)["name"], "Acme");

    let output = aias(&["create-key", "--data", &data, "--tenant", tenant]);
    let another: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_ne!(another["api_key"], made["api_key"]);
    assert_eq!(read_with(&another["api_key"], &path)["name"], "Acme");
    let stranger = [
        "create-key",
        "--data",
        &data,
        "--tenant",
        tenant,
        "--owner",
        "x",
    ];
    assert!(error_of(&stranger).contains("error:"));

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

#[test]
fn too_many_requests_at_once_are_refused() {
    let folder = Folder::new();
    fs::write(folder.0.join("aias.yaml"), "MaxRequests: 1\n").unwrap();
    let process = Embedded::start_command(&folder, &mut Command::new(program()), &[]);
    let host = process.url.strip_prefix("http://").unwrap();
    let health = format!("{}/api/health", process.url);
    send("GET", &health, &[], b"").expect(200);
    // A request whose body is not complete.
    let mut slow = TcpStream::connect(host).unwrap();
    write!(
        slow,
        "POST /api/stripe/webhook HTTP/1.1\r\nhost: {host}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{"
    )
    .unwrap();
    thread::sleep(Duration::from_millis(200));
    let refused = send("GET", &health, &[], b"").expect(503);
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.json()["code"], "unavailable");
    // The process lives, and accepts requests again once the other has ended.
    send("GET", &format!("{}/livez", process.url), &[], b"").expect(200);
    slow.write_all(b"}").unwrap();
    slow.read_to_end(&mut Vec::new()).unwrap();
    send("GET", &health, &[], b"").expect(200);
}
