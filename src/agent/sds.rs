//! Secrets of the machine for the Envoy on it, over a Unix socket: what configuration asks of the cluster `sds-grpc`
//! (contract §3.4).
//!
//! One stream asks for a few names in state of the world and is answered again when their content changes.

mod files;
mod workload;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use envoy_types::pb::{
    envoy::{
        extensions::transport_sockets::tls::v3::Secret,
        service::{
            discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse},
            secret::v3::secret_discovery_service_server::{SecretDiscoveryService, SecretDiscoveryServiceServer},
        },
    },
    google::protobuf::Any,
};
use futures::stream::{BoxStream, Empty, StreamExt as _, unfold};
use prost::Message as _;
use tokio::{
    net::UnixListener,
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

pub use self::{files::Files, workload::Workload};
use super::identity::Identity;

const TYPE_URL: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// How often it is looked whether secrets changed.
const POLL: Duration = Duration::from_secs(5);

/// How many names of directories are tried.
const ATTEMPTS: u32 = 100;

/// Where secrets come from.
pub trait Source: Send + Sync + 'static {
    /// The secret of a name.
    ///
    /// # Errors
    /// There is none: why.
    fn secret(&self, name: &str) -> Result<Secret, String>;

    /// What tells of changes that are not to wait for the next look.
    fn changes(&self) -> Option<watch::Receiver<Option<Arc<Identity>>>> {
        None
    }
}

/// A Unix socket in a directory that only this user may enter; both are removed with it.
#[derive(Debug)]
pub struct PrivateSocket {
    directory: PathBuf,
    listener: Option<UnixListener>,
}

impl PrivateSocket {
    /// Binds it below `parent`. Needs a runtime.
    ///
    /// # Errors
    /// The directory or the socket cannot be made.
    pub fn bind(parent: &Path) -> io::Result<Self> {
        let directory = private_directory(parent)?;
        let mut socket = Self { directory, listener: None };
        socket.listener = Some(UnixListener::bind(socket.path())?);
        Ok(socket)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.join("sds")
    }
}

impl Drop for PrivateSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::debug!(%error, directory = %self.directory.display(), "cannot be removed");
        }
    }
}

/// A directory that was not there before: nobody else can have prepared it.
fn private_directory(parent: &Path) -> io::Result<PathBuf> {
    let (mut builder, id) = (std::fs::DirBuilder::new(), std::process::id());
    builder.mode(0o700);
    let mut attempt = 0;
    loop {
        let path = parent.join(format!("mizzen-{id}-{attempt}"));
        match builder.create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Serves secrets until `shutdown` is done.
///
/// # Errors
/// The server failed.
pub async fn serve(
    mut socket: PrivateSocket,
    source: Arc<dyn Source>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let Some(listener) = socket.listener.take() else { return Ok(()) };
    serve_on(listener, source, shutdown).await
}

/// The same on a socket at an agreed place.
///
/// # Errors
/// The server failed.
pub async fn serve_on(
    listener: UnixListener,
    source: Arc<dyn Source>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let incoming = UnixListenerStream::new(listener);
    let service = SecretDiscoveryServiceServer::new(Service(source));
    Server::builder().add_service(service).serve_with_incoming_shutdown(incoming, shutdown).await
}

struct Service(Arc<dyn Source>);

#[tonic::async_trait]
impl SecretDiscoveryService for Service {
    type StreamSecretsStream = BoxStream<'static, Result<DiscoveryResponse, Status>>;
    type DeltaSecretsStream = Empty<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (requests, changes) = (request.into_inner(), self.0.changes());
        let session = Session { requests, poll, changes, state: State::new(Arc::clone(&self.0)) };
        let answers = unfold(session, |mut session| async move {
            let item = session.next().await.transpose()?;
            Some((item, session))
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn delta_secrets(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Err(Status::unimplemented("secrets of this machine are asked for in state of the world"))
    }

    async fn fetch_secrets(&self, _: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("secrets of this machine are streamed"))
    }
}

struct Session {
    requests: Streaming<DiscoveryRequest>,
    poll: Interval,
    changes: Option<watch::Receiver<Option<Arc<Identity>>>>,
    state: State,
}

impl Session {
    async fn next(&mut self) -> Result<Option<DiscoveryResponse>, Status> {
        loop {
            tokio::select! {
                request = self.requests.message() => match request? {
                    Some(request) => self.state.take(request),
                    None => return Ok(None),
                },
                _ = self.poll.tick() => {}
                () = changed(&mut self.changes) => {}
            }
            if let Some(response) = self.state.answer() {
                return Ok(Some(response));
            }
        }
    }
}

/// Waits for a change; for ever, when nobody tells of any.
async fn changed(changes: &mut Option<watch::Receiver<Option<Arc<Identity>>>>) {
    if let Some(receiver) = changes
        && receiver.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// What a stream asked for, and was sent.
struct State {
    source: Arc<dyn Source>,
    names: BTreeSet<String>,
    sent: Vec<Any>,
    nonce: u64,
    /// Why there is no secret of a name, as it was told.
    told: BTreeMap<String, String>,
}

impl State {
    fn new(source: Arc<dyn Source>) -> Self {
        Self { source, names: BTreeSet::new(), sent: Vec::new(), nonce: 0, told: BTreeMap::new() }
    }

    fn take(&mut self, request: DiscoveryRequest) {
        if let Some(refused) = request.error_detail {
            tracing::error!(names = ?request.resource_names, reason = refused.message, "Envoy refused a secret of this machine");
        }
        let names = request.resource_names.into_iter().collect();
        if names != self.names {
            self.names = names;
            self.sent.clear();
        }
    }

    /// An answer, if there is something that was not sent yet.
    fn answer(&mut self) -> Option<DiscoveryResponse> {
        let mut resources = Vec::with_capacity(self.names.len());
        for name in &self.names {
            match self.source.secret(name) {
                Ok(secret) => {
                    self.told.remove(name);
                    resources.push(Any { type_url: TYPE_URL.to_owned(), value: secret.encode_to_vec() });
                }
                Err(reason) if self.told.get(name) == Some(&reason) => {}
                Err(reason) => {
                    tracing::error!("secret {name} of this machine: {reason}; what needs it waits");
                    self.told.insert(name.clone(), reason);
                }
            }
        }
        if resources.is_empty() || resources == self.sent {
            return None;
        }
        self.sent.clone_from(&resources);
        self.nonce += 1;
        Some(DiscoveryResponse {
            version_info: self.nonce.to_string(),
            resources,
            type_url: TYPE_URL.to_owned(),
            nonce: self.nonce.to_string(),
            ..DiscoveryResponse::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn request(names: &[&str]) -> DiscoveryRequest {
        DiscoveryRequest { resource_names: names.iter().map(|&n| n.to_owned()).collect(), ..Default::default() }
    }

    #[test]
    fn a_stream_is_answered_when_something_is_new() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ca.pem");
        let name = format!("file-root:{}", file.display());
        let mut state = State::new(Arc::new(Files::default()));
        assert_eq!(state.answer(), None, "nothing is asked for");
        state.take(request(&[&name]));
        assert_eq!(state.answer(), None, "there is no such file");
        std::fs::write(&file, "one").expect("written");
        let first = state.answer().expect("an answer");
        assert_eq!((first.resources.len(), &*first.nonce), (1, "1"));
        state.take(request(&[&name]));
        assert_eq!(state.answer(), None, "acknowledged");
        std::fs::write(&file, "two").expect("written");
        assert_ne!(state.answer().expect("a change").resources, first.resources);
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(state.answer(), None, "what was sent stays");
        std::fs::write(&file, "two").expect("written");
        assert_eq!(state.answer(), None);
        state.take(request(&["default", &name]));
        assert_eq!(state.answer().expect("other names").resources.len(), 1);
    }

    #[tokio::test]
    async fn nobody_else_may_enter_the_directory() {
        let parent = tempfile::tempdir().expect("a directory");
        let sockets = [0, 1].map(|_| PrivateSocket::bind(parent.path()).expect("a socket"));
        for socket in &sockets {
            let mode = socket.directory.metadata().expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
        drop(sockets);
        assert_eq!(parent.path().read_dir().expect("it is there").count(), 0);
    }
}
