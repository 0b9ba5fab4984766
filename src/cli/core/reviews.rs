//! Which service accounts may list the secrets of their namespace, as the cluster's rules say (contract §4.6).
//!
//! ```text
//!  a stream asks: allows(account)? ──► what is known, at once ("not known yet" wakes the task)
//!  the task ──► SubjectAccessReview ──► what is known ──► streams of the account look at their secrets again
//! ```

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{
    StreamExt,
    future::{self, BoxFuture},
    stream::FuturesUnordered,
};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::secrets::accounts;
use crate::xds::{
    Permission,
    clients::{Client as Stream, Clients},
};

/// How long it holds that an account may (contract §4.6).
const ALLOWED: Duration = Duration::from_secs(5 * 60);
/// When it is asked again, so that an API server which is away for a moment takes nothing from anyone.
const RENEW: Duration = Duration::from_secs(4 * 60);
/// How soon it is asked again after the first "no", or no answer. Each time it takes twice as long: a rule is often
/// written a moment after the workload that needs it.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How long it takes at most (contract §4.6).
const LAST_RETRY: Duration = Duration::from_secs(60);
/// How long the API server may take to say.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How many questions are under way at once.
const AT_ONCE: usize = 16;

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Account {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// What the API server said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Allowed,
    Denied,
    /// Nothing: why.
    Missing(String),
}

/// What is known of an account.
#[derive(Debug)]
struct Known {
    answer: Option<Answer>,
    /// When it was last said that it may.
    allowed: Option<Instant>,
    ask_at: Instant,
    retry: Duration,
    asking: bool,
}

impl Known {
    fn new(now: Instant) -> Self {
        Self { answer: None, allowed: None, ask_at: now, retry: FIRST_RETRY, asking: false }
    }

    fn permission(&self, now: Instant) -> Permission {
        match (&self.allowed, &self.answer) {
            (Some(said), _) if now < *said + ALLOWED => Permission::Granted,
            (_, Some(Answer::Denied)) => Permission::Denied,
            _ => Permission::Unknown,
        }
    }

    /// Takes an answer; whether it is another one than before.
    fn learn(&mut self, answer: Answer, now: Instant) -> bool {
        self.asking = false;
        if answer == Answer::Allowed {
            (self.allowed, self.ask_at, self.retry) = (Some(now), now + RENEW, FIRST_RETRY);
        } else {
            self.ask_at = now + self.retry;
            self.retry = (self.retry * 2).min(LAST_RETRY);
        }
        if answer == Answer::Denied {
            self.allowed = None;
        }
        let is_new = self.answer.as_ref() != Some(&answer);
        self.answer = Some(answer);
        is_new
    }
}

/// Asks the API server, and remembers what it said.
pub(super) struct Reviews {
    client: Client,
    known: Mutex<HashMap<Account, Known>>,
    /// Somebody asked about an account of which nothing is known.
    wanted: Notify,
}

type Asked = BoxFuture<'static, (Account, Answer)>;

impl Reviews {
    pub(super) fn new(client: Client) -> Self {
        Self { client, known: Mutex::default(), wanted: Notify::new() }
    }

    /// What is known now. Unknown accounts are asked about by [`Self::run`].
    pub(super) fn permission(&self, account: &Account) -> Permission {
        let now = Instant::now();
        let mut known = self.known();
        if let Some(state) = known.get(account) {
            return state.permission(now);
        }
        known.insert(account.clone(), Known::new(now));
        self.wanted.notify_one();
        Permission::Unknown
    }

    /// Asks, and asks again before an answer ceases to hold, for as long as a proxy of the account is connected.
    pub(super) async fn run(&self, clients: &Clients, shutdown: CancellationToken) {
        let mut under_way: FuturesUnordered<Asked> = FuturesUnordered::new();
        loop {
            let next = self.ask_due(clients, &mut under_way);
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.wanted.notified() => {}
                () = due => {}
                Some((account, answer)) = under_way.next() => self.learn(&account, &answer, clients),
            }
        }
    }

    /// Asks about the accounts that are due; returns when the next one is.
    fn ask_due(&self, clients: &Clients, under_way: &mut FuturesUnordered<Asked>) -> Option<Instant> {
        let now = Instant::now();
        let mut known = self.known();
        if known.values().any(|k| !k.asking && k.ask_at <= now) {
            let connected = clients.list();
            let connected: HashSet<Account> =
                connected.iter().flat_map(|c| accounts(&c.peer, &c.proxy).collect::<Vec<_>>()).collect();
            known.retain(|account, k| k.asking || k.ask_at > now || connected.contains(account));
        }
        for (account, state) in known.iter_mut().filter(|(_, k)| !k.asking && k.ask_at <= now) {
            if under_way.len() == AT_ONCE {
                // The next answer makes room.
                return None;
            }
            state.asking = true;
            under_way.push(Box::pin(ask(self.client.clone(), account.clone())));
        }
        known.values().filter(|k| !k.asking).map(|k| k.ask_at).min()
    }

    fn learn(&self, account: &Account, answer: &Answer, clients: &Clients) {
        let now = Instant::now();
        let (before, after) = {
            let mut known = self.known();
            let Some(state) = known.get_mut(account) else { return };
            let before = state.permission(now);
            if state.learn(answer.clone(), now) {
                tell(account, answer);
            }
            (before, state.permission(now))
        };
        if before != after {
            let concerns = |c: &Arc<Stream>| accounts(&c.peer, &c.proxy).any(|a| a == *account);
            clients.list().iter().filter(|c| concerns(c)).for_each(|c| c.retry_secrets());
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Account, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(account: &Account, answer: &Answer) {
    let Account { namespace, name } = account;
    match answer {
        Answer::Allowed => tracing::info!("service account {namespace}/{name} may list secrets: its proxies get them"),
        Answer::Denied => tracing::warn!(
            "service account {namespace}/{name} may not list secrets: its proxies get none until a rule allows verb \
             \"list\" on resource \"secrets\" in namespace {namespace}"
        ),
        Answer::Missing(reason) => tracing::warn!(
            "cannot review whether service account {namespace}/{name} may list secrets: {reason}; it is asked again"
        ),
    }
}

async fn ask(client: Client, account: Account) -> (Account, Answer) {
    let api: Api<SubjectAccessReview> = Api::all(client);
    let question = question(&account);
    let answer = match tokio::time::timeout(TIMEOUT, api.create(&PostParams::default(), &question)).await {
        Ok(Ok(review)) if review.status.as_ref().is_some_and(|status| status.allowed) => Answer::Allowed,
        Ok(Ok(_)) => Answer::Denied,
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Answer::Missing(
            "forbidden: a rule must allow verb \"create\" on resource \"subjectaccessreviews\" of API group \
             \"authorization.k8s.io\""
                .to_owned(),
        ),
        Ok(Err(error)) => Answer::Missing(format!("{:#}", anyhow::Error::from(error))),
        Err(_) => Answer::Missing(format!("no answer in {TIMEOUT:?}")),
    };
    (account, answer)
}

/// May it list the secrets of its namespace? With the groups that the API server knows it by.
fn question(account: &Account) -> SubjectAccessReview {
    let Account { namespace, name } = account;
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    let attributes = ResourceAttributes {
        namespace: Some(namespace.clone()),
        verb: Some("list".to_owned()),
        resource: Some("secrets".to_owned()),
        ..ResourceAttributes::default()
    };
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{namespace}:{name}")),
            groups: Some(groups.into()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn answers_hold_for_a_while_and_are_asked_again_before() {
        let start = Instant::now();
        let mut known = Known::new(start);
        assert_eq!((known.permission(start), known.ask_at), (Permission::Unknown, start));
        assert!(known.learn(Answer::Allowed, start));
        assert_eq!(known.permission(start + ALLOWED - SECOND), Permission::Granted);
        assert_eq!(known.permission(start + ALLOWED), Permission::Unknown);
        assert!(known.ask_at < start + ALLOWED - TIMEOUT, "asked too late");
        assert!(!known.learn(Answer::Allowed, start + RENEW), "told twice");
        assert_eq!(known.permission(start + ALLOWED), Permission::Granted);
        assert!(known.learn(Answer::Denied, start + ALLOWED));
        assert_eq!(known.permission(start + ALLOWED), Permission::Denied, "a new answer counts at once");
    }

    #[test]
    fn an_api_server_that_is_away_takes_nothing_at_once_and_gives_nothing() {
        let start = Instant::now();
        let away = || Answer::Missing("away".to_owned());
        let mut fresh = Known::new(start);
        assert!(fresh.learn(away(), start) && !fresh.learn(away(), start), "told twice");
        assert_eq!(fresh.permission(start), Permission::Unknown);
        let mut allowed = Known::new(start);
        allowed.learn(Answer::Allowed, start);
        allowed.learn(away(), start + RENEW);
        assert_eq!(allowed.permission(start + ALLOWED - SECOND), Permission::Granted);
        assert_eq!(allowed.permission(start + ALLOWED), Permission::Unknown);
    }

    #[test]
    fn a_no_is_asked_again_soon_and_then_less_and_less() {
        let start = Instant::now();
        let mut known = Known::new(start);
        let mut waits = Vec::new();
        for _ in 0..8 {
            known.learn(Answer::Denied, start);
            waits.push((known.ask_at - start).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
