//! Requests to other hosts: authentication, redirects, and refusals.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use aias_domain::id::{RunId, TenantId};
use aias_engine::journal::{
    Authentication, Body, Effect, EffectResult, HttpRequest, HttpResponse, Key, OAuth2, Request,
};
use aias_platform::outbound::{Guard, MAX_RESPONSE_BYTES, Outbound, Redactions};
use aias_testkit::hosts::Hosts;
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns};
use jiff::Timestamp;

/// A resolver that returns these results in turn, then repeats the last one.
#[derive(Debug, Clone)]
struct ScriptedResolver {
    responses: Arc<Vec<Vec<IpAddr>>>,
    requested: Arc<AtomicUsize>,
}

impl ScriptedResolver {
    fn new(responses: &[&[&str]]) -> Self {
        let addresses = |answer: &&[&str]| answer.iter().map(|a| a.parse().unwrap()).collect();
        Self {
            responses: Arc::new(responses.iter().map(addresses).collect()),
            requested: Arc::default(),
        }
    }
}

impl ResolveDns for ScriptedResolver {
    fn resolve_dns<'a>(&'a self, _: &'a str) -> DnsFuture<'a> {
        let number = self.requested.fetch_add(1, Ordering::Relaxed);
        let last = self.responses.len() - 1;
        DnsFuture::ready(Ok(self.responses[number.min(last)].clone()))
    }
}

struct Caller {
    outbound: Outbound,
    hosts: Hosts,
    url: String,
}

impl Caller {
    async fn new() -> Self {
        let hosts = Hosts::default();
        let url = hosts.start().await;
        let outbound = Outbound::new("127.0.0.0/8".parse::<Guard>().unwrap());
        Self {
            outbound,
            hosts,
            url,
        }
    }

    async fn call(&self, request: HttpRequest) -> EffectResult {
        self.call_with(request, Redactions::default()).await
    }

    async fn call_with(&self, request: HttpRequest, secrets: Redactions) -> EffectResult {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let effect = Effect {
            key: Key {
                task: "/do/0/a".into(),
                visit: 1,
            },
            occurrence: 1,
            requested_at: at,
            request: Request::Http(Box::new(request.clone())),
        };
        self.outbound
            .call(
                TenantId::new(at, 1),
                RunId::new(at, 2),
                &effect,
                &request,
                secrets,
            )
            .await
    }

    async fn response(&self, request: HttpRequest) -> HttpResponse {
        match self.call(request).await {
            EffectResult::Http(response) => response,
            other @ (EffectResult::Output(_) | EffectResult::Failed(_)) => panic!("{other:?}"),
        }
    }

    fn plain() -> HttpRequest {
        HttpRequest {
            method: "GET".into(),
            uri: String::new(),
            headers: vec![],
            body: None,
            redirect: false,
            authentication: None,
        }
    }

    fn request(&self, path: &str) -> HttpRequest {
        HttpRequest {
            uri: format!("{}{path}", self.url),
            ..Self::plain()
        }
    }
}

fn failed(answer: EffectResult) -> (String, u16, String) {
    match answer {
        EffectResult::Failed(failure) => (failure.kind, failure.status, failure.detail),
        other @ (EffectResult::Http(_) | EffectResult::Output(_)) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn request_has_user_agent_and_idempotency_key() {
    let caller = Caller::new().await;
    let mut request = caller.request("/echo");
    request.method = "POST".into();
    request.body = Some("{}".into());
    request.headers = vec![("x-a".into(), "1".into()), ("x-a".into(), "2".into())];
    assert_eq!(caller.response(request.clone()).await.status, 200);
    request.headers = vec![("idempotency-key".into(), "mine".into())];
    caller.response(request).await;
    let seen = caller.hosts.seen("/echo");
    assert!(seen[0].header("user-agent").starts_with("aias/"));
    assert!(seen[0].header("idempotency-key").starts_with("run_"));
    assert_eq!(seen[0].headers.get_all("x-a").iter().count(), 2);
    assert_eq!(seen[0].body, "{}");
    assert_eq!(seen[1].header("idempotency-key"), "mine");
}

#[tokio::test]
async fn redirects_drop_credentials_on_other_origin() {
    let caller = Caller::new().await;
    let mut request = caller.request("/redirect?to=/echo/here");
    assert_eq!(caller.response(request.clone()).await.status, 302);
    request.redirect = true;
    request.method = "POST".into();
    request.body = Some("x".into());
    request.authentication = Some(Authentication::Bearer {
        token: "secret".into(),
    });
    assert_eq!(caller.response(request.clone()).await.status, 200);
    let seen = caller.hosts.seen("/echo/here");
    assert_eq!(
        (seen[0].method.as_str(), seen[0].body.as_str()),
        ("GET", "")
    );
    assert_eq!(seen[0].header("authorization"), "Bearer secret");
    // A 307 keeps the method; another origin gets no credentials.
    let other = Hosts::default();
    let there = other.start().await;
    request.uri = format!("{}/redirect?status=307&to={there}/echo", caller.url);
    request.headers = vec![("cookie".into(), "a=b".into())];
    assert_eq!(caller.response(request.clone()).await.status, 200);
    let seen = other.seen("/echo");
    assert_eq!(
        (seen[0].method.as_str(), seen[0].body.as_str()),
        ("POST", "x")
    );
    assert_eq!(
        (seen[0].header("authorization"), seen[0].header("cookie")),
        ("", "")
    );
    // Five redirects are followed, six are not.
    let hops = |left: usize| HttpRequest {
        redirect: true,
        ..caller.request(&format!("/hops/{left}"))
    };
    assert_eq!(caller.response(hops(5)).await.status, 200);
    assert_eq!(
        failed(caller.call(hops(6)).await).2,
        "too many redirections"
    );
    // A redirect cycle, and a redirect to an address that is not allowed.
    request.uri = format!("{}/redirect", caller.url);
    assert_eq!(
        failed(caller.call(request.clone()).await).2,
        "too many redirections"
    );
    request.uri = format!("{}/redirect?to=http://169.254.169.254/latest", caller.url);
    let (kind, status, detail) = failed(caller.call(request).await);
    assert_eq!((kind.as_str(), status), ("communication", 403));
    assert!(detail.contains("169.254.169.254"), "{detail}");
}

#[tokio::test]
async fn redirect_to_other_origin_does_not_carry_secrets() {
    let caller = Caller::new().await;
    let other = Hosts::default();
    let there = other.start().await;
    let secrets = || {
        let mut secrets = Redactions::default();
        secrets.add(&serde_json::json!("hush-hush-hush"));
        secrets
    };
    let mut request = caller.request(&format!("/redirect?status=307&to={there}/echo"));
    request.redirect = true;
    request.method = "POST".into();
    request.headers = vec![
        ("x-api-key".into(), "key hush-hush-hush".into()),
        ("x-plain".into(), "1".into()),
    ];
    let answer = caller.call_with(request.clone(), secrets()).await;
    assert!(matches!(answer, EffectResult::Http(_)), "{answer:?}");
    let seen = other.seen("/echo");
    assert_eq!(
        (seen[0].header("x-api-key"), seen[0].header("x-plain")),
        ("", "1")
    );
    request.body = Some("token=hush-hush-hush".into());
    let (_, _, detail) = failed(caller.call_with(request.clone(), secrets()).await);
    assert!(detail.contains("a body with a secret"), "{detail}");
    assert_eq!(other.seen("/echo").len(), 1);
    // The same origin gets both.
    request.uri = format!("{}/redirect?status=307&to=/echo/same", caller.url);
    caller.call_with(request, secrets()).await;
    let seen = caller.hosts.seen("/echo/same");
    assert_eq!(seen[0].body, "token=hush-hush-hush");
    assert_eq!(seen[0].header("x-api-key"), "key hush-hush-hush");
}

#[tokio::test]
async fn failed_call_says_host_and_cause() {
    let caller = Caller::new().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let detail = async |uri: String| {
        let request = HttpRequest {
            uri,
            ..Caller::plain()
        };
        failed(caller.call(request).await).2
    };
    assert_eq!(
        detail(format!("http://{closed}/")).await,
        "127.0.0.1: the connection was refused"
    );
    assert_eq!(
        detail("http://no-such-host.invalid/".to_owned()).await,
        "no-such-host.invalid: the name of the host cannot be resolved"
    );
    // A server that does not speak TLS.
    let plain = caller.url.replace("http://", "https://");
    let detail = detail(plain).await;
    assert!(detail.starts_with("127.0.0.1: TLS failed: "), "{detail}");
}

#[tokio::test]
async fn non_public_address_is_refused_unless_configured() {
    let caller = Caller::new().await;
    let closed = Outbound::new(Guard::default());
    let closed = Caller {
        outbound: closed,
        hosts: caller.hosts.clone(),
        url: caller.url.clone(),
    };
    for uri in [
        format!("{}/echo", caller.url),
        format!("{}/echo", caller.url.replace("127.0.0.1", "localhost")),
        format!("{}/echo", caller.url.replace("127.0.0.1", "[::1]")),
    ] {
        let request = HttpRequest {
            uri,
            ..caller.request("")
        };
        assert_eq!(failed(closed.call(request).await).1, 403);
    }
    assert!(caller.hosts.seen("/").is_empty());
}

#[tokio::test]
async fn digest_and_oauth_authenticate() {
    let caller = Caller::new().await;
    let digest = |password: &str| Authentication::Digest {
        username: "user".into(),
        password: password.into(),
    };
    let with = |path: &str, authentication| HttpRequest {
        authentication: Some(authentication),
        ..caller.request(path)
    };
    assert_eq!(
        caller
            .response(with("/digest", digest("password")))
            .await
            .status,
        200
    );
    assert_eq!(
        caller
            .response(with("/digest", digest("wrong")))
            .await
            .status,
        401
    );

    let oauth = |basic: bool, discovered: bool, secret: &str| {
        Authentication::OAuth2(Box::new(OAuth2 {
            authority: caller.url.clone(),
            token_path: (!discovered).then(|| "/oauth2/token".into()),
            basic,
            json: false,
            form: vec![("grant_type".into(), "client_credentials".into())],
            client: (Some("id".into()), Some(secret.into())),
        }))
    };
    for (basic, discovered) in [(false, false), (true, false), (false, true)] {
        let request = with("/bearer", oauth(basic, discovered, "secret"));
        assert_eq!(caller.response(request.clone()).await.status, 200);
        // The token is cached.
        assert_eq!(caller.response(request).await.status, 200);
    }
    let requested = caller.hosts.seen("/oauth2/token");
    assert_eq!(requested.len(), 3);
    // The token endpoint has an idempotency key per request: a repeated response would be an
    // expired token.
    assert!(
        requested
            .iter()
            .all(|seen| seen.header("idempotency-key").is_empty())
    );
    let (kind, status, detail) = failed(
        caller
            .call(with("/bearer", oauth(false, false, "wrong")))
            .await,
    );
    assert_eq!((kind.as_str(), status), ("authentication", 401));
    assert!(!detail.contains("wrong"));
    let secret = with(
        "/bearer",
        Authentication::Secret {
            scheme: "bearer".into(),
            name: "mine".into(),
        },
    );
    assert_eq!(
        failed(caller.call(secret).await).2,
        "the tenant has no secret `mine`"
    );
}

#[tokio::test]
async fn response_size_is_limited_and_missing_host_reported() {
    let caller = Caller::new().await;
    let whole = caller.request(&format!("/large/{MAX_RESPONSE_BYTES}"));
    let Body::Text(text) = caller.response(whole).await.body else {
        panic!("not a string")
    };
    assert_eq!(text.len(), MAX_RESPONSE_BYTES);
    let larger = caller.request(&format!("/large/{}", MAX_RESPONSE_BYTES + 1));
    assert!(failed(caller.call(larger).await).2.contains("more than"));
    let nobody = HttpRequest {
        uri: "http://127.0.0.1:1/".into(),
        ..caller.request("")
    };
    let (kind, status, _) = failed(caller.call(nobody).await);
    assert_eq!((kind.as_str(), status), ("communication", 502));
}

/// Descriptors are limited, and a child that executes a run needs some.
#[tokio::test]
async fn idle_connections_are_bounded_over_all_hosts() {
    let hosts = Hosts::default();
    let url = hosts.start().await;
    let port = url.rsplit(':').next().unwrap().to_owned();
    let resolver = ScriptedResolver::new(&[&["127.0.0.1"]]);
    let guard = "127.0.0.0/8".parse().unwrap();
    let caller = Caller {
        outbound: Outbound::with_resolver(guard, resolver),
        hosts,
        url,
    };
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut most = 0;
    for number in 0..300 {
        let request = HttpRequest {
            uri: format!("http://h{number}.example:{port}/echo"),
            ..Caller::plain()
        };
        assert_eq!(caller.response(request).await.status, 200);
        most = most.max(descriptors() - before);
    }
    // Connections to 64 hosts, each with the descriptor of its server, which is in this process.
    assert!((100..160).contains(&most), "{most}");
}

#[tokio::test]
async fn dns_rebinding_is_refused() {
    let hosts = Hosts::default();
    let url = hosts.start().await;
    let port = url.rsplit(':').next().unwrap().to_owned();
    let named = |name: &str, path: &str| HttpRequest {
        uri: format!("http://{name}:{port}{path}"),
        redirect: true,
        ..Caller::plain()
    };
    let caller = |networks: &str, liar: &ScriptedResolver| Caller {
        outbound: Outbound::with_resolver(networks.parse().unwrap(), liar.clone()),
        hosts: hosts.clone(),
        url: url.clone(),
    };
    // Results that contain a non-public address, in any order and encoding.
    for answer in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["169.254.169.254"],
        &["fd00:ec2::254"],
        &["93.184.215.14", "127.0.0.1"],
        &["127.0.0.1", "93.184.215.14"],
        &["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:10.0.0.1"],
        &["0.0.0.0"],
    ] {
        let liar = ScriptedResolver::new(&[answer]);
        let (kind, status, detail) =
            failed(caller("", &liar).call(named("a.example", "/echo")).await);
        assert_eq!(
            (kind.as_str(), status),
            ("communication", 403),
            "{answer:?}"
        );
        assert!(
            detail.contains("a.example") && !detail.contains("127."),
            "{detail}"
        );
    }
    // An empty result.
    let (kind, status, _) = failed(
        caller("", &ScriptedResolver::new(&[&[]]))
            .call(named("a.example", "/echo"))
            .await,
    );
    assert_eq!((kind.as_str(), status), ("communication", 502));
    // First an allowed address, then another one: the name is resolved once, and the connection
    // goes to the checked address, where nothing listens.
    let liar = ScriptedResolver::new(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let answer = caller("127.0.0.2/32", &liar)
        .call(named("a.example", "/echo"))
        .await;
    assert_eq!(failed(answer).1, 502);
    assert_eq!(liar.requested.load(Ordering::Relaxed), 1);
    assert_eq!(hosts.seen("/").len(), 0, "nobody was called");
    // A redirect to a name is resolved and checked again.
    let liar = ScriptedResolver::new(&[&["127.0.0.1"], &["10.0.0.1"]]);
    let to = format!("http://b.example:{port}/echo");
    let path = format!("/redirect?to={to}");
    let (_, status, detail) = failed(
        caller("127.0.0.1/32", &liar)
            .call(named("a.example", &path))
            .await,
    );
    assert_eq!(status, 403);
    assert!(detail.contains("b.example"), "{detail}");
    assert_eq!(
        (hosts.seen("/redirect").len(), hosts.seen("/echo").len()),
        (1, 0)
    );
}
