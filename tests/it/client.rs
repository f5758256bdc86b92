//! The client under the SDK: whom a function's binary trusts, and which connections it keeps.

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

/// A host `localhost` that shows a certificate of its own and has what it is asked answered in the
/// clear; returns its URL and the certificate.
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
                // Who does not trust the certificate ends here.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut behind = TcpStream::connect(clear).await.unwrap();
                // It ends as either side does.
                let _ = copy_bidirectional(&mut stream, &mut behind).await;
            });
        }
    });
    (format!("https://localhost:{port}"), own.cert.pem())
}

/// A file that goes with whoever has it.
struct Lent(PathBuf);

impl Drop for Lent {
    fn drop(&mut self) {
        // It may be gone.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_speaks_tls_and_trusts_the_systems_authorities_alone() {
    let Some(stack) = stack::get() else { return };
    let case = CASES.iter().find(|case| case.name == "webhook-ingest");
    let case = case.unwrap();
    let binary = Path::new(stack.output("bin")).join(case.function);
    let mut world = World::new().await;
    let clear = world.cloud.url.trim_start_matches("http://").parse();
    let (url, certificate) = in_tls(clear.unwrap()).await;
    let (_, anothers) = in_tls("127.0.0.1:1".parse().unwrap()).await;
    for (authority, trusted) in [(certificate, true), (anothers, false)] {
        let file = Lent(log_file(case).with_extension("pem"));
        std::fs::write(&file.0, authority).unwrap();
        let mut environment: HashMap<_, _> = world.environment(case);
        let authorities = file.0.to_str().unwrap().to_owned();
        environment.insert("SSL_CERT_FILE".to_owned(), authorities);
        environment.insert("AWS_ENDPOINT_URL".to_owned(), url.clone());
        let events = world.events(case.event, 1).await;
        let function = Function::start(&binary, &environment, 1769, log_file(case)).await;
        let mut function = function.unwrap();
        let answer = function.invoke(events[0].clone()).await.unwrap().answer;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let (calls, _) = world.cloud.counted();
        let logs = function.logs();
        if trusted {
            assert_eq!(answer["statusCode"], 202, "{answer} {logs}");
            assert!(!calls.is_empty());
        } else {
            assert_eq!(answer["statusCode"], 503, "{answer} {logs}");
            assert!(calls.is_empty(), "{calls:?}");
            assert!(logs.contains("invalid peer certificate"), "{logs}");
        }
    }
}

/// A host that gives these answers in turn, the last one again and again; its URL, and from which ports
/// it was asked.
pub(crate) async fn answering(answers: Vec<(u16, String)>) -> (String, Arc<Mutex<Vec<u16>>>) {
    let ports = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ports);
    let answer = async move |ConnectInfo(from): ConnectInfo<SocketAddr>| {
        let mut seen = seen.lock().unwrap();
        seen.push(from.port());
        let (status, body) = answers[answers.len().min(seen.len()) - 1].clone();
        (StatusCode::from_u16(status).unwrap(), body)
    };
    let router = Router::new().fallback(answer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    (url, ports)
}

/// Whoever balances load sent the first request to a host that is not well; the same connection would
/// lead there again.
#[tokio::test]
async fn what_was_not_well_is_asked_again_over_another_connection() {
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
    assert_ne!(ports[0], ports[1], "the connection was kept");
    assert_eq!(ports[1], ports[2], "the connection was not kept");
}
