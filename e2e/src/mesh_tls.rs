//! TLS between a control plane and its proxies.

use std::{fs, net::SocketAddr};

use anyhow::Result;

use crate::{
    certs::{Authority, KeyPairPem},
    envoy::{XdsServer, XdsTls},
    mizzen::MizzenOptions,
};

/// The authority of a mesh, and the files of its control plane.
#[derive(Debug)]
pub struct MeshTls {
    authority: Authority,
    files: tempfile::TempDir,
}

impl MeshTls {
    /// The name in the certificate of the control plane.
    pub const SERVER: &str = "istiod.test";

    /// A new authority, which has issued the control plane's certificate.
    ///
    /// # Errors
    /// When a key cannot be made or a file not be written.
    pub fn new() -> Result<Self> {
        let (authority, files) = (Authority::new("mesh")?, tempfile::tempdir()?);
        let own = authority.issue(&[Self::SERVER])?;
        for (flag, text) in
            [("tlsCertFile", own.cert.as_str()), ("tlsKeyFile", own.key.as_str()), ("caCertFile", authority.pem())]
        {
            fs::write(files.path().join(flag), text)?;
        }
        Ok(Self { authority, files })
    }

    /// The authority that the control plane trusts.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The same options, with the control plane's certificate and the authority of its clients.
    #[must_use]
    pub fn options(&self, options: MizzenOptions) -> MizzenOptions {
        ["tlsCertFile", "tlsKeyFile", "caCertFile"]
            .iter()
            .fold(options, |all, flag| all.arg(format!("--{flag}={}", self.files.path().join(flag).display())))
    }

    /// The certificate of a service account of a namespace.
    ///
    /// # Errors
    /// When the name cannot stand in a certificate.
    pub fn identity(&self, namespace: &str, account: &str) -> Result<KeyPairPem> {
        self.authority.issue(&[&format!("spiffe://cluster.local/ns/{namespace}/sa/{account}")])
    }

    /// The control plane as a proxy with such a certificate sees it, spoken to incrementally.
    ///
    /// # Errors
    /// As [`MeshTls::identity`].
    pub fn xds(&self, address: SocketAddr, namespace: &str, account: &str) -> Result<XdsServer> {
        let tls = XdsTls {
            server_name: Self::SERVER.to_owned(),
            ca: self.authority.pem().to_owned(),
            identity: Some(self.identity(namespace, account)?),
        };
        Ok(XdsServer { tls: Some(tls), ..XdsServer::plaintext(address) })
    }
}
