//! The HTTP client of the SDK: which hosts a function's binary trusts, and how connections are
//! reused.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use aias_domain::id::TenantId;
use aias_platform::{
    client::Client,
    store::{Proof, Store},
};
use aias_testkit::{aws, dynamodb, stack, wire::Wire};
use aias_tests::{
    bench::TENANT,
    figures::log_file,
    lambda::Function,
    measured::{CASES, World},
};
use aws_smithy_types::retry::RetryConfig;
use axum::{Router, extract::ConnectInfo, http::StatusCode};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::Value;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// A TLS proxy `localhost` with its own certificate, in front of a plain-text server. Returns its
/// URL and the certificate.
async fn in_tls(clear: SocketAddr) -> (String, String) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate closes the connection.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut behind = TcpStream::connect(clear).await.unwrap();
                // Ends when either side closes.
                let _ = copy_bidirectional(&mut stream, &mut behind).await;
            });
        }
    });
    (format!("https://localhost:{port}"), own.cert.pem())
}

/// A file that is deleted when dropped.
struct TempFile(PathBuf);

impl Drop for TempFile {
    fn drop(&mut self) {
        // The file may have been deleted.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_system_ca_certificates_are_trusted() {
    let stack = stack::get();
    let case = CASES.iter().find(|case| case.name == "webhook-ingest");
    let case = case.unwrap();
    let binary = Path::new(stack.output("bin")).join(case.function);
    let mut world = World::new().await;
    let clear = world.cloud.url.trim_start_matches("http://").parse();
    let (url, certificate) = in_tls(clear.unwrap()).await;
    let (_, anothers) = in_tls("127.0.0.1:1".parse().unwrap()).await;
    for (authority, trusted) in [(certificate, true), (anothers, false)] {
        let file = TempFile(log_file(case).with_extension("pem"));
        std::fs::write(&file.0, authority).unwrap();
        let mut environment: HashMap<_, _> = world.environment(case);
        let authorities = file.0.to_str().unwrap().to_owned();
        environment.insert("SSL_CERT_FILE".to_owned(), authorities);
        environment.insert("AWS_ENDPOINT_URL".to_owned(), url.clone());
        let events = world.events(case.event, 1).await;
        let function = Function::start(&binary, &environment, 1769, log_file(case)).await;
        let mut function = function.unwrap();
        let response = function.invoke(events[0].clone()).await.unwrap().response;
        let response: Value = serde_json::from_slice(&response).unwrap();
        let (calls, _) = world.cloud.counted();
        let logs = function.logs();
        if trusted {
            assert_eq!(response["statusCode"], 202, "{response} {logs}");
            assert!(!calls.is_empty());
        } else {
            assert_eq!(response["statusCode"], 503, "{response} {logs}");
            assert!(calls.is_empty(), "{calls:?}");
            assert!(logs.contains("invalid peer certificate"), "{logs}");
        }
    }
}

/// A server that gives these responses in turn, then repeats the last one. Returns its URL, and the
/// ports of its clients.
pub(crate) async fn answering(answers: Vec<(u16, String)>) -> (String, Arc<Mutex<Vec<u16>>>) {
    let ports = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ports);
    let response = async move |ConnectInfo(from): ConnectInfo<SocketAddr>| {
        let mut seen = seen.lock().unwrap();
        seen.push(from.port());
        let (status, body) = answers[answers.len().min(seen.len()) - 1].clone();
        (StatusCode::from_u16(status).unwrap(), body)
    };
    let router = Router::new().fallback(response);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    (url, ports)
}

/// A load balancer may have routed the first request to a failing host. The same connection would
/// lead to it again.
#[tokio::test]
async fn retry_uses_new_connection() {
    let empty = "{}".to_owned();
    let (url, ports) = answering(vec![(500, empty.clone()), (200, empty)]).await;
    let config = aws::config(&url, &Wire::default())
        .into_builder()
        .http_client(Client::new().shared())
        .retry_config(RetryConfig::standard())
        .build();
    let store = Store::new(&config, dynamodb::TABLE.to_owned());
    let tenant: TenantId = TENANT.parse().unwrap();
    let store = store.tenant(Proof::for_tests(tenant));
    for _ in 0..2 {
        assert!(store.tenant().await.unwrap().is_none());
    }
    let ports = ports.lock().unwrap().clone();
    assert_eq!(ports.len(), 3, "{ports:?}");
    assert_ne!(ports[0], ports[1], "the connection was reused");
    assert_eq!(ports[1], ports[2], "the connection was not reused");
}
