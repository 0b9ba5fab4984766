//! Authorities of operators, which are plugged into a control plane.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

use crate::certs::KeyPairPem;

/// An authority that an operator has: a root, from which authorities of control planes are issued.
pub struct OperatorCa {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl std::fmt::Debug for OperatorCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperatorCa").field("pem", &self.pem).finish_non_exhaustive()
    }
}

/// What is plugged in: an authority below an operator's root.
pub struct PluggedIn {
    /// The files of the Secret `cacerts`, by name (contract §4.4).
    pub files: [(&'static str, String); 4],
    /// What signs with it.
    pub issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for PluggedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluggedIn").finish_non_exhaustive()
    }
}

impl OperatorCa {
    /// A new root.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let (key, params) = (KeyPair::generate()?, authority(name));
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its root certificate, PEM.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.pem
    }

    /// A new authority below it, whose workloads trust `roots` (PEM).
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn plug_in(&self, roots: &str) -> Result<PluggedIn> {
        let (key, params) = (KeyPair::generate()?, authority("below"));
        let pem = params.signed_by(&key, &self.issuer)?.pem();
        let files = [
            ("ca-cert.pem", pem.clone()),
            ("cert-chain.pem", pem),
            ("root-cert.pem", roots.to_owned()),
            ("ca-key.pem", key.serialize_pem()),
        ];
        Ok(PluggedIn { files, issuer: Issuer::new(params, key) })
    }

    /// The certificate of a workload that the root itself has signed, good for servers and clients.
    ///
    /// # Errors
    /// When the name cannot stand in a certificate.
    pub fn workload(&self, name: &str) -> Result<KeyPairPem> {
        let (key, mut params) = (KeyPair::generate()?, CertificateParams::default());
        params.subject_alt_names = vec![SanType::URI(name.try_into()?)];
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Ok(KeyPairPem { cert: params.signed_by(&key, &self.issuer)?.pem(), key: key.serialize_pem() })
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}
