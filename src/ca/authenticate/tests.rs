//! Whom the API server's answers and a caller's headers mean.

use k8s_openapi::api::authentication::v1::UserInfo;

use super::*;

fn status(user: &str) -> TokenReviewStatus {
    TokenReviewStatus {
        authenticated: Some(true),
        audiences: Some(vec!["istio-ca".to_owned()]),
        user: Some(UserInfo {
            username: Some(user.to_owned()),
            groups: Some(vec![GROUP.to_owned(), "system:authenticated".to_owned()]),
            extra: Some(
                [(POD_NAME, "web-1"), (POD_UID, "uid-1")].map(|(k, v)| (k.to_owned(), vec![v.to_owned()])).into(),
            ),
            ..UserInfo::default()
        }),
        ..TokenReviewStatus::default()
    }
}

fn of(status: TokenReviewStatus) -> Result<Caller, AuthError> {
    caller(status, &["istio-ca".to_owned()], "mesh@example.org")
}

#[test]
fn a_service_account_has_an_identity_and_a_pod() {
    let caller = of(status("system:serviceaccount:shop:web.v1")).expect("known");
    assert_eq!(caller.identities, ["spiffe://mesh.example.org/ns/shop/sa/web.v1".into()]);
    let pod = PodRef { namespace: "shop".to_owned(), name: "web-1".to_owned(), uid: "uid-1".to_owned() };
    assert_eq!(caller.pod, Some(pod));
}

#[test]
fn nobody_else_has() {
    for user in [
        "admin",
        "system:serviceaccount:shop",
        "system:serviceaccount::web",
        "system:serviceaccount:shop:",
        "system:serviceaccount:shop:a/sa/b",
        "system:serviceaccount:shop/ns/x:web",
        "system:node:one",
    ] {
        assert_eq!(of(status(user)), Err(AuthError::NoServiceAccount), "{user}");
    }
    let mut outside = status("system:serviceaccount:shop:web");
    outside.user.get_or_insert_default().groups = Some(vec!["system:authenticated".to_owned()]);
    assert_eq!(of(outside), Err(AuthError::NoServiceAccount));
    let user = || status("system:serviceaccount:shop:web");
    for wrong in [
        TokenReviewStatus { authenticated: Some(false), ..user() },
        TokenReviewStatus { authenticated: None, ..user() },
        TokenReviewStatus { error: Some("expired".to_owned()), ..user() },
        TokenReviewStatus { audiences: Some(vec!["vault".to_owned()]), ..user() },
        TokenReviewStatus { audiences: None, ..user() },
    ] {
        assert!(matches!(of(wrong), Err(AuthError::Refused { .. })));
    }
}

#[test]
fn only_bearer_tokens_are_credentials() {
    let headers = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().expect("a header"));
        headers
    };
    let token = |value: &str| Credentials::of(&headers(value)).map(|c| c.token);
    assert_eq!(token("Bearer a.b.c").as_deref(), Some("a.b.c"));
    assert_eq!(token("bearer a.b.c").as_deref(), Some("a.b.c"));
    assert_eq!(token("Basic a.b.c"), None);
    assert_eq!(token("a.b.c"), None);
    let shown = format!("{:?}", Credentials::of(&headers("Bearer secret.b.c")));
    assert!(!shown.contains("secret"), "{shown}");
}
