//! An authority of our own, kept in a Secret that all replicas share (contract §4.4).

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::StreamExt;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{AuthorityError, Current, Publisher, Settings, time_of_day};
use crate::ca::{
    key::{self, PrivateKey},
    root,
    signer::{Signer, SignerPem},
};

const OWN_SECRET: &str = "istio-ca-secret";
const PLUGGED_IN_SECRET: &str = "cacerts";
const SECRET_TYPE: &str = "istio.io/ca-root";
const CERTIFICATE: &str = "ca-cert.pem";
const KEY: &str = "ca-key.pem";
const CHAIN: &str = "cert-chain.pem";
const ROOTS: &str = "root-cert.pem";
/// In the Secret `cacerts`: it was not an operator who wrote it.
const GENERATED: &str = "istio-generated";
/// Those that istiod writes too, empty.
const EMPTY: [&str; 3] = [CHAIN, "key.pem", ROOTS];

/// The Secret and what is made of it.
pub(super) struct SelfSigned {
    api: Api<Secret>,
    settings: Settings,
    trust_domain: String,
}

impl SelfSigned {
    pub(super) fn new(settings: Settings, client: Client, trust_domain: &str) -> Self {
        Self { api: Api::namespaced(client, &settings.namespace), settings, trust_domain: trust_domain.to_owned() }
    }

    fn name(&self) -> &'static str {
        if self.settings.keep_in_cacerts { PLUGGED_IN_SECRET } else { OWN_SECRET }
    }

    /// The authority of the Secret. When there is none, one is made; whoever is first wins.
    pub(super) async fn load_or_create(&self, now: SystemTime) -> Result<Signer, AuthorityError> {
        if let Some(secret) = self.get().await? {
            return self.read(&secret, now);
        }
        let key = PrivateKey::generate(self.settings.root_key)?;
        let made =
            root::create(key, &self.trust_domain, self.settings.root_lifetime, now).map_err(AuthorityError::Create)?;
        match self.api.create(&PostParams::default(), &self.secret(&made)).await {
            Ok(_) => {
                tracing::info!(secret = self.name(), "a root certificate was made");
                Ok(made)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let secret = self.get().await?.ok_or_else(|| self.missing(CERTIFICATE))?;
                self.read(&secret, now)
            }
            Err(error) => Err(self.failed("create", error)),
        }
    }

    /// Takes in what other replicas write, and renews the root when it is time, for ever.
    pub(super) async fn follow(&self, publisher: &Publisher) {
        let selector = format!("metadata.name={}", self.name());
        let mut events =
            std::pin::pin!(watcher(self.api.clone(), watcher::Config::default().fields(&selector)).default_backoff());
        let interval = self.settings.check_interval.max(Duration::from_millis(1));
        let mut checks = interval_at(Instant::now() + self.first_check(interval), interval);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let result = tokio::select! {
                _ = checks.tick() => self.check(publisher, time_of_day()).await,
                event = events.next() => match event {
                    Some(Ok(watcher::Event::Apply(secret) | watcher::Event::InitApply(secret))) => {
                        self.take(&secret, publisher, time_of_day())
                    }
                    Some(Ok(watcher::Event::Delete(_))) => {
                        let secret = self.name();
                        tracing::warn!(secret, "the Secret of the authority was deleted: what it held counts until a restart");
                        Ok(())
                    }
                    // The watch tries again by itself; looking at the Secret now and then does without it.
                    Some(Ok(_) | Err(_)) => Ok(()),
                    None => std::future::pending().await,
                },
            };
            if let Err(error) = result {
                let reason = format!("{:#}", anyhow::Error::from(error));
                tracing::error!(reason, "the authority stays as it is");
            }
        }
    }

    fn first_check(&self, interval: Duration) -> Duration {
        if !self.settings.jitter {
            return interval;
        }
        let random = u32::from_be_bytes(key::random::<4>().unwrap_or_default());
        interval.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    async fn check(&self, publisher: &Publisher, now: SystemTime) -> Result<(), AuthorityError> {
        let Some(mut secret) = self.get().await? else { return Ok(()) };
        self.take(&secret, publisher, now)?;
        let Some(Current { signer, .. }) = publisher.current() else { return Ok(()) };
        if !root::is_due(signer.certificate(), self.settings.grace_percent, now) {
            return Ok(());
        }
        let renewed = root::renew(&signer, self.settings.root_lifetime, now).map_err(AuthorityError::Create)?;
        let data = secret.data.get_or_insert_default();
        data.extend(contents(&renewed));
        if data.get(ROOTS).is_some_and(|roots| !roots.0.is_empty()) {
            data.insert(ROOTS.to_owned(), ByteString(renewed.roots_pem().as_bytes().to_vec()));
        }
        match self.api.replace(self.name(), &PostParams::default(), &secret).await {
            Ok(_) => {
                tracing::info!(secret = self.name(), "the root certificate was renewed, with the same key");
                publisher.publish(Current { signer: Arc::new(renewed), crl: None });
                Ok(())
            }
            // Another replica was first: what it wrote comes in by the watch.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(self.failed("update", error)),
        }
    }

    /// Takes in what the Secret holds, if it is something else than before.
    fn take(&self, secret: &Secret, publisher: &Publisher, now: SystemTime) -> Result<(), AuthorityError> {
        let read = self.read(secret, now)?;
        let is_same =
            |old: &Current| old.signer.certificate() == read.certificate() && old.signer.roots() == read.roots();
        if !publisher.current().as_ref().is_some_and(is_same) {
            tracing::info!(secret = self.name(), "the authority has changed");
            publisher.publish(Current { signer: Arc::new(read), crl: None });
        }
        Ok(())
    }

    async fn get(&self) -> Result<Option<Secret>, AuthorityError> {
        self.api.get_opt(self.name()).await.map_err(|error| self.failed("get", error))
    }

    fn read(&self, secret: &Secret, now: SystemTime) -> Result<Signer, AuthorityError> {
        let value = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice());
        let needed = |key| value(key).ok_or_else(|| self.missing(key));
        let certificate = needed(CERTIFICATE)?;
        let pem = SignerPem {
            certificate,
            key: needed(KEY)?,
            chain: value(CHAIN).unwrap_or_default(),
            roots: value(ROOTS).filter(|roots| !roots.is_empty()).unwrap_or(certificate),
        };
        let (namespace, name) = (self.settings.namespace.clone(), self.name().to_owned());
        Signer::new(pem, now).map_err(|source| AuthorityError::Content { namespace, name, source })
    }

    fn secret(&self, signer: &Signer) -> Secret {
        let mut data: BTreeMap<_, _> = EMPTY.iter().map(|key| ((*key).to_owned(), ByteString(Vec::new()))).collect();
        data.extend(contents(signer));
        if self.settings.keep_in_cacerts {
            data.insert(GENERATED.to_owned(), ByteString(Vec::new()));
        }
        let metadata = ObjectMeta { name: Some(self.name().to_owned()), ..ObjectMeta::default() };
        Secret { metadata, data: Some(data), type_: Some(SECRET_TYPE.to_owned()), ..Secret::default() }
    }

    fn missing(&self, key: &'static str) -> AuthorityError {
        AuthorityError::Missing { namespace: self.settings.namespace.clone(), name: self.name().to_owned(), key }
    }

    fn failed(&self, verb: &'static str, error: kube::Error) -> AuthorityError {
        let (namespace, name) = (self.settings.namespace.clone(), self.name().to_owned());
        let forbidden = matches!(&error, kube::Error::Api(status) if status.code == 403);
        let rule = || format!(": a rule must allow verb \"{verb}\" on resource \"secrets\" in namespace {namespace}");
        let hint = if forbidden { rule() } else { String::new() };
        AuthorityError::Secret { verb, namespace, name, hint, source: Box::new(error) }
    }
}

fn contents(signer: &Signer) -> [(String, ByteString); 2] {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    [(CERTIFICATE.to_owned(), bytes(&signer.certificate().pem())), (KEY.to_owned(), bytes(signer.key().pem()))]
}
