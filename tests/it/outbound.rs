//! Calls to other hosts: how they show who calls, what they follow, and what they refuse.

use aias_domain::id::{RunId, TenantId};
use aias_engine::journal::{
    Answer, Authentication, Body, Effect, HttpRequest, HttpResponse, Key, OAuth2, Request,
};
use aias_platform::outbound::{Concealed, Guard, MAX_RESPONSE_BYTES, Outbound};
use aias_testkit::hosts::Hosts;
use jiff::Timestamp;

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

    async fn call(&self, request: HttpRequest) -> Answer {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let effect = Effect {
            key: Key {
                task: "/do/0/a".into(),
                visit: 1,
            },
            occurrence: 1,
            asked_at: at,
            request: Request::Http(Box::new(request.clone())),
        };
        self.outbound
            .call(
                TenantId::new(at, 1),
                RunId::new(at, 2),
                &effect,
                &request,
                Concealed::default(),
            )
            .await
    }

    async fn response(&self, request: HttpRequest) -> HttpResponse {
        match self.call(request).await {
            Answer::Http(response) => response,
            other @ (Answer::Output(_) | Answer::Failed(_)) => panic!("{other:?}"),
        }
    }

    fn request(&self, path: &str) -> HttpRequest {
        HttpRequest {
            method: "GET".into(),
            uri: format!("{}{path}", self.url),
            headers: vec![],
            body: None,
            redirect: false,
            authentication: None,
        }
    }
}

fn failed(answer: Answer) -> (String, u16, String) {
    match answer {
        Answer::Failed(failure) => (failure.kind, failure.status, failure.detail),
        other @ (Answer::Http(_) | Answer::Output(_)) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_says_who_it_is_and_which_it_is() {
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
async fn redirections_are_followed_when_they_are_wanted_and_drop_what_is_not_theirs() {
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
    // 307 keeps the method; another origin gets no credentials, whoever gave them.
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
    // Five are followed, six are not.
    let hops = |left: usize| HttpRequest {
        redirect: true,
        ..caller.request(&format!("/hops/{left}"))
    };
    assert_eq!(caller.response(hops(5)).await.status, 200);
    assert_eq!(
        failed(caller.call(hops(6)).await).2,
        "too many redirections"
    );
    // Round and round, and to where nobody may go.
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
async fn nothing_that_is_not_public_is_called_unless_it_is_opened() {
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
async fn digest_and_oauth_are_answered() {
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
        // The token is kept.
        assert_eq!(caller.response(request).await.status, 200);
    }
    let asked = caller.hosts.seen("/oauth2/token");
    assert_eq!(asked.len(), 3);
    // A token is asked for anew each time: an old answer would be an old token.
    assert!(
        asked
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
async fn a_response_is_bounded_and_a_host_that_is_not_there_is_told() {
    let caller = Caller::new().await;
    let whole = caller.request(&format!("/large/{MAX_RESPONSE_BYTES}"));
    let Body::Text(text) = caller.response(whole).await.body else {
        panic!("not a text")
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
